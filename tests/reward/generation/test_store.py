"""Slots of a store: what is in them, what is missing, and that neither ever changes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from coderm_reward.generation.store import SuiteStore
from coderm_reward.generation.stored import NEXT_SLOT, StoredResponse, StoredSuite
from coderm_reward.text import storable
from coderm_reward.types import Problem

T = TypeVar("T")
PROBLEM = Problem("h1", "Add one to x.", entry_point="f", task_id="a/1")
OTHER = Problem("h2", "Add two to x.")
G, G2 = "model=a;t=0.8", "model=b;t=0.8"
FULL = StoredResponse(0, "text", "length", "c0ffee", "def f(x): ...", 300, 2048, 1.25, 2**63 - 1)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


def texts(*slots: int, prefix: str = "r") -> list[StoredResponse]:
    return [StoredResponse(slot, f"{prefix}{slot}") for slot in slots]


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SuiteStore]:
    with SuiteStore.open() if request.param == "memory" else SuiteStore.open(tmp_path / "s") as opened:
        yield opened


def test_a_response_comes_back_whole(store: SuiteStore) -> None:
    assert run(store.append(PROBLEM, G, [FULL])) == (0,)
    assert store.responses("h1", G) == [FULL]


def test_responses_come_by_slot_and_only_those_wanted(store: SuiteStore) -> None:
    run(store.append(PROBLEM, G, texts(5, 0, 2)))
    assert [r.slot for r in store.responses("h1", G)] == [0, 2, 5]
    assert [r.slot for r in store.responses("h1", G, 5)] == [0, 2]
    assert store.missing("h1", G, 6) == (1, 3, 4)
    assert store.responses("h1", G, 0) == []
    assert store.missing("h1", G, 0) == ()


def test_prompts_and_generators_never_mix(store: SuiteStore) -> None:
    run(store.append(PROBLEM, G, texts(0)))
    run(store.append(OTHER, G, texts(1)))
    run(store.append(PROBLEM, G2, texts(2)))
    held = [
        [r.slot for r in store.responses(h, g)] for h, g in (("h1", G), ("h2", G), ("h1", G2), ("h2", G2))
    ]
    assert held == [[0], [1], [2], []]
    assert store.missing("h2", G2, 2) == (0, 1)


def test_a_filled_slot_keeps_its_first_response(store: SuiteStore) -> None:
    run(store.append(PROBLEM, G, [FULL]))
    assert run(store.append(PROBLEM, G, texts(0, 1, prefix="late"))) == (1,)
    assert [r.text for r in store.responses("h1", G)] == ["text", "late1"]


def test_an_append_is_all_or_nothing(store: SuiteStore) -> None:
    with pytest.raises(OverflowError):
        run(store.append(PROBLEM, G, [*texts(0), StoredResponse(1, "x", seed=2**63)]))
    assert store.responses("h1", G) == []
    with pytest.raises(ValueError, match="numbered from 0"):
        run(store.append(PROBLEM, G, texts(NEXT_SLOT)))


def test_prompt_and_description_are_kept_once_and_the_first_stands(store: SuiteStore) -> None:
    run(store.append(Problem("h1", "Add one to x."), G, texts(0)))
    run(store.append(PROBLEM, G, texts(1), description={"model": "a"}))
    run(store.append(Problem("h1", "Else.", entry_point="g"), G, texts(2), description={"model": "b"}))
    assert store.problems() == [PROBLEM]
    assert store.generators() == {G: {"model": "a"}}


def test_suites_are_self_contained(store: SuiteStore) -> None:
    run(store.append(PROBLEM, G, [FULL], description={"model": "a", "top_p": 0.95}))
    run(store.append(PROBLEM, G2, texts(0)))
    run(store.append(OTHER, G, texts(1)))
    run(store.mark("h1", "t1", "reference_failed", "0 != 1"))
    marks = {"t1": {"reference_failed": "0 != 1"}}
    expected = StoredSuite(PROBLEM, G, {"model": "a", "top_p": 0.95}, (FULL,), marks)
    assert next(store.suites(G)) == expected
    assert [suite.problem for suite in store.suites(G)] == store.problems(G) == [PROBLEM, OTHER]
    assert [(s.problem.prompt_hash, s.generator) for s in store.suites()] == [
        ("h1", G),
        ("h1", G2),
        ("h2", G),
    ]
    assert store.problems() == [PROBLEM, OTHER]
    assert list(store.suites("no such")) == []


def test_marks_stay_as_they_were_made(store: SuiteStore) -> None:
    for detail in ("first", "second"):
        run(store.mark("h1", "t1", "reference_failed", detail))
    run(store.mark("h1", "t1", "network"))
    run(store.mark("h2", "t1", "files"))
    assert store.marks("h1") == {"t1": {"network": "", "reference_failed": "first"}}
    assert store.marks("none") == {}


def test_a_file_keeps_everything_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    with SuiteStore.open(tmp_path / "s") as store:
        run(store.append(PROBLEM, G, [FULL]))
        store.close()
    with SuiteStore.open(tmp_path / "s") as store:
        assert store.responses("h1", G) == [FULL]
        store.verify()
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


@given(st.text(st.characters()), st.text(st.characters()), st.floats(allow_nan=False))
@example("\0\ud800", "\x1f", -0.0)
@settings(deadline=None)
def test_any_text_is_kept_as_far_as_files_can_hold_it(text: str, source: str, seconds: float) -> None:
    given_response = StoredResponse(0, text, text, source, text, seconds=seconds, seed=-1)
    kept = StoredResponse(
        0, storable(text), storable(text), storable(source), storable(text), seconds=seconds, seed=-1
    )
    problem = Problem("h" + text, text, entry_point=text, task_id=text)
    with SuiteStore.open() as store:
        run(store.append(problem, text, [given_response], description={text: [text]}))
        assert store.responses("h" + text, text) == [kept]
        (suite,) = store.suites(text)
        assert suite.problem.question == storable(text)
        assert suite.description == {storable(text): [storable(text)]}
        store.verify()


sizes = st.integers(0, 12)


@given(st.lists(st.tuples(sizes, st.sets(st.integers(0, 11))), max_size=8))
@settings(deadline=None)
def test_a_larger_request_asks_for_the_difference_and_failures_are_asked_again(
    requests: list[tuple[int, set[int]]],
) -> None:
    """Each request wants n responses, and those of some slots fail."""
    filled: dict[int, str] = {}

    async def play() -> None:
        with SuiteStore.open() as store:
            for number, (n, fails) in enumerate(requests):
                async with store.claim("h1", G, n) as missing:
                    assert missing == tuple(slot for slot in range(n) if slot not in filled)
                    for slot in missing:
                        if slot not in fails:
                            filled[slot] = f"{number}.{slot}"
                            await store.append(PROBLEM, G, [StoredResponse(slot, filled[slot])])
                held = {r.slot: r.text for r in store.responses("h1", G)}
                assert held == filled
                assert [r.slot for r in store.responses("h1", G, n)] == sorted(s for s in filled if s < n)

    run(play())


given_texts = st.lists(st.sampled_from("abc"), max_size=6)


def suite_of(responses: list[StoredResponse]) -> StoredSuite:
    return StoredSuite(PROBLEM, G, {}, tuple(responses))


@given(st.dictionaries(st.integers(0, 6), st.sampled_from("abc")), given_texts, given_texts)
@settings(deadline=None)
def test_merging_adds_after_what_is_there_what_is_not_there(
    held: dict[int, str], one: list[str], other: list[str]
) -> None:
    with SuiteStore.open() as store:
        run(store.append(PROBLEM, G, [StoredResponse(slot, text) for slot, text in held.items()]))
        for imported in (one, other):
            before = store.responses("h1", G)
            added = run(store.merge(suite_of([StoredResponse(NEXT_SLOT, text) for text in imported])))
            after = store.responses("h1", G)
            assert after[: len(before)] == before
            assert [r.slot for r in after[len(before) :]] == list(added)
            assert added == tuple(range(max([r.slot for r in before], default=-1) + 1, 99))[: len(added)]
            counts = [[sorted(r.text for r in rs).count(t) for t in "abc"] for rs in (before, after)]
            wanted = [imported.count(t) for t in "abc"]
            assert counts[1] == [max(pair) for pair in zip(counts[0], wanted, strict=True)]
            assert run(store.merge(suite_of([StoredResponse(NEXT_SLOT, text) for text in imported]))) == ()


def test_merged_responses_keep_free_slots(store: SuiteStore) -> None:
    run(store.append(PROBLEM, G, texts(0, 3)))
    theirs = [
        StoredResponse(0, "new"),
        StoredResponse(1, "gap"),
        StoredResponse(3, "r3"),
        StoredResponse(6, "far"),
    ]
    assert run(store.merge(suite_of(theirs))) == (1, 6, 7)
    held = {r.slot: r.text for r in store.responses("h1", G)}
    assert held == {0: "r0", 1: "gap", 3: "r3", 6: "far", 7: "new"}
    with pytest.raises(ValueError, match="numbered from 0"):
        run(store.merge(suite_of(texts(-2))))
