"""A jump of the wall clock (ntp, a resumed VM, an administrator) decides nothing: nobody looks at it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

import coderm_sandbox
from coderm_sandbox import Outcome

_WALL = {"time", "time_ns", "ctime", "localtime", "gmtime", "now", "utcnow", "today"}
_ROOT = Path(coderm_sandbox.__file__).parent
_MODULES = sorted(path for path in _ROOT.rglob("*.py") if "conformance" not in path.parts)


def looks_at_the_wall_clock(tree: ast.AST) -> list[str]:
    return [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in _WALL
        and isinstance(node.value, ast.Name | ast.Attribute)
        and ast.unparse(node.value).split(".")[-1] in ("time", "datetime", "date", "loop")
        and ast.unparse(node) not in ("loop.time", "datetime.time")
    ]


@pytest.mark.parametrize("path", _MODULES, ids=lambda path: str(path.relative_to(_ROOT)))
def test_no_deadline_is_kept_by_the_wall_clock(path: Path) -> None:
    assert looks_at_the_wall_clock(ast.parse(path.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    "text", ["time.time() + 1", "datetime.datetime.now()", "date.today()", "time.time_ns()"]
)
def test_the_search_finds_what_it_is_for(text: str) -> None:
    assert looks_at_the_wall_clock(ast.parse(text))


def test_a_solution_that_sees_the_clock_jump_is_judged_all_the_same(sandbox: Any) -> None:
    """For the processes of a job a jump is a change of what time.time() gives, and of nothing else."""
    jumping = """
        import time
        hours = [0, 9000, -9000, 1]
        real = time.time
        time.time = lambda: real() + 3600 * hours.pop(0)
        def f():
            return time.time()
    """
    before_after = "a, b, c = f(), f(), f()\nself.assertGreater(b, a)\nself.assertLess(c, a)"
    assert sandbox.check(jumping, before_after).outcome is Outcome.PASS
