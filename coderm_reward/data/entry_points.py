"""The name of the function under test, where the dataset does not give it. Pure; None rather than a guess."""

from __future__ import annotations

import ast
import builtins
import keyword
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from coderm_reward.bare_code import bare_blocks
from coderm_reward.fences import fenced_blocks
from coderm_reward.source import FunctionNode, likely_entry_point, safe_parse
from coderm_reward.text import prompt_key
from coderm_reward.types import UnitTest

__all__ = ["entry_point_from_prompt", "entry_point_from_tests", "is_stub"]


def entry_point_from_prompt(question: str) -> str | None:
    """Return the function that a question asks for; None where it names none, or several.

    In this order: the starter code (the last stub, which is where HumanEval puts it, or the one public
    method of `class Solution`), the one function that example assertions call, and phrases such as
    "write a function `name(...)`" or "a function named name".
    """
    question = question.replace("\r\n", "\n")
    blocks = [b for b in fenced_blocks(question) if b.language in ("", "python")] or bare_blocks(question)
    return (
        _from_starter([block.code for block in blocks])
        or _from_assertions(question)
        or _only(_from_phrases(prompt_key(question)))
    )


def entry_point_from_tests(tests: Sequence[UnitTest]) -> str | None:
    """Return the name that most tests call and none of them defines or imports; None where there is none."""
    return likely_entry_point(tree for test in tests if (tree := safe_parse(test.source)) is not None)


_DEF = re.compile(r"^([ \t]*)(?:async[ \t]+)?def[ \t]+([A-Za-z_]\w*)[ \t]*\(", re.MULTILINE)
_SOLUTION = re.compile(r"^class[ \t]+Solution\b", re.MULTILINE)
_NEXT_TOP_LEVEL = re.compile(r"^[^\s#)\]}]", re.MULTILINE)
_ASSERT = re.compile(r"^[ \t>]*assert\b(.*)$", re.MULTILINE)
_CALL = re.compile(r"(?<![\w.])([A-Za-z_]\w*)[ \t]*\(")
_NAME = r"(?:def )?([A-Za-z_]\w*)"
_PHRASES = [
    re.compile(pattern)
    for pattern in (
        rf"\b(?:[Ff]unction|[Mm]ethod) (?:called |named )?[`'\"]+{_NAME}",
        rf"`{_NAME}(?:\([^`]{{0,200}})?` (?:function|method)\b",
        r"\b(?:[Ww]rite|[Ii]mplement|[Cc]omplete|[Cc]reate|[Dd]efine|[Dd]esign) "
        rf"(?:(?:an?|the|your|[Pp]ython|function|method) )*[`'\"]*{_NAME}\(",
        rf"\b(?:[Ff]unction|[Mm]ethod) (?:called |named )?{_NAME}\(",
        r"\b(?:[Ff]unction|[Mm]ethod) called ([A-Za-z]\w*_\w+|[a-z]+[A-Z]\w*)\b",
        rf"\b(?:[Ff]unction|[Mm]ethod) named {_NAME}\b",
        rf"\b[Ff]unction (?:name|signature)(?: is| should be| must be)?:? [`'\"]*{_NAME}",
    )
]
_NO_NAMES = {
    "a",
    "after",
    "an",
    "any",
    "as",
    "by",
    "for",
    "function",
    "in",
    "it",
    "method",
    "of",
    "the",
    "this",
}
_NO_NAMES |= {
    "according",
    "accordingly",
    "appropriately",
    "based",
    "below",
    "program",
    "that",
    "which",
    "your",
    "def",
}


def _from_starter(codes: Iterable[str]) -> str | None:
    """Return the last stub of the pieces of code, else the only function that they define."""
    stubs: list[str] = []
    functions: list[str] = []
    for code in codes:
        tree = safe_parse(code)
        if tree is None:
            found = _from_unparsable(code)
            stubs += found
            functions += found
            continue
        for name, node in _functions(tree):
            functions.append(name)
            if is_stub(node):
                stubs.append(name)
    return stubs[-1] if stubs else _only(functions)


def _functions(tree: ast.Module) -> list[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Return the top-level functions, and the method of `class Solution` where it has just one."""
    found = []
    for node in tree.body:
        if isinstance(node, FunctionNode):
            found.append((node.name, node))
        elif isinstance(node, ast.ClassDef) and node.name == "Solution":
            methods = [n for n in node.body if isinstance(n, FunctionNode) and not n.name.startswith("_")]
            found += [(m.name, m) for m in methods if len(methods) == 1]
    return found


def is_stub(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a function has no body yet: docstring, `pass`, `...` or raising NotImplementedError."""

    def empty(n: ast.stmt) -> bool:
        raised = n.exc if isinstance(n, ast.Raise) else None
        raised = raised.func if isinstance(raised, ast.Call) else raised
        return (
            isinstance(n, ast.Pass)
            or (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))
            or (isinstance(raised, ast.Name) and raised.id == "NotImplementedError")
        )

    return all(empty(n) for n in node.body)


def _from_unparsable(code: str) -> list[str]:
    """Return the stubs of starter code that does not parse: without a body, say."""
    solution = _SOLUTION.search(code)
    if solution:
        end = _NEXT_TOP_LEVEL.search(code, solution.end())
        methods = [
            m[2] for m in _DEF.finditer(code, solution.end(), end.start() if end else len(code)) if m[1]
        ]
        public = {name for name in methods if not name.startswith("_")}
        return list(public) if len(public) == 1 else []
    return [m[2] for m in _DEF.finditer(code) if not m[1]][-1:]


def _from_assertions(question: str) -> str | None:
    """Return the one function outside the builtins that the question's example assertions call."""
    first = []
    for assertion in _ASSERT.finditer(question):
        calls = [name for name in _CALL.findall(assertion[1]) if _is_name(name)]
        first += calls[:1]
    return _only(first)


def _from_phrases(words: str) -> list[str]:
    names = (m[1] for phrase in _PHRASES for m in phrase.finditer(words))
    return [name for name in names if _is_name(name)]


def _is_name(name: str) -> bool:
    return not (keyword.iskeyword(name) or hasattr(builtins, name) or name.lower() in _NO_NAMES)


def _only(names: Sequence[str]) -> str | None:
    return names[0] if len(Counter(names)) == 1 else None
