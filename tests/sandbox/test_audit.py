"""The fast way of stateless solutions is checked by runs that take no such way."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import pytest

from coderm_sandbox import Limits, Outcome, TestResult
from coderm_sandbox.audit import disagreements, is_audited, sample

P, F, E, T, U = Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.TIMEOUT, Outcome.UNKNOWN
RIGHT = "def f(x):\n    return x + 1\n"
TESTS = ("self.assertEqual(f(1), 2)", "self.assertEqual(f(2), 3)", "self.assertEqual(f(1), 3)")


def result(*outcomes: Outcome) -> TestResult:
    return TestResult(outcomes[0], {f"T.test_{n}": outcome for n, outcome in enumerate(outcomes)})


@pytest.mark.parametrize(
    ("fast", "strict", "expected"),
    [
        ([P], [P], 0),
        ([P], [F], 1),
        ([F], [P], 1),
        ([F], [E], 1),
        ([P, F, P], [F, P, P], 2),
        ([T], [P], 0),
        ([P], [T], 0),
        ([U], [F], 0),
        ([F], [U], 0),
        ([T, P], [P, F], 1),
    ],
)
def test_what_counts_as_a_disagreement(fast: list[Outcome], strict: list[Outcome], expected: int) -> None:
    """A timeout, or no evidence at all, may be the machine's doing."""
    assert disagreements({0: result(*fast)}, {0: result(*strict)}) == expected


def test_only_what_was_run_again_is_compared() -> None:
    fast = {0: result(P), 1: result(P), 2: result(P)}
    assert disagreements(fast, {2: result(F)}) == 1
    assert disagreements(fast, {}) == 0


def test_share_of_solutions() -> None:
    texts = [f"def f(x):\n    return {n}\n" for n in range(4000)]
    for share in (0.0, 0.25, 1.0):
        found = sum(is_audited(text, share) for text in texts)
        assert abs(found - share * len(texts)) < 200
    assert all(is_audited(text, 0.5) for text in texts if is_audited(text, 0.25)), "a larger share holds it"
    assert is_audited("\ud800", 1.0)


def test_the_last_test_and_another_are_the_sample() -> None:
    assert sample(RIGHT, [4]) == [4]
    assert sample(RIGHT, [2, 4]) == [2, 4]
    indices = [0, 2, 3, 5, 9]
    samples = [sample(f"def f(x):\n    return {n}\n", indices) for n in range(200)]
    assert {tuple(found) for found in samples} == {(i, 9) for i in indices[:-1]}
    assert sample("\ud800", indices) == sample("\ud800", indices)


MIXED = {
    "right": RIGHT,
    "wrong": "def f(x):\n    return x\n",
    "raises": "def f(x):\n    raise ValueError(x)\n",
    "helper-and-class": "class N:\n    def a(self, x):\n        return x + 1\ndef f(x): return N().a(x)\n",
    "recursive": "def f(x):\n    return 1 if x <= 0 else 1 + f(x - 1)\n",
    "prints": "def f(x):\n    print(x)\n    return x + 1\n",
    "hangs": "def f(x):\n    while x == 2: pass\n    return x + 1\n",
    "stateful": "calls = []\ndef f(x):\n    calls.append(x)\n    return x + len(calls)\n",
    "does-not-load": "import nothing_of_this_name\n",
}


@pytest.fixture(scope="module")
def audited(make_sandbox: Callable[..., Any]) -> Any:
    return make_sandbox(audit_share=1.0, limits=Limits(timeout=0.5, memory_mb=256))


@pytest.fixture(scope="module")
def plain(make_sandbox: Callable[..., Any]) -> Any:
    return make_sandbox(audit_share=0.0, limits=Limits(timeout=0.5, memory_mb=256))


@pytest.mark.parametrize("name", MIXED)
def test_an_audit_agrees(audited: Any, plain: Any, method: Callable[..., str], name: str) -> None:
    texts = [method(*TESTS), method(TESTS[1], TESTS[2]), method(TESTS[0])]
    before = dataclasses.replace(audited.pool.stats)
    results = audited.run(MIXED[name], *texts)
    assert [one.methods for one in results] == [one.methods for one in plain.run(MIXED[name], *texts)]
    assert audited.pool.stats.audit_disagreements == before.audit_disagreements
    assert plain.pool.stats.audited == 0


