"""Texts of tests, as datasets hold them, as Python files with unittest or pytest tests. Pure; runs nothing.

A text with test classes or test functions stays as it is. Assertions that stand alone become one test method
each. Any other text (a `check(candidate)`, assertions between assignments and calls) is one method that does
what the text does, in its order, so that nothing of it can be lost or judged without what came before.
"""

from __future__ import annotations

import ast
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from coderm_reward.data.helpers import with_promised_names
from coderm_reward.data.truth_cases import LOOKUP, VOTES_PER_CLASS
from coderm_reward.fences import fenced_blocks
from coderm_reward.source import MAX_SOURCE_CHARS, FunctionNode, free_calls, free_names, safe_parse

__all__ = ["check_function", "is_test_text", "test_sources", "with_promises"]


def test_sources(
    texts: Sequence[str], setup: str, function: str | None, dropped: Counter[str]
) -> tuple[str, ...]:
    """Return Python files with the tests of these texts, each of which `setup` goes before.

    Texts that are assertions alone are put together; every other one is a program of its own. Texts without
    any test give nothing; what does not parse counts as `does_not_parse`, what is too long as `too_large`.
    `function` is what a `check(candidate)` is called with.
    """
    if setup and safe_parse(setup) is None:
        dropped["bad_setup"] += 1
        setup = ""
    alone: list[ast.Module] = []
    others: list[str] = []
    for text in texts:
        tree, text = _parsed(text, dropped)
        if tree is None or not is_test_text(tree):
            continue
        if not setup and _is_assertions(tree):
            alone.append(tree)
        elif source := _whole(f"{setup}\n\n{text}" if setup else text, function, dropped):
            others.append(source)
    return (*_merged(alone, dropped), *others)


test_sources.__test__ = False  # type: ignore[attr-defined]  # not a pytest function


def with_promises(source: str, question: str, function: str | None) -> str:
    """Return a test with the imports and helper functions that it reads and its question gives.

    Never with a class, which may be what has to be completed, nor where the function under test is unknown.
    """
    tree = safe_parse(source)
    if tree is None or function is None:
        return source
    found = with_promised_names(source, tree, question, {function, "Solution"})
    classes = [
        sum(isinstance(node, ast.ClassDef) for node in getattr(safe_parse(text), "body", []))
        for text in (source, found)
    ]
    return found if classes[0] == classes[1] else source


def is_test_text(tree: ast.Module) -> bool:
    """Whether a parsed text asserts anything, in whatever style."""
    return any(_asserts(node) for node in tree.body)


def _asserts(node: ast.stmt) -> bool:
    for part in ast.walk(node):
        if isinstance(part, (ast.Assert, ast.Raise)):
            return True
        called = getattr(part, "func", None)
        name = getattr(called, "attr", getattr(called, "id", ""))
        if isinstance(name, str) and name.startswith(("assert", "raises", "fail")):
            return True
    return False


def _asserts_when_run(tree: ast.Module, function: str | None) -> bool:
    """Whether what runs at module level asserts, itself or in a definition of the text that it names.

    The function under test does not count: a right solution with an example call is no test.
    """
    definitions = {
        n.name: n
        for n in tree.body
        if isinstance(n, (*FunctionNode, ast.ClassDef)) and n.name not in (function, "Solution")
    }
    agenda: list[ast.stmt] = [n for n in tree.body if not isinstance(n, (*FunctionNode, ast.ClassDef))]
    while agenda:
        node = agenda.pop()
        if _asserts(node):
            return True
        agenda += [definitions.pop(name) for name in free_names(node) & definitions.keys()]
    return False


def check_function(tree: ast.Module) -> str | None:
    """Return the name of a function that takes the candidate, as HumanEval's `check` does; else None."""
    takers = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and len(node.args.args) == 1
        and (node.name == "check" or node.args.args[0].arg == "candidate")
    ]
    return takers[-1] if takers else None


