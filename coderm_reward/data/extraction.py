"""From a policy's response to the code that is graded. Pure: nothing is executed, no text makes it raise.

Which piece of a response is its code, first match wins; within a class the last piece counts, because
models correct themselves downwards:

1. a complete fenced block that defines the entry point (also as a method of `class Solution`),
2. an unclosed fenced block that parses and defines it,
3. a complete fenced block that parses and defines a function or class other than a test,
4. an unclosed fenced block that defines the entry point or begins a definition,
5. without such fences the same on bare code, where the longest run of lines beats the last,
6. a script: fenced code that defines nothing, or a bare program that reads stdin.

Code in a Python fence, or in a fence or bare line that begins a definition, is the rollout's code even if
it does not parse: it fails. Prose, REPL sessions and lone names or numbers are never code.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence

import msgspec

from coderm_reward.bare_code import Block, bare_blocks
from coderm_reward.data.helpers import definitions_in, with_definitions, with_promised_names
from coderm_reward.data.stdin import reads_stdin
from coderm_reward.fences import fenced_blocks
from coderm_reward.source import FunctionNode, bound_names, safe_parse
from coderm_reward.text import answer_text
from coderm_reward.types import CodeStatus, Solution

__all__ = ["extract_solution"]


def extract_solution(
    text: str, entry_point: str | None, *, wants_function: bool, context: str = ""
) -> Solution:
    """Return the code of one response, its status and identity.

    `entry_point` is the function under test where known (`Solution().f` means `f`); `context` is the
    problem's question. Where the chosen piece uses names that only earlier pieces define, these definitions
    are put in front of it, and then those that its problem promises (see coderm_reward.data.helpers). A
    method of `class Solution` gets a module-level function of its name that calls it on a fresh instance.

    A program that reads stdin and defines no entry point is UNSUPPORTED_FORMAT, which earns the neutral
    reward, only while nobody asked for a function. With `wants_function` (dataset, prompt or starter code
    name one) it is WRONG_FORMAT, a wrong answer that keeps its code and is never run. Otherwise a policy
    could choose the neutral reward over a bad one by answering in the wrong format.
    """
    entry_point = _last_part(entry_point)
    answer = answer_text(text)
    piece = _choose(answer, entry_point)
    if piece is None:
        return Solution(CodeStatus.NO_CODE)
    code = piece.strip("\n").rstrip()
    tree = safe_parse(code)
    if tree is None:
        return Solution(CodeStatus.OK, code)
    defines_entry = entry_point is not None and _defines(tree, entry_point)
    if not defines_entry and reads_stdin(tree):
        if not wants_function:
            return Solution(CodeStatus.UNSUPPORTED_FORMAT)
        return Solution(CodeStatus.WRONG_FORMAT, code)
    own = {entry_point} if entry_point else set()
    code = with_promised_names(code, tree, context, own) + _shim(tree, entry_point)
    return Solution(CodeStatus.OK, code)


def _last_part(entry_point: str | None) -> str | None:
    name = (entry_point or "").strip().removesuffix("()").rpartition(".")[2]
    return name if name.isidentifier() else None


class _Piece(msgspec.Struct, frozen=True):
    """A candidate for the code of a response."""

    block: Block
    tree: ast.Module | None
    defined: frozenset[str]
    """Functions, classes and methods of `class Solution` that it defines, tests apart."""
    assigned: frozenset[str]
    """Other module-level names that it assigns."""


def _choose(answer: str, entry_point: str | None) -> str | None:
    """Return the source of the piece that counts, helpers in front of it included; None without code."""
    is_program = safe_parse(answer) is not None  # then fences in it stand in its strings
    fenced = [] if is_program else [_piece(block) for block in fenced_blocks(answer)]
    fenced = [p for p in fenced if p.block.language in ("", "python") or p.tree is not None]
    if chosen := _best_fenced(fenced, entry_point):
        return _with_helpers(chosen, fenced)
    bare = [_piece(block) for block in bare_blocks(answer)]
    if chosen := _best_bare(bare, entry_point):
        return _with_helpers(chosen, bare)
    scripts = [p for p in fenced if _is_script(p)] or [p for p in bare if _reads_stdin(p)]
    script = _last(scripts, _reads_stdin) or _last(scripts)
    return script.block.code if script else None


def _best_fenced(pieces: Sequence[_Piece], entry_point: str | None) -> _Piece | None:
    return (
        _last(pieces, lambda p: p.block.closed and entry_point in p.defined)
        or _last(pieces, lambda p: p.tree is not None and entry_point in p.defined)
        or _last(pieces, lambda p: p.block.closed and entry_point in p.assigned)
        or _last(pieces, lambda p: p.block.closed and p.tree is not None and bool(p.defined))
        or _last(pieces, lambda p: entry_point in p.defined)
        or _last(pieces, lambda p: bool(p.defined))
    )


def _best_bare(pieces: Sequence[_Piece], entry_point: str | None) -> _Piece | None:
    whole = [p for p in pieces if p.tree is not None and p.defined]
    return (
        _last(pieces, lambda p: p.tree is not None and entry_point in p.defined | p.assigned)
        or _last(pieces, lambda p: entry_point in p.defined)
        or max(whole, key=lambda p: len(p.block.code), default=None)
        or _last(pieces, lambda p: bool(p.defined))
    )


def _last(pieces: Sequence[_Piece], wanted: Callable[[_Piece], bool] = lambda p: True) -> _Piece | None:
    return next((p for p in reversed(pieces) if wanted(p)), None)


_DEFINITION = re.compile(
    r"^(?:[ \t]{4}|\t)?(?:async[ \t]+)?(?:def|class)[ \t]+(\w+)[ \t]*[(:\[]", re.MULTILINE
)
_STATEMENT = re.compile(
    r"^[ \t]*(?:import[ \t]+\w|from[ \t]+[\w.]+[ \t]+import\b|@\w"
    r"|(?:if|for|while|with|try|else)\b.*:[ \t]*(?:#.*)?$"
    r"|[A-Za-z_][\w.\[\]]*[ \t]*[-+*/|&]?=[^=]|[A-Za-z_][\w.]*\()",
    re.MULTILINE,
)


def _piece(block: Block) -> _Piece:
    tree = safe_parse(block.code)
    assigned: set[str] = set()
    if tree is None:
        defined = {name for name in _DEFINITION.findall(block.code) if not name.lower().startswith("test")}
    else:
        assigns = [n for n in tree.body if isinstance(n, (ast.Assign, ast.AnnAssign))]
        lambdas = [n for n in assigns if isinstance(n.value, ast.Lambda)]
        definitions = [
            n for n in tree.body if isinstance(n, (*FunctionNode, ast.ClassDef)) and not _is_test(n)
        ]
        defined = {n.name for n in definitions} | bound_names(*lambdas) | _methods(tree).keys()
        assigned = bound_names(*assigns)
    return _Piece(block, tree, frozenset(defined), frozenset(assigned - defined))


def _is_test(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    bases = node.bases if isinstance(node, ast.ClassDef) else []
    names = [node.name, *(getattr(base, "attr", getattr(base, "id", "")) for base in bases)]
    return any(name.startswith(("test_", "Test")) or name.endswith("TestCase") for name in names)


def _is_script(piece: _Piece) -> bool:
    """Whether fenced text that defines nothing is code all the same; a lone name or literal is not."""
    if piece.tree is None:
        return piece.block.language == "python" and _STATEMENT.search(piece.block.code) is not None
    does = any(
        not isinstance(n, ast.Expr) or any(isinstance(sub, ast.Call) for sub in ast.walk(n))
        for n in piece.tree.body
    )
    return does and (piece.block.language == "python" or reads_stdin(piece.tree))


def _reads_stdin(piece: _Piece) -> bool:
    return piece.tree is not None and reads_stdin(piece.tree)


def _defines(tree: ast.Module, name: str) -> bool:
    return name in bound_names(*tree.body) or name in _methods(tree)


def _methods(tree: ast.Module) -> dict[str, ast.AST]:
    """Return the public methods of a top-level `class Solution`."""
    solution = next((n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Solution"), None)
    body = solution.body if solution else []
    return {n.name: n for n in body if isinstance(n, FunctionNode) and not n.name.startswith("_")}


def _shim(tree: ast.Module, entry_point: str | None) -> str:
    """Return the function that stands for a method of `class Solution`; empty where none is needed."""
    methods = _methods(tree)
    name = next(iter(methods)) if entry_point is None and len(methods) == 1 else entry_point
    if name not in methods or name in bound_names(*tree.body):
        return ""
    return f"\n\n\ndef {name}(*args, **kwargs):\n    return Solution().{name}(*args, **kwargs)"


def _with_helpers(chosen: _Piece, pool: Sequence[_Piece]) -> str:
    """Put definitions that only earlier pieces have in front of the chosen piece, in their order."""
    if chosen.tree is None:
        return chosen.block.code
    earlier = pool[: next(i for i, p in enumerate(pool) if p is chosen)]
    known = definitions_in([(p.block.code, p.tree) for p in earlier if p.tree is not None])
    return with_definitions(chosen.block.code, chosen.tree, known)
