"""Inline judging, made to show its forgeries: copies of a test that must fail and that must pass.

A test whose text cannot be run apart from the solution shares a process with it. Each of its methods
is given one more assertion, over two numbers, in three copies: in one the numbers agree (the
test itself), in one they do not (every method must not pass), and in one only they are compared (every
method must pass). The copies run in random order, each in a process of its own.
"""

from __future__ import annotations

import ast
import random
from typing import Any

from .channel import WireError

__all__ = ["GENUINE", "MUST_FAIL", "MUST_PASS", "VARIANTS", "fixture", "forged", "marked", "outcome", "text"]

GENUINE, MUST_FAIL, MUST_PASS = "genuine", "must fail", "must pass"
VARIANTS = (GENUINE, MUST_FAIL, MUST_PASS)
_OUTCOMES = ("pass", "fail", "error", "memory", "output")
_FIXTURES = ("error", "memory", "tampered")
_number = random.SystemRandom().randrange


class _Marker(ast.NodeTransformer):
    """Puts the assertion into every test method of a class."""

    def __init__(self, variant: str) -> None:
        self._variant = variant
        self.marked: set[str] = set()

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        for item in node.body:
            if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) and item.name.startswith("test"):
                self._mark(item)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        return node

    def _mark(self, method: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        expects_failure = any("expectedFailure" in ast.dump(one) for one in method.decorator_list)
        if not method.args.args or expects_failure:
            return
        self.marked.add(method.name)
        first = _number(1 << 30)
        second = first if self._variant != MUST_FAIL else first + 1 + _number(1 << 20)
        compare = ast.parse(f"{method.args.args[0].arg}.assertEqual({first}, {second})").body
        if self._variant == MUST_PASS:
            method.body = list(compare)
        else:  # `finally`, so that a method that returns early meets it too
            method.body = [ast.Try(body=method.body, handlers=[], orelse=[], finalbody=list(compare))]


def text(source: str, variant: str) -> str:
    """The copy of a test text."""
    return ast.unparse(ast.fix_missing_locations(_Marker(variant).visit(ast.parse(source))))


def marked(source: str) -> set[str]:
    """Names of the methods that the copies differ in; what a text makes at run time is not among them."""
    marker = _Marker(GENUINE)
    marker.visit(ast.parse(source))
    return marker.marked


def outcome(message: list[Any], expected: list[str]) -> tuple[str, str]:
    """Outcome and detail of a method, from the player's message. Raises WireError out of turn."""
    _, name, found, detail = message if len(message) == 4 else (None,) * 4
    if [name] != expected or found not in _OUTCOMES or type(detail) is not str:
        raise WireError("sent a verdict out of turn")
    return found, detail


def fixture(message: list[Any]) -> tuple[str, str] | None:
    """What happened outside the methods, from the player's last message."""
    if len(message) != 2:
        raise WireError("sent a malformed verdict")
    found = message[1]
    if found is None:
        return None
    if not (type(found) is list and len(found) == 2 and found[0] in _FIXTURES and type(found[1]) is str):
        raise WireError("sent a malformed verdict")
    return found[0], found[1]


def forged(
    keys: list[str], found: dict[str, list[tuple[str, str]]], marked: set[str]
) -> tuple[str, str] | None:
    """What the copies say of the verdicts of the test itself."""
    for position, (verdict, _) in enumerate(found[GENUINE]):
        if keys[position].partition(".")[2] not in marked:
            continue
        bad = found[MUST_FAIL][position : position + 1]
        good = found[MUST_PASS][position : position + 1]
        if verdict == "pass" and bad and bad[0][0] == "pass":
            return "tampered", "a test that must fail passed"
        if verdict == "pass" and not (good and good[0][0] == "pass"):
            return "tampered", "a test that must pass did not"
    return None