def _parsed(text: str, dropped: Counter[str]) -> tuple[ast.Module | None, str]:
    """Parse a text, or the fenced code in it."""
    if len(text) > MAX_SOURCE_CHARS:
        dropped["too_large"] += 1
        return None, text
    text = text.replace("\r\n", "\n")
    tree = safe_parse(text) or safe_parse(textwrap.dedent(text).strip())
    if tree is not None:
        return tree, text if safe_parse(text) is not None else textwrap.dedent(text).strip()
    blocks = [block.code for block in fenced_blocks(text) if block.language in ("", "python")]
    code = "\n\n".join(blocks)
    tree = safe_parse(code) if blocks else None
    dropped["does_not_parse"] += tree is None
    return tree, code


def _is_assertions(tree: ast.Module) -> bool:
    """Whether a text is nothing but imports and assertions, which do not depend on each other."""
    return all(isinstance(node, (ast.Assert, ast.Import, ast.ImportFrom)) for node in tree.body)


def _merged(trees: Iterable[ast.Module], dropped: Counter[str]) -> Iterator[str]:
    """Yield files with a few of these assertions each, and with all that their texts import."""
    imports: list[str] = []
    checks: list[str] = []
    for node in (node for tree in trees for node in tree.body):
        try:
            (checks if isinstance(node, ast.Assert) else imports).append(ast.unparse(node))
        except (RecursionError, ValueError):  # too deep, or an integer of more digits than Python prints
            dropped["does_not_parse"] += 1
    future = [line for line in imports if line.startswith("from __future__")]
    head = list(dict.fromkeys([*future, *imports]))
    for start in range(0, len(checks), VOTES_PER_CLASS):
        yield "\n".join([*head, *checks[start : start + VOTES_PER_CLASS]]) + "\n"


def _has_tests(tree: ast.Module) -> bool:
    """Whether unittest or pytest would find tests in a text, by their names."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and any(
            isinstance(part, FunctionNode) and part.name.startswith("test") for part in node.body
        ):
            return True
        if isinstance(node, FunctionNode) and node.name.startswith("test"):
            return True
    return False


def _whole(source: str, function: str | None, dropped: Counter[str]) -> str | None:
    """Return the file of one text; None where it cannot be run."""
    tree = safe_parse(source)
    if tree is None:
        dropped["too_large"] += 1
        return None
    if _has_tests(tree):
        return source
    taker = check_function(tree)
    calls = any(isinstance(n, ast.Call) and getattr(n.func, "id", "") == taker for n in ast.walk(tree))
    lookup: list[ast.stmt] = []
    if taker and not calls:
        if function is None:
            dropped["no_entry_point"] += 1
            return None
        tree.body += ast.parse(f"{taker}(_coderm_function())").body
        lookup = ast.parse(LOOKUP.format(function=function)).body
    if not _asserts_when_run(tree, function) or (function is None and not free_calls(tree)):
        return None
    if any(isinstance(node, ast.Global) for node in ast.walk(tree)):
        dropped["global"] += 1
        return None
    return _one_method(tree, lookup, dropped)


def _one_method(tree: ast.Module, lookup: Sequence[ast.stmt], dropped: Counter[str]) -> str | None:
    """Return a class whose one method is the text; imports stay outside it, where `*` is allowed."""
    imports = [n for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom))]
    body = [n for n in tree.body if n not in imports]
    shell = ast.parse(
        "import unittest\nclass TestWhole(unittest.TestCase):\n    def test_whole(self):\n        pass"
    )
    case = shell.body[1]
    assert isinstance(case, ast.ClassDef)
    method = case.body[0]
    assert isinstance(method, ast.FunctionDef)
    method.body = body
    future = [n for n in imports if isinstance(n, ast.ImportFrom) and n.module == "__future__"]
    rest = [n for n in imports if n not in future]
    shell.body = [*future, shell.body[0], *rest, *lookup, case]
    try:
        return ast.unparse(ast.fix_missing_locations(shell)) + "\n"
    except (RecursionError, ValueError):
        dropped["does_not_parse"] += 1
        return None
