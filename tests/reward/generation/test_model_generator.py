"""From prompts to suites through a real client, a real store and a server that misbehaves by script."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from coderm_reward.activity import Activity
from coderm_reward.config import GenerationConfig
from coderm_reward.errors import GenerationError
from coderm_reward.generation.model_generator import NOT_STORED, ModelGenerator
from coderm_reward.generation.openai_backend import OpenAIBackend
from coderm_reward.generation.prompt_solutions import REFERENCE
from coderm_reward.generation.scripted_server import Act, Asked, Script, ScriptedServer
from coderm_reward.generation.store import SuiteStore
from coderm_reward.source import normalised_id
from coderm_reward.types import CodeStatus, Problem, Solution

T = TypeVar("T")
HANG = 60.0
"""Seconds after which a test that waits is taken for one that hangs."""
CONFIG = GenerationConfig(model="scripted", responses=4)
PROBLEM = Problem("h", "Write a function `solve(x)`.", "solve", "task/1")
ONE, TWO = (Solution(CodeStatus.OK, f"def solve(x):\n    return x{more}") for more in ("", " + 0"))


@contextlib.asynccontextmanager
async def generator_of(
    server: ScriptedServer, store: SuiteStore, config: GenerationConfig = CONFIG, **options: Any
) -> AsyncIterator[ModelGenerator]:
    async with OpenAIBackend(
        server.url, config.model, retries=0, deadline=20.0, n_per_request=config.choices_per_request
    ) as backend:
        yield ModelGenerator(backend, store, config, **options)


def with_server(
    work: Callable[[ScriptedServer, SuiteStore], Awaitable[T]], script: Script = (), **serve: Any
) -> T:
    async def run() -> T:
        with SuiteStore.open() as store:
            async with ScriptedServer(script, **serve) as server:
                return await asyncio.wait_for(work(server, store), HANG)

    return asyncio.run(run())


def test_a_suite_is_the_first_n_slots_and_more_later_asks_the_difference() -> None:
    async def work(server: ScriptedServer, store: SuiteStore) -> None:
        async with generator_of(server, store) as generator:
            first = await generator.generate(PROBLEM, [ONE], None)
            assert (len(first.tests), first.responses, len(server.asked)) == (4, 4, 4)
            again = await generator.generate(PROBLEM, [ONE], 2)
            assert (again.tests, len(server.asked)) == (first.tests[:2], 4)
            more = await generator.generate(PROBLEM, [ONE], 6)
            assert (more.tests[:4], more.responses, len(server.asked)) == (first.tests, 6, 6)
            assert first.dropped == again.dropped == more.dropped == {}
            assert first.prompt_tokens > 0 < first.completion_tokens < more.completion_tokens
            assert first.seconds > 0

    with_server(work)


def test_solutions_take_turns_and_every_response_remembers_whose_it_was() -> None:
    async def work(server: ScriptedServer, store: SuiteStore) -> None:
        async with generator_of(server, store) as generator:
            suite = await generator.generate(PROBLEM, [TWO, ONE, ONE], 5)
            stored = store.responses("h", generator.identity)
            names = [normalised_id(s.code) for s in (ONE, TWO)]
            assert [r.solution for r in stored] == [names[0], names[1], names[0], names[1], names[0]]
            assert [r.solution_source for r in stored] == [s.code for s in (ONE, TWO, ONE, TWO, ONE)]
            assert [t.prompted_by for t in suite.tests] == [(r.solution,) for r in stored]
            prompts = {asked.seed: asked.prompt for asked in server.asked}
            assert len(prompts) == 5
            assert all(r.solution_source in prompts[r.seed] for r in stored)

    with_server(work)


def test_the_reference_is_named_as_such() -> None:
    async def work(server: ScriptedServer, store: SuiteStore) -> None:
        async with generator_of(server, store) as generator:
            problem = Problem("h", "q", "solve", reference=TWO.code)
            suite = await generator.generate(problem, [ONE], 2)
            assert {t.prompted_by for t in suite.tests} == {(REFERENCE,)}

    with_server(work)


def test_without_any_code_the_question_is_asked_alone() -> None:
    async def work(server: ScriptedServer, store: SuiteStore) -> None:
        async with generator_of(server, store) as generator:
            suite = await generator.generate(PROBLEM, [Solution(CodeStatus.NO_CODE)], 1)
            assert suite.tests[0].prompted_by == ()
            assert "solution" not in server.asked[0].prompt

    with_server(work)


def test_seeds_follow_from_prompt_slot_and_base_seed_alone() -> None:
    async def work(server: ScriptedServer, store: SuiteStore) -> None:
        with SuiteStore.open() as other:
            async with generator_of(server, store) as one, generator_of(server, other) as two:
                await one.generate(PROBLEM, [ONE], 4)
                await two.generate(PROBLEM, [ONE], 2)
                await two.generate(PROBLEM, [ONE], 4)
                texts = [r.text for r in store.responses("h", one.identity)]
                assert texts == [r.text for r in other.responses("h", two.identity)]
                assert len(set(texts)) == 4
            config = GenerationConfig(model="scripted", generation_seed=1)
            async with generator_of(server, store, config) as seeded:
                await seeded.generate(PROBLEM, [ONE], 4)
                assert not {r.text for r in store.responses("h", seeded.identity)} & set(texts)

    with_server(work)


@pytest.mark.parametrize("at_once", [1, 3, 4])
def test_several_responses_in_one_request_share_its_prompt(at_once: int) -> None:
    async def work(server: ScriptedServer, store: SuiteStore) -> None:
        config = GenerationConfig(model="scripted", choices_per_request=at_once)
        async with generator_of(server, store, config) as generator:
            suite = await generator.generate(PROBLEM, [ONE, TWO], 8)
            assert (len(suite.tests), len(server.asked)) == (8, -(-8 // at_once))
            stored = store.responses("h", generator.identity)
            assert [r.solution_source for r in stored] == [
                (ONE, TWO)[slot // at_once % 2].code for slot in range(8)
            ]
            assert all(f"solve({r.seed})" in r.text for r in stored)
            assert sum(r.prompt_tokens > 0 for r in stored) == len(server.asked)

    with_server(work)


def test_seventeen_of_twenty_are_seventeen_tests_and_three_counted_failures() -> None:
    acts = [Act(status=400) if number in (3, 8, 19) else Act() for number in range(20)]

    async def work(server: ScriptedServer, store: SuiteStore) -> None:
        async with generator_of(server, store) as generator:
            suite = await generator.generate(PROBLEM, [ONE], 20)
            assert (len(suite.tests), suite.responses, suite.dropped) == (17, 17, {"failed_rejected": 3})
            mended = await generator.generate(PROBLEM, [ONE], 20)
            assert (len(mended.tests), mended.dropped, len(server.asked)) == (20, {}, 23)

    with_server(work, acts)


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (Act(status=500, message="out of memory"), "500"),
        (Act(body=b"<html><body>Welcome</body></html>"), "127.0.0.1"),
        (Act(choices=0), "127.0.0.1"),
        (Act(drop="before"), "127.0.0.1"),
    ],
)
def test_nothing_at_all_is_an_error_that_names_the_server(act: Act, said: str) -> None:
    async def work(server: ScriptedServer, store: SuiteStore) -> None:
        async with generator_of(server, store) as generator:
            with pytest.raises(GenerationError, match=said):
                await generator.generate(PROBLEM, [ONE], 2)
            assert store.responses("h", generator.identity) == []

    with_server(work, act)


def test_a_prompt_that_is_too_long_is_its_own_fault_alone() -> None:
    async def work(server: ScriptedServer, store: SuiteStore) -> None:
        config = GenerationConfig(model="scripted", max_tokens=100)
        async with generator_of(server, store, config) as generator:
            long = Problem("long", "word " * 500, "solve")
            suite, other = await asyncio.gather(
                generator.generate(long, [ONE], 2), generator.generate(PROBLEM, [ONE], 2)
            )
            assert (suite.tests, suite.dropped) == ((), {"failed_too_long": 2})
            assert len(other.tests) == 2

    with_server(work, context=250)


def test_of_a_response_that_was_cut_off_the_whole_methods_are_kept() -> None:
    def act(asked: Asked) -> Act:
        methods = "".join(
            f"    def test_{i}(self):\n        self.assertEqual(solve({i}), {i})\n" for i in range(9)
        )
        return Act(texts=(f"```python\nimport unittest\n\nclass T(unittest.TestCase):\n{methods}",))

    async def work(server: ScriptedServer, store: SuiteStore) -> None:
        config = GenerationConfig(model="scripted", max_tokens=120)
        async with generator_of(server, store, config) as generator:
            suite = await generator.generate(PROBLEM, [ONE], 1)
            assert [r.finish_reason for r in store.responses("h", generator.identity)] == ["length"]
            assert 0 < len(suite.tests[0].methods) < 9
            assert suite.dropped == {"repaired_truncated": 1}

    with_server(work, act)


def test_what_had_arrived_when_the_server_died_is_never_asked_again(tmp_path: Path) -> None:
    async def work(server: ScriptedServer, _: SuiteStore) -> None:
        path = tmp_path / "suites.db"
        with SuiteStore.open(path) as store:
            arrivals: asyncio.Queue[object] = asyncio.Queue()
            async with generator_of(server, store, on_completion=arrivals.put_nowait) as generator:
                dying = asyncio.create_task(generator.generate(PROBLEM, [ONE], 6))
                for _ in range(3):
                    await arrivals.get()
                await server.stop()
                suite = await dying
                assert (suite.responses, suite.dropped) == (3, {"failed_connection": 3})
        arrived = [asked.seed for asked in server.asked[:3]]
        await server.start()
        server.release()
        with SuiteStore.open(path) as store:
            async with generator_of(server, store) as generator:
                suite = await generator.generate(PROBLEM, [ONE], 6)
                assert (len(suite.tests), suite.dropped) == (6, {})
                asked_again = [asked.seed for asked in server.asked[6:]]
                assert len(asked_again) == 3
                assert not set(arrived) & set(asked_again)

    with_server_that_stalls_after(3, work)


def with_server_that_stalls_after(
    answers: int, work: Callable[[Any, SuiteStore], Awaitable[T]], **serve: Any
) -> T:
    """A server that answers so many requests, and no others until `release`."""
    released: list[bool] = []

    def act(asked: Asked) -> Act:
        return Act(stall=asked.number >= answers and not released)

    class Stalling(ScriptedServer):
        def release(self) -> None:
            released.append(True)

    async def run() -> T:
        with SuiteStore.open() as store:
            async with Stalling(act, **serve) as server:
                return await asyncio.wait_for(work(server, store), HANG)

    return asyncio.run(run())


def test_a_growing_suite_shows_what_is_there_and_then_the_whole() -> None:
    async def work(server: Any, store: SuiteStore) -> None:
        activity = Activity()
        async with generator_of(server, store, activity=activity) as generator:
            seen = []
            async for suite in generator.growing(PROBLEM, [ONE], 4):
                seen.append(suite)
                if suite.responses == 2 and not suite.complete:
                    server.release()
                    await server.stop()
                    await server.start()
            assert [suite.complete for suite in seen] == [False] * (len(seen) - 1) + [True]
            assert 2 in [suite.responses for suite in seen[:-1]]
            sizes = [len(suite.tests) for suite in seen]
            assert sizes == sorted(sizes)
            assert seen[-1].dropped == {"failed_connection": 2}
        assert activity.seconds("generating") > 0

    with_server_that_stalls_after(2, work)


def test_closing_a_growing_suite_stops_the_requests_and_keeps_what_arrived() -> None:
    async def work(server: Any, store: SuiteStore) -> None:
        async with generator_of(server, store) as generator:
            suites = generator.growing(PROBLEM, [ONE], 4)
            async for suite in suites:
                if suite.responses == 2:
                    break
            await suites.aclose()
            await server.until(lambda: server.in_flight == 0)
            assert server.disconnects == 2
            assert len(store.responses("h", generator.identity)) == 2
            assert store.missing("h", generator.identity, 4)
            server.release()
            assert (await generator.generate(PROBLEM, [ONE], 4)).responses == 4

    with_server_that_stalls_after(2, work)


def test_siblings_that_ask_at_once_are_one_flight() -> None:
    async def work(server: ScriptedServer, store: SuiteStore) -> None:
        async with generator_of(server, store) as generator:
            suites = await asyncio.gather(*(generator.generate(PROBLEM, [ONE], 4) for _ in range(8)))
            assert len({suite.tests for suite in suites}) == 1
            assert len(server.asked) == 4

    with_server(work)


def test_two_generators_on_one_store_never_mix() -> None:
    async def work(server: ScriptedServer, store: SuiteStore) -> None:
        hotter = GenerationConfig(model="scripted", temperature=1.0)
        async with generator_of(server, store) as one, generator_of(server, store, hotter) as two:
            assert one.identity != two.identity
            assert one.fingerprint(PROBLEM) != two.fingerprint(PROBLEM)
            await one.generate(PROBLEM, [ONE], 2)
            await two.generate(PROBLEM, [ONE], 2)
            assert len(server.asked) == 4
            assert [asked.body["temperature"] for asked in server.asked] == [0.8, 0.8, 1.0, 1.0]

    with_server(work)


def test_a_store_alone_gives_what_is_there_and_counts_the_rest() -> None:
    async def work(server: ScriptedServer, store: SuiteStore) -> None:
        async with generator_of(server, store) as generator:
            await generator.generate(PROBLEM, [ONE], 2)
        alone = ModelGenerator(None, store, CONFIG)
        suite = await alone.generate(PROBLEM, [ONE], 4)
        assert (len(suite.tests), suite.responses, suite.dropped) == (2, 2, {NOT_STORED: 2})
        assert (alone.missing(PROBLEM), alone.missing(PROBLEM, 2)) == (2, 0)
        nothing = await alone.generate(Problem("other", "q"), [ONE], 4)
        assert (nothing.tests, nothing.dropped) == ((), {NOT_STORED: 4})

    with_server(work)


def test_a_prompt_that_would_not_fit_is_made_with_the_solutions_that_do() -> None:
    async def work(server: ScriptedServer, store: SuiteStore) -> None:
        config = GenerationConfig(model="scripted", max_tokens=1000, context=1600)
        huge = Solution(CodeStatus.OK, "def solve(x):\n" + "    x = x + 1\n" * 500 + "    return x")
        async with generator_of(server, store, config) as generator:
            await generator.generate(PROBLEM, [huge, ONE], 3)
            stored = store.responses("h", generator.identity)
            assert {r.solution_source for r in stored} == {ONE.code}

    with_server(work)
