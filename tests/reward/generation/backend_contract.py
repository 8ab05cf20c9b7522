"""What every completion backend promises (generation.completions), as plain async functions that take one.

Each gets a backend that nothing is wrong with; `CONTRACT` lists those that need no more than that. They hold
for any model: they look at counts, keys, seeds and tokens, never at what a text says.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from coderm_reward.generation.completions import (
    Completion,
    CompletionBackend,
    CompletionRequest,
    Sampling,
)
from coderm_reward.types import Message

__all__ = ["CONTRACT", "collect", "request", "too_long_prompts_fail_alone", "unfinished_work_is_cancelled"]

SHORT = Sampling(max_tokens=24)


def request(key: str, text: str = "Write one word.", *, n: int = 1, seed: int = 0) -> CompletionRequest:
    """A request with one user message."""
    return CompletionRequest(key, (Message("user", text),), seed, n)


async def collect(
    backend: CompletionBackend, requests: Sequence[CompletionRequest], sampling: Sampling = SHORT
) -> dict[tuple[str, int], Completion]:
    """All completions by key and choice, none of them twice."""
    found: dict[tuple[str, int], Completion] = {}
    async for completion in backend.complete(requests, sampling):
        assert (completion.key, completion.choice) not in found
        found[completion.key, completion.choice] = completion
    return found


async def it_is_there(backend: CompletionBackend) -> None:
    await backend.check()
    assert backend.model


async def every_request_gets_its_n_texts(backend: CompletionBackend) -> None:
    requests = [request("a"), request("b", "Count to three.", n=3, seed=5), request("c", n=2, seed=9)]
    found = await collect(backend, requests)
    assert set(found) == {("a", 0), ("b", 0), ("b", 1), ("b", 2), ("c", 0), ("c", 1)}
    for completion in found.values():
        assert completion.failure is None
        assert completion.finish_reason in ("stop", "length")
        assert 0 < completion.completion_tokens <= SHORT.max_tokens
        assert completion.seconds > 0


async def prompt_tokens_are_counted_once(backend: CompletionBackend) -> None:
    found = await collect(backend, [request("a", n=3), request("b", "Write one word. " * 9)])
    assert found["a", 0].prompt_tokens > 0
    assert [found["a", choice].prompt_tokens for choice in (1, 2)] == [0, 0]
    assert found["b", 0].prompt_tokens > found["a", 0].prompt_tokens


async def no_requests_give_no_completions(backend: CompletionBackend) -> None:
    assert await collect(backend, []) == {}
    assert await collect(backend, [request("none", n=0)]) == {}


async def the_same_seed_draws_the_same_texts(backend: CompletionBackend) -> None:
    first, second = [await collect(backend, [request("a", n=2, seed=3)]) for _ in range(2)]
    assert {key: one.text for key, one in first.items()} == {key: one.text for key, one in second.items()}


async def other_seeds_draw_other_texts(backend: CompletionBackend) -> None:
    found = await collect(backend, [request(str(seed), seed=seed) for seed in range(0, 400, 100)])
    assert len({one.text for one in found.values()}) > 1


async def choices_of_one_request_differ(backend: CompletionBackend) -> None:
    found = await collect(backend, [request("a", n=4, seed=11)])
    assert len({one.text for one in found.values()}) > 1


async def a_text_is_cut_off_at_max_tokens(backend: CompletionBackend) -> None:
    found = await collect(backend, [request("a", "Count to a hundred.", n=2)], Sampling(max_tokens=3))
    assert [(one.finish_reason, one.completion_tokens) for one in found.values()] == [("length", 3)] * 2


async def several_calls_may_be_open(backend: CompletionBackend) -> None:
    both = await asyncio.gather(
        collect(backend, [request("a", n=2)]), collect(backend, [request("a", n=1, seed=7)])
    )
    assert [len(found) for found in both] == [2, 1]
    assert all(one.failure is None for found in both for one in found.values())


async def closing_early_leaves_it_usable(backend: CompletionBackend) -> None:
    completions = backend.complete([request(str(i), seed=i) for i in range(6)], SHORT)
    async for completion in completions:
        assert completion.failure is None
        break
    await completions.aclose()  # type: ignore[attr-defined]
    assert len(await collect(backend, [request("after")])) == 1


async def too_long_prompts_fail_alone(backend: CompletionBackend, words: int) -> None:
    """`words`: so many do not fit the model's context."""
    requests = [request("a"), request("long", "word " * words, n=2), request("b")]
    found = await collect(backend, requests)
    failures = {key: one.failure.kind for key, one in found.items() if one.failure is not None}
    assert failures == {("long", 0): "too_long", ("long", 1): "too_long"}
    assert len(found) == 4


async def unfinished_work_is_cancelled(backend: CompletionBackend) -> None:
    """Ends the backend: what it owes comes out as cancelled."""
    completions = backend.complete([request(str(i), seed=i) for i in range(3)], Sampling(max_tokens=512))
    collected = asyncio.ensure_future(_all(completions))
    await asyncio.sleep(0)  # let it begin
    await backend.aclose()
    await backend.aclose()
    found = await collected
    assert len(found) == 3
    assert {one.failure.kind for one in found if one.failure is not None} == {"cancelled"}
    late = await collect(backend, [request("late", n=2)])
    assert [one.failure is not None and one.failure.kind for one in late.values()] == ["cancelled"] * 2


async def _all(completions: AsyncIterator[Completion]) -> list[Completion]:
    return [one async for one in completions]


CONTRACT: tuple[Callable[[CompletionBackend], Awaitable[None]], ...] = (
    it_is_there,
    every_request_gets_its_n_texts,
    prompt_tokens_are_counted_once,
    no_requests_give_no_completions,
    the_same_seed_draws_the_same_texts,
    other_seeds_draw_other_texts,
    choices_of_one_request_differ,
    a_text_is_cut_off_at_max_tokens,
    several_calls_may_be_open,
    closing_early_leaves_it_usable,
)
