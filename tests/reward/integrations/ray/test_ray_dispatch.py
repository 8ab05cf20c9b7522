"""Which node gets which job, and what happens to those whose node is lost; no Ray in here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderm_reward.integrations.ray_desk import Desk, Failure
from coderm_reward.integrations.ray_dispatch import Dispatcher, Errand, Load, NowhereError, choose
from coderm_sandbox import Job

T = TypeVar("T")

loads = st.builds(
    Load,
    workers=st.integers(1, 64),
    own=st.integers(0, 140),
    others=st.integers(0, 500),
    sharers=st.integers(0, 8),
    served=st.integers(0, 1000),
)


@given(st.lists(loads, max_size=8))
def test_the_chosen_node_has_room_and_none_with_room_is_less_loaded(nodes: list[Load]) -> None:
    def share(load: Load) -> float:
        return (load.own + load.others + 1) / load.workers

    open_ = [load for load in nodes if load.own < load.allowance]
    index = choose(nodes)
    if not open_:
        assert index is None
    else:
        assert index is not None
        assert nodes[index] in open_
        assert share(nodes[index]) == min(map(share, open_))


@given(loads)
def test_pools_that_share_a_node_share_its_room(load: Load) -> None:
    everybody = load.allowance * (1 + load.sharers)
    assert load.allowance >= 1
    assert load.allowance == 1 or everybody <= 2 * load.workers + 2
    assert everybody >= load.workers


@given(st.lists(st.integers(1, 16), min_size=1, max_size=6), st.integers(0, 100))
def test_a_node_gets_as_much_as_its_workers_can_do(workers: list[int], jobs: int) -> None:
    own = [0] * len(workers)
    for _ in range(jobs):
        index = choose([Load(n, have) for n, have in zip(workers, own, strict=True)])
        if index is None:
            break
        own[index] += 1
    else:
        with_room = [(h + 1) / m for h, m in zip(own, workers, strict=True) if h < Load(m).allowance]
        for n, have in zip(workers, own, strict=True):
            assert have / n <= min(with_room, default=have / n)
        return
    assert own == [Load(n).allowance for n in workers]


def test_one_job_at_a_time_goes_round() -> None:
    served = [0, 0, 0]
    for _ in range(9):
        index = choose([Load(2, served=n) for n in served])
        assert index is not None
        served[index] += 1
    assert served == [3, 3, 3]


class ScriptedPlace:
    """A Place that does nothing until it is told."""

    def __init__(self, dispatcher: Dispatcher, workers: int = 1) -> None:
        self.held: list[Errand] = []
        self._dispatcher = dispatcher
        self._workers = workers

    @property
    def load(self) -> Load:
        return Load(self._workers, len(self.held))

    @property
    def errands(self) -> Collection[Errand]:
        return self.held

    def send(self, errand: Errand) -> None:
        self.held.append(errand)

    def drop(self, errand: Errand) -> None:
        self.held.remove(errand)

    def answer(self, value: object) -> None:
        self._dispatcher.answered(self.held.pop(0), value)
        self._dispatcher.pump()

    @property
    def names(self) -> list[str]:
        return [one.work.solution for one in self.held if isinstance(one.work, Job)]


def in_loop(work: Callable[[Dispatcher], Coroutine[Any, Any, T]], patience: float = 60.0) -> T:
    async def run() -> T:
        return await asyncio.wait_for(work(Dispatcher(patience)), 20)

    return asyncio.run(run())


async def ask(dispatcher: Dispatcher, *names: str) -> list[asyncio.Task[Errand]]:
    """Tasks that have got as far as they get."""
    tasks = [asyncio.ensure_future(dispatcher.do(Job(name, ()))) for name in names]
    await asyncio.sleep(0)
    return tasks


def test_who_finds_no_room_waits_in_line_and_what_is_done_makes_room() -> None:
    async def work(dispatcher: Dispatcher) -> None:
        place = ScriptedPlace(dispatcher)
        dispatcher.add(place)
        tasks = await ask(dispatcher, *"abcdef")
        assert place.names == list("abcd")  # 2 per worker, and 2
        place.answer("A")
        assert (await tasks[0]).answer.result() == "A"
        assert place.names == list("bcde")

    in_loop(work)


def test_what_a_lost_place_had_goes_first_and_in_order() -> None:
    async def work(dispatcher: Dispatcher) -> None:
        one, two = ScriptedPlace(dispatcher), ScriptedPlace(dispatcher, workers=4)
        dispatcher.add(one)
        tasks = await ask(dispatcher, *"abcdef")
        assert dispatcher.remove(one, "its machine burnt") == 4
        dispatcher.add(two)
        assert two.names == list("abcdef")
        assert (dispatcher.moved, dispatcher.remove(one, "again")) == (4, 0)
        for task in tasks:
            two.answer("done")
            assert (await task).losses == (1 if task in tasks[:4] else 0)

    in_loop(work)


def test_a_job_under_which_three_places_are_lost_is_given_up_and_takes_no_other_job_with_it() -> None:
    async def work(dispatcher: Dispatcher) -> None:
        tasks = await ask(dispatcher, *"abcd")
        for round_ in range(2):
            place = ScriptedPlace(dispatcher)
            dispatcher.add(place)
            assert len(place.held) == 4
            dispatcher.remove(place, f"out of memory {round_}")
        survivors = []
        for _ in range(2):
            place = ScriptedPlace(dispatcher)
            dispatcher.add(place)
            while place.held and place.names != ["b"]:
                assert len(place.held) == 1  # suspects travel alone
                survivors += place.names
                place.answer("done")
            dispatcher.remove(place, "out of memory again")
        assert survivors == ["a", "c", "d"]
        with pytest.raises(NowhereError, match=r"3 sandbox nodes were lost .* out of memory again"):
            await tasks[1]

    in_loop(work)


def test_places_that_are_lost_together_are_one_loss() -> None:
    async def work(_unused: Dispatcher) -> None:
        dispatcher = Dispatcher(60.0, settle=0.05)
        places = [ScriptedPlace(dispatcher) for _ in range(4)]
        for place in places:
            dispatcher.add(place)
        tasks = await ask(dispatcher, *"abcdefgh")
        for place in places:  # all at once, as when their creator ends
            dispatcher.remove(place, "the owner has died")
        new = ScriptedPlace(dispatcher, workers=8)
        dispatcher.add(new)
        assert not new.names
        await asyncio.sleep(0.1)
        assert sorted(new.names) == list("abcdefgh")
        for _ in range(8):
            new.answer("done")
        assert {errand.losses for errand in await asyncio.gather(*tasks)} == {1}

    in_loop(work)


def test_who_settles_ends_with_the_dispatcher() -> None:
    async def work(_unused: Dispatcher) -> None:
        dispatcher = Dispatcher(60.0, settle=60.0)
        place = ScriptedPlace(dispatcher)
        dispatcher.add(place)
        tasks = await ask(dispatcher, "a", "b")
        dispatcher.remove(place, "its machine burnt")
        tasks[0].cancel()
        dispatcher.close("the sandbox pool was closed")
        with pytest.raises(NowhereError, match="was closed"):
            await tasks[1]

    in_loop(work)


def test_what_one_place_cannot_do_goes_to_each_other_one_once() -> None:
    async def work(dispatcher: Dispatcher) -> None:
        places = [ScriptedPlace(dispatcher) for _ in range(3)]
        for place in places:
            dispatcher.add(place)
        (task,) = await ask(dispatcher, "a")
        for place in places:
            assert place.names == ["a"]
            place.answer(Failure(f"no worker at {places.index(place)}"))
        with pytest.raises(NowhereError, match="no worker at 2"):
            await task

    in_loop(work)


def test_without_any_place_jobs_wait_so_long_and_then_fail_at_once_until_there_is_one() -> None:
    async def work(dispatcher: Dispatcher) -> None:
        place = ScriptedPlace(dispatcher)
        dispatcher.add(place)
        tasks = await ask(dispatcher, "a", "b")
        dispatcher.remove(place, "its machine burnt")
        for task in tasks:
            with pytest.raises(NowhereError, match="no sandbox node is left: its machine burnt"):
                await task
        with pytest.raises(NowhereError):
            await dispatcher.do(Job("c", ()))
        other = ScriptedPlace(dispatcher)
        dispatcher.add(other)
        (task,) = await ask(dispatcher, "d")
        other.answer("done")
        await task

    in_loop(work, patience=0.05)


def test_a_cancelled_caller_leaves_its_place_and_the_line() -> None:
    async def work(dispatcher: Dispatcher) -> None:
        place = ScriptedPlace(dispatcher)
        dispatcher.add(place)
        tasks = await ask(dispatcher, *"abcdef")
        tasks[1].cancel()
        tasks[4].cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert place.names == list("acdf")

    in_loop(work)


def test_closing_ends_everything() -> None:
    async def work(dispatcher: Dispatcher) -> None:
        place = ScriptedPlace(dispatcher)
        dispatcher.add(place)
        tasks = await ask(dispatcher, *"abcdef")
        dispatcher.close("the sandbox pool was closed")
        for task in tasks:
            with pytest.raises(NowhereError, match="was closed"):
                await task

    in_loop(work)


def desk(work: Callable[[Desk, Callable[[int, Awaitable[Any]], None]], Coroutine[Any, Any, T]]) -> T:
    async def run() -> T:
        found = Desk(enough=3)

        def begin(ticket: int, job: Awaitable[Any]) -> None:
            found.tasks[ticket] = task = asyncio.ensure_future(job)
            task.add_done_callback(lambda task: found.finish(ticket, task))

        return await asyncio.wait_for(work(found, begin), 20)

    return asyncio.run(run())


def test_a_desk_waits_for_company_but_not_for_what_goes_on_for_ever() -> None:
    async def work(desk: Desk, begin: Callable[[int, Awaitable[Any]], None]) -> None:
        jobs = [asyncio.get_running_loop().create_future() for _ in range(6)]
        for ticket, job in enumerate(jobs):
            begin(ticket, job)
        for job in jobs[:3]:
            job.set_result("done")
        assert await desk.collect() == [(0, "done"), (1, "done"), (2, "done")]
        jobs[3].set_result("alone")
        assert await desk.collect() == [(3, "alone")]
        desk.cancel([4, 5])
        assert await desk.collect() == []

    desk(work)


def test_who_comes_second_to_a_desk_sends_the_first_one_home() -> None:
    async def work(desk: Desk, begin: Callable[[int, Awaitable[Any]], None]) -> None:
        job: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        begin(0, job)
        first = asyncio.ensure_future(desk.collect())
        await asyncio.sleep(0)
        second = asyncio.ensure_future(desk.collect())
        assert await first == []
        job.set_result("done")
        assert await second == [(0, "done")]

    desk(work)


def test_a_job_that_raises_is_a_failure_with_its_reason() -> None:
    async def broken() -> None:
        raise OSError("no processes left")

    async def work(desk: Desk, begin: Callable[[int, Awaitable[Any]], None]) -> None:
        begin(7, broken())
        assert await desk.collect() == [(7, Failure("OSError: no processes left"))]

    desk(work)
