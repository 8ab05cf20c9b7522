"""Texts and settings that are wrong end as a verdict or as a ValueError, never as a crash."""

from __future__ import annotations

import math
from typing import Any

import pytest

from coderm_sandbox import Job, Limits, Outcome, SandboxPool, Test
from coderm_sandbox.types import MAX_SOURCE_BYTES

BODY = "self.assertEqual(f(1), 2)"
ADD = "def f(x):\n    return x + 1\n"


@pytest.mark.parametrize(
    "solution",
    [
        pytest.param("\0" + ADD, id="null-byte"),
        pytest.param("x = '\ud800'\n" + ADD, id="lone-surrogate"),
        pytest.param("\ufeff\ufeff" + ADD, id="two-byte-order-marks"),
        pytest.param("(" * 10000, id="parentheses"),
        pytest.param("x = " + "-" * 100000 + "1\n" + ADD, id="minus"),
        pytest.param("a = 1\nx = a" + ".b" * 50000 + "\n" + ADD, id="attributes"),
        pytest.param("x = " + "[" * 90 + "]" * 90 + "\n" + "x = " + "f(" * 5000 + ")" * 5000, id="calls"),
        pytest.param("".join(f"{' ' * n}if 1:\n" for n in range(150)), id="indents"),
        pytest.param("return 2", id="return-outside"),
        pytest.param("from __future__ import braces", id="future"),
        pytest.param("# coding: no-such-codec\n\xff" + "def f(x) return", id="codec"),
    ],
)
def test_sources_that_do_not_compile(either: Any, solution: str) -> None:
    assert either.outcome(solution, BODY) in (Outcome.ERROR, Outcome.MEMORY)


def test_source_of_ten_megabytes_runs(sandbox: Any) -> None:
    assert sandbox.outcome("x = '" + "y" * (10 << 20) + "'\n" + ADD, BODY) is Outcome.PASS


def test_source_of_ten_megabytes_of_statements_has_a_verdict(sandbox: Any) -> None:
    assert sandbox.outcome("x = 1\n" * (10 << 20 >> 3) + ADD, BODY) in (Outcome.TIMEOUT, Outcome.MEMORY)


@pytest.mark.parametrize("character", ["x", "é", "\U0001f600", "\0", "\ud800"])
def test_source_beyond_the_limit_is_an_error(sandbox: Any, character: str) -> None:
    job = Job(character * (MAX_SOURCE_BYTES + 1), (Test("", methods=("T.a",)),))
    (result,) = sandbox.do(sandbox.pool.run(job))
    assert result.outcome is Outcome.ERROR
    assert "longer than" in result.detail


def test_source_whose_escapes_pass_the_limit_is_an_error(sandbox: Any) -> None:
    (result,) = sandbox.do(sandbox.pool.run(Job("\U0001f600" * (2 << 20), (Test("", methods=("T.a",)),))))
    assert result.outcome is Outcome.ERROR


def test_test_beyond_the_limit_is_invalid(sandbox: Any) -> None:
    ordinary = "import unittest\nclass T(unittest.TestCase):\n    def test_a(self): f()\n"
    found = sandbox.inspect(ordinary, "#" * (MAX_SOURCE_BYTES + 1), ordinary)
    assert [one.valid for one in found] == [True, False, True]


def test_large_tests_go_in_several_requests(sandbox: Any) -> None:
    text = "import unittest\nclass T(unittest.TestCase):\n    def test_a(self): f(1)\n#" + "x" * (12 << 20)
    results = sandbox.run(ADD, *[text] * 4)
    assert [result.outcome for result in results] == [Outcome.PASS] * 4


def test_job_without_tests(sandbox: Any) -> None:
    assert sandbox.do(sandbox.pool.run(Job(ADD, ()))) == []
    assert sandbox.inspect() == []


def test_test_without_methods_is_no_pass(sandbox: Any) -> None:
    (result,) = sandbox.do(sandbox.pool.run(Job(ADD, (Test("import unittest"),))))
    assert result.outcome is Outcome.INVALID_TEST


def test_names_with_surrogates(sandbox: Any) -> None:
    text = """
        import unittest
        class T(unittest.TestCase): ...
        setattr(T, "test_\\ud800", lambda self: f(1))
        setattr(T, "test_ü\\n", lambda self: f(1))
    """
    (result,) = sandbox.run(ADD, text)
    assert result.detail == ""
    assert result.methods == {"T.test_\ud800": Outcome.PASS, "T.test_ü\n": Outcome.PASS}


def test_exception_whose_text_cannot_be_made(sandbox: Any) -> None:
    solution = """
        class Odd(Exception):
            def __str__(self):
                raise ValueError
        class Worse(Exception):
            def __str__(self):
                raise SystemExit(0)
        def f(x):
            raise Odd if x == 1 else Worse
    """
    assert sandbox.outcome(solution, "f(1)") is Outcome.ERROR
    assert sandbox.outcome(solution, "f(2)") is Outcome.ERROR


def test_exception_text_of_megabytes(sandbox: Any) -> None:
    result = sandbox.check("def f(x):\n    raise ValueError('é' * 10 ** 7)\n", BODY)
    assert result.outcome is Outcome.ERROR
    assert len(result.detail) < 1000


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": 0}, {"timeout": -1.0}, {"timeout": math.nan}, {"timeout": math.inf}, {"timeout": "2"},
        {"memory_mb": 0}, {"memory_mb": 1.5}, {"memory_mb": True}, {"processes": 0}, {"file_mb": -3},
        {"output_mb": 0}, {"scratch_mb": 0}, {"hang_limit": -1}, {"hang_limit": 0.5},
    ],
)  # fmt: skip
def test_limits_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Limits(**wrong)


def test_limits_beyond_the_machine(make_sandbox: Any) -> None:
    sandbox = make_sandbox(
        limits=Limits(timeout=1e6, memory_mb=1 << 50, processes=1 << 50, file_mb=1 << 50, output_mb=1 << 50)
    )
    assert sandbox.outcome(ADD, BODY) is Outcome.PASS


@pytest.mark.parametrize("workers", [0, -1])
def test_workers(workers: int) -> None:
    with pytest.raises(ValueError, match="workers"):
        SandboxPool(workers=workers)