def test_what_is_audited(audited: Any, method: Callable[..., str]) -> None:
    """Two of the tests that went the fast way, each once; a stateful solution never goes it."""
    stats = audited.pool.stats
    before = stats.audited
    audited.run(MIXED["stateful"], *[method(TESTS[0])] * 3)
    assert stats.audited == before
    audited.run(RIGHT, *[method(TESTS[0])] * 3)
    assert stats.audited == before + 2
    inline = method("import random\nrandom.seed(0)\n" + TESTS[0])
    audited.run(RIGHT, method(TESTS[0]), inline)
    assert stats.audited == before + 3


def test_a_disagreement_is_counted_told_and_decided_by_the_strict_run(
    make_sandbox: Callable[..., Any],
    method: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The first run is made to have seen a fail that is none."""
    sandbox = make_sandbox(audit_share=1.0)
    run_tests = sandbox.pool._run_tests
    passes: list[bool] = []

    async def misled(job: Any, indices: Any, strict: bool = False) -> Any:
        results, lost, again, fast = await run_tests(job, indices, strict=strict)
        passes.append(strict)
        if not strict:
            results[0] = dataclasses.replace(results[0], outcome=F, methods={"T.test_0": F}, detail="misled")
        return results, lost, again, fast

    monkeypatch.setattr(sandbox.pool, "_run_tests", misled)
    with caplog.at_level(logging.WARNING, logger="coderm_sandbox"):
        results = sandbox.run(RIGHT, method(TESTS[0]), method(TESTS[2]))
    assert passes == [False, True]
    assert [one.outcome for one in results] == [P, F]
    assert results[0].detail == ""
    assert (sandbox.pool.stats.audited, sandbox.pool.stats.audit_disagreements) == (2, 1)
    assert "1 other verdict" in caplog.text


def test_a_disagreement_has_all_tests_of_the_job_run_again(
    make_sandbox: Callable[..., Any], method: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first run is made to have seen fails only; the sample of two cannot mend all of them."""
    sandbox = make_sandbox(audit_share=1.0)
    run_tests = sandbox.pool._run_tests
    passes: list[tuple[bool, int]] = []

    async def misled(job: Any, indices: Any, strict: bool = False) -> Any:
        results, lost, again, fast = await run_tests(job, indices, strict=strict)
        passes.append((strict, len(results)))
        return results if strict else {i: result(F) for i in results}, lost, again, fast

    monkeypatch.setattr(sandbox.pool, "_run_tests", misled)
    results = sandbox.run(RIGHT, *[method(TESTS[0])] * 4, method(TESTS[2]))
    assert passes == [(False, 5), (True, 2), (True, 3)]
    assert [one.outcome for one in results] == [P, P, P, P, F]
    stats = sandbox.pool.stats
    assert (stats.audited, stats.audit_disagreements) == (5, 4)


def test_an_audit_that_is_lost_changes_nothing(
    make_sandbox: Callable[..., Any], method: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A strict run whose worker dies twice has no say."""
    sandbox = make_sandbox(audit_share=1.0)
    run_tests = sandbox.pool._run_tests

    async def lost_when_strict(job: Any, indices: Any, strict: bool = False) -> Any:
        results, lost, again, fast = await run_tests(job, indices, strict=strict)
        if strict:
            results = {i: result(U) for i in indices}
            lost = set(indices)
        return results, lost, again, fast

    monkeypatch.setattr(sandbox.pool, "_run_tests", lost_when_strict)
    results = sandbox.run(RIGHT, method(TESTS[0]), method(TESTS[2]))
    assert [one.outcome for one in results] == [P, F]
    assert sandbox.pool.stats.audit_disagreements == 0
    assert sandbox.pool.stats.unknown == 0


def test_a_lost_part_of_an_audit_is_not_unknown(
    make_sandbox: Callable[..., Any], method: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one test disagrees and another one was lost, the lost one still has a verdict."""
    sandbox = make_sandbox(audit_share=1.0)
    run_tests = sandbox.pool._run_tests

    async def half(job: Any, indices: Any, strict: bool = False) -> Any:
        results, lost, again, fast = await run_tests(job, indices, strict=strict)
        if strict:
            results, lost = {0: result(P), 1: result(U)}, {1}
        elif 0 in results:
            results[0] = result(F)
        return results, lost, again, fast

    monkeypatch.setattr(sandbox.pool, "_run_tests", half)
    results = sandbox.run(RIGHT, method(TESTS[0]), method(TESTS[0]))
    assert [one.outcome for one in results] == [P, P]
