"""The in-process backend on a stand-in engine: one batch, aborts, sleep and wake, failures.

The real engine: vllm_engine_checks.py, which test_real_vllm.py runs.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import backend_contract
import pytest
from backend_contract import SHORT, collect, request
from stand_in_engine import StandInEngine

from coderm_reward.errors import ConfigError, GenerationError
from coderm_reward.generation.completions import Completion, CompletionBackend, CompletionRequest, Sampling
from coderm_reward.generation.vllm_engine import VllmBackend
from coderm_reward.generation.vllm_process import EngineError, EngineSettings
from coderm_reward.types import Message

T = TypeVar("T")
HANG = 60.0
"""Seconds after which a test that waits is taken for one that hangs."""


def run(
    engine: StandInEngine, work: Callable[[VllmBackend], Awaitable[T]], model: str = "m", **options: Any
) -> T:
    async def guarded() -> T:
        backend = VllmBackend(model, start=engine.start, **options)
        try:
            return await asyncio.wait_for(work(backend), HANG)
        finally:
            await backend.aclose()

    return asyncio.run(guarded())


def failures(found: dict[tuple[str, int], Completion]) -> dict[tuple[str, int], tuple[str, str]]:
    return {key: (one.failure.kind, one.failure.message) for key, one in found.items() if one.failure}


@pytest.mark.parametrize("sleep_between", [False, True])
@pytest.mark.parametrize("promise", backend_contract.CONTRACT, ids=lambda promise: promise.__name__)
def test_it_keeps_what_backends_promise(
    promise: Callable[[CompletionBackend], Awaitable[None]], sleep_between: bool
) -> None:
    run(StandInEngine(), promise, sleep_between=sleep_between)


def test_a_prompt_too_long_fails_alone() -> None:
    engine = StandInEngine()
    run(engine, lambda backend: backend_contract.too_long_prompts_fail_alone(backend, 500))


def test_what_is_unfinished_at_the_end_comes_out_as_cancelled() -> None:
    engine = StandInEngine()
    engine.held = True
    run(engine, backend_contract.unfinished_work_is_cancelled)


# What the engine gets


def test_the_engine_is_started_once_with_defaults_for_an_8b_model_on_a_shared_card() -> None:
    engine = StandInEngine()

    async def work(backend: VllmBackend) -> None:
        await backend.check()
        await backend.check()
        await asyncio.gather(*(collect(backend, [request("a")]) for _ in range(3)))

    run(engine, work)
    assert engine.diary.count("start") == 1
    assert engine.settings == EngineSettings(
        model="m",
        max_model_len=4096,
        gpu_memory_utilization=0.4,
        tensor_parallel_size=1,
        max_concurrency=256,
        sleep=False,
    )


def test_every_text_has_a_seed_of_its_own_and_a_conversation_is_encoded_once() -> None:
    engine = StandInEngine()
    requests = [request("a", n=3, seed=40), request("b", n=2, seed=2**63 - 1), request("c", "Other words.")]
    run(engine, lambda backend: collect(backend, requests))
    asked = sorted(line for line in engine.diary if line.startswith("ask"))
    assert asked == sorted(f"ask {seed}" for seed in (40, 41, 42, 2**63 - 1, 0, 0))
    assert engine.encoded == 2


def test_many_prompts_and_calls_make_one_batch_of_bounded_size() -> None:
    async def work(backend: VllmBackend) -> None:
        calls = [[request(str(i), f"Prompt {i}", n=4, seed=i) for i in range(8)] for _ in range(3)]
        await asyncio.gather(*(collect(backend, call) for call in calls))

    wide, narrow = StandInEngine(), StandInEngine()
    wide.together, narrow.together = 3 * 8 * 4, 5
    run(wide, work)
    run(narrow, work, max_concurrency=5)
    assert wide.most_at_once == 3 * 8 * 4
    assert narrow.most_at_once == 5


def test_several_event_loops_share_it() -> None:
    engine = StandInEngine()
    backend = VllmBackend("m", start=engine.start)
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(len(asyncio.run(collect(backend, [request("a", n=5)])))))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG)
    assert found == [5] * 4
    assert len(asyncio.run(collect(backend, [request("later")]))) == 1
    asyncio.run(backend.aclose())
    assert (engine.diary.count("start"), engine.diary.count("close")) == (1, 1)


# Ends


def test_closing_the_iterator_aborts_what_the_engine_had() -> None:
    engine = StandInEngine()
    engine.held = True

    async def work(backend: VllmBackend) -> None:
        completions = backend.complete([request("a", n=3)], SHORT)
        first = asyncio.ensure_future(completions.__anext__())
        await asyncio.to_thread(engine.waiting.wait, HANG)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        asked = [line[4:] for line in engine.diary if line.startswith("ask ")]
        assert asked
        assert sorted(line[6:] for line in engine.diary if line.startswith("abort ")) == sorted(asked)

    run(engine, work)
    assert engine.diary[-1] == "close"


def test_an_iterator_may_be_closed_after_the_backend() -> None:
    async def work(backend: VllmBackend) -> None:
        completions = backend.complete([request("a", n=3)], SHORT)
        await completions.__anext__()
        await backend.aclose()
        await completions.aclose()  # type: ignore[attr-defined]

    run(StandInEngine(), work)


def test_after_the_end_nothing_starts_again() -> None:
    engine = StandInEngine()

    async def work(backend: VllmBackend) -> None:
        await backend.aclose()
        with pytest.raises(GenerationError, match="was closed"):
            await backend.check()
        assert {kind for kind, _ in failures(await collect(backend, [request("a", n=2)])).values()} == {
            "cancelled"
        }

    run(engine, work)
    assert engine.diary == []


# Sleep


def test_it_sleeps_whenever_nobody_waits_and_wakes_for_the_next() -> None:
    engine = StandInEngine()

    async def work(backend: VllmBackend) -> None:
        await backend.check()
        assert engine.diary == ["start", "sleep"]
        for _ in range(2):
            await asyncio.gather(*(collect(backend, [request("a")]) for _ in range(3)))
            assert engine.asleep

    run(engine, work, sleep_between=True)
    assert engine.settings is not None
    assert engine.settings.sleep
    changes = [line for line in engine.diary if line in ("sleep", "wake")]
    assert changes[::2] == ["sleep"] * len(changes[::2])
    assert changes[1::2] == ["wake"] * len(changes[1::2])


def test_it_sleeps_only_after_the_aborts_of_a_call_closed_early() -> None:
    engine = StandInEngine()
    engine.held = True

    async def work(backend: VllmBackend) -> None:
        first = asyncio.ensure_future(backend.complete([request("a", n=3)], SHORT).__anext__())
        await asyncio.to_thread(engine.waiting.wait, HANG)
        first.cancel()
        await asyncio.wait([first])

    run(engine, work, sleep_between=True)
    assert engine.diary[-2:] == ["sleep", "close"]
    assert engine.diary.count("sleep") == 1


def test_an_engine_that_does_not_share_its_gpu_stays_awake() -> None:
    engine = StandInEngine()
    run(engine, lambda backend: collect(backend, [request("a")]))
    assert "sleep" not in engine.diary


def test_an_engine_that_dies_asleep_fails_the_next_call() -> None:
    engine = StandInEngine()

    async def work(backend: VllmBackend) -> dict[tuple[str, int], Completion]:
        await backend.check()

        async def dead() -> None:
            raise EngineError("connection", "gone")

        engine.wake = dead  # type: ignore[method-assign]
        return await collect(backend, [request("a", n=2)])

    found = failures(run(engine, work, sleep_between=True))
    assert [kind for kind, _ in found.values()] == ["connection"] * 2
    assert "engine of m died (gone)" in found["a", 0][1]


# Failures


def test_an_engine_that_cannot_start_says_so_once_and_is_tried_again_by_check() -> None:
    engine = StandInEngine()
    tries: list[EngineSettings] = []

    async def start(settings: EngineSettings) -> StandInEngine:
        tries.append(settings)
        if len(tries) < 3:
            raise GenerationError("no memory; free some.")
        return await engine.start(settings)

    async def work() -> None:
        backend = VllmBackend("m", start=start)
        for _ in range(2):
            found = failures(await collect(backend, [request("a", n=2)]))
            assert set(found.values()) == {("connection", "no memory; free some.")}
        assert len(tries) == 1
        with pytest.raises(GenerationError, match="free some"):
            await backend.check()
        await backend.check()
        assert failures(await collect(backend, [request("a")])) == {}
        await backend.aclose()

    asyncio.run(work())


@pytest.mark.parametrize(
    ("failure", "sentence"),
    [
        (EngineError("server", "odd"), "The engine of m failed at a request: odd."),
        (EngineError("rejected", "odd"), "The engine of m refuses a request: odd."),
    ],
)
def test_a_request_that_fails_is_one_failure(failure: EngineError, sentence: str) -> None:
    engine = StandInEngine()
    engine.failure = failure

    async def work(backend: VllmBackend) -> None:
        assert failures(await collect(backend, [request("a")])) == {("a", 0): (failure.kind, sentence)}
        engine.failure = None
        assert failures(await collect(backend, [request("a")])) == {}

    run(engine, work)


def test_a_dead_engine_stays_dead_and_is_said_to_be() -> None:
    engine = StandInEngine()
    engine.failure = EngineError("connection", "gone")

    async def work(backend: VllmBackend) -> None:
        assert [kind for kind, _ in failures(await collect(backend, [request("a", n=3)])).values()] == [
            "connection"
        ] * 3
        engine.failure = None
        with pytest.raises(GenerationError, match=r"engine of m died \(gone\)"):
            await backend.check()
        assert failures(await collect(backend, [request("a")]))["a", 0][0] == "connection"

    run(engine, work)


def test_messages_that_the_template_refuses_fail_alone() -> None:
    odd = CompletionRequest("odd", (Message("tool", "x"),), 0, 2)
    found = failures(run(StandInEngine(), lambda backend: collect(backend, [odd, request("a")])))
    assert {key: kind for key, (kind, _) in found.items()} == {("odd", 0): "rejected", ("odd", 1): "rejected"}


def test_a_text_that_takes_too_long_is_aborted() -> None:
    engine = StandInEngine()
    engine.held = True
    found = failures(run(engine, lambda backend: collect(backend, [request("a", seed=7)]), deadline=0.01))
    assert found == {("a", 0): ("timeout", "The engine of m gave no text within 0.01 s.")}
    assert "abort 7" in engine.diary


@pytest.mark.parametrize(
    "options",
    [
        {"max_model_len": 1},
        {"tensor_parallel_size": 0},
        {"max_concurrency": 0},
        {"deadline": 0},
        {"deadline": float("nan")},
        {"gpu_memory_utilization": 0},
        {"gpu_memory_utilization": 1.1},
    ],
)
def test_settings_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        VllmBackend("m", **options)


def test_a_text_is_never_longer_than_the_context_leaves_room_for() -> None:
    found = run(
        StandInEngine(context=8), lambda backend: collect(backend, [request("a")], Sampling(max_tokens=50))
    )
    assert found["a", 0].prompt_tokens + found["a", 0].completion_tokens == 8
