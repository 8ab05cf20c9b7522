"""Names that a rollout's code reads and does not define: where their definitions are found. Pure.

A rollout is graded for what it wrote, in the surroundings that its problem promised. A question that starts
with `from typing import List`, or that gives a helper, promises these to an answer that is only the
function; LeetCode promises its answers (`class Solution`) that the usual standard library is imported. Names
are put in front of the code, so whatever the code binds itself wins.
"""

from __future__ import annotations

import ast
import builtins
import functools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec

from coderm_reward.bare_code import Block, bare_blocks
from coderm_reward.data.entry_points import is_stub
from coderm_reward.fences import fenced_blocks
from coderm_reward.source import FunctionNode, bound_names, free_names, safe_parse

__all__ = ["Definition", "definitions_in", "missing_names", "with_definitions", "with_promised_names"]


class Definition(msgspec.Struct, frozen=True):
    """A statement that defines a name."""

    order: int
    text: str
    needs: frozenset[str]


def definitions_in(sources: Sequence[tuple[str, ast.Module]]) -> dict[str, Definition]:
    """Return the last definition of each module-level name in these texts, with their parsed forms."""
    statements = ((node, code.split("\n")) for code, tree in sources for node in tree.body)
    return {
        name: Definition(order, _text(node, lines), frozenset(free_names(node)))
        for order, (node, lines) in enumerate(statements)
        for name in bound_names(node)
    }


def missing_names(tree: ast.Module) -> set[str]:
    """Return the names that a module reads and neither defines nor finds among the builtins."""
    return free_names(*tree.body) - bound_names(*tree.body) - set(dir(builtins))


def with_definitions(code: str, tree: ast.Module, known: Mapping[str, Definition]) -> str:
    """Put those definitions in front of the code that it misses, and what they miss, in their order."""
    have = bound_names(*tree.body) | set(dir(builtins))
    missing = list(missing_names(tree))
    parts: dict[int, list[str]] = {}
    while missing:
        name = missing.pop()
        if name in have or name not in known:
            continue
        have.add(name)
        found = known[name]
        texts = parts.setdefault(found.order, [])
        if found.text not in texts:
            texts.append(found.text)
        missing += found.needs - have
    return _in_front([text for order in sorted(parts) for text in sorted(parts[order])], code, tree)


def with_promised_names(code: str, tree: ast.Module, question: str, own: Collection[str]) -> str:
    """Return the code with what its problem promises and it does not define itself.

    First imports and complete definitions in the question's code; none of a name in `own`, which the
    rollout had to write. Then names of `typing`, which signatures in starter code use unimported; and, for
    an answer with a `class Solution`, what LeetCode imports for its answers.
    """
    if not missing_names(tree):
        return code
    known = {name: d for name, d in _question_definitions(question).items() if name not in own}
    code = with_definitions(code, tree, known)
    tree = safe_parse(code) or tree
    is_method = any(isinstance(n, ast.ClassDef) and n.name == "Solution" for n in tree.body)
    usual = {**_LEETCODE, **_TYPING} if is_method else _TYPING
    lines = sorted(usual[name] for name in missing_names(tree) & usual.keys())
    return _in_front(["\n".join(lines)] if lines else [], code, tree)


def _text(node: ast.stmt, lines: Sequence[str]) -> str:
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
    return "\n".join(lines[first - 1 : node.end_lineno])


def _in_front(parts: Sequence[str], code: str, tree: ast.Module) -> str:
    """Put statements in front of the code, but behind its `from __future__` imports, which must be first."""
    if not parts:
        return code
    future = [n for n in tree.body if isinstance(n, ast.ImportFrom) and n.module == "__future__"]
    lines = code.split("\n")
    end = max((n.end_lineno or 0 for n in future), default=0)
    head = ["\n".join(lines[:end])] if end else []
    return "\n\n".join([*head, *parts, "\n".join(lines[end:]).lstrip("\n")])


@functools.lru_cache(maxsize=64)
def _question_definitions(question: str) -> Mapping[str, Definition]:
    """Return what a question's code, fenced or bare, gives to answers: by name, to be read only."""
    question = question.replace("\r\n", "\n").replace("\r", "\n")
    fenced = [b for b in fenced_blocks(question) if b.language in ("", "python")]
    return _given_by(fenced) or _given_by(bare_blocks(question))


def _given_by(blocks: Sequence[Block]) -> dict[str, Definition]:
    known: dict[str, Definition] = {}
    order = 0
    for block in blocks:
        for code in (block.code, *_commented_classes(block.code)):
            tree = _parsed_starter(code)
            lines = code.split("\n")
            for node in tree.body if tree else []:
                for name, text in _given(node, lines):
                    known[name] = Definition(order, text, frozenset(free_names(node)))
                order += 1
    return known


def _given(node: ast.stmt, lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the names that a statement of a question gives to answers, each with its text.

    These are imports, complete functions and classes, and constants. Other assignments belong to examples.
    """
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.asname or alias.name.split(".")[0], ast.unparse(ast.Import([alias]))
    elif isinstance(node, ast.ImportFrom) and not node.level and node.module != "__future__":
        for alias in node.names:
            if alias.name == "*":
                names = {**_LEETCODE, **_TYPING}.items()
                prefix = f"from {node.module} import "
                yield from ((name, line) for name, line in names if line.startswith(prefix))
            else:
                yield alias.asname or alias.name, ast.unparse(ast.ImportFrom(node.module, [alias], 0))
    elif isinstance(node, (*FunctionNode, ast.ClassDef)):
        parts = node.body if isinstance(node, ast.ClassDef) else [node]
        functions = [n for n in parts if isinstance(n, FunctionNode)]
        if node.name != "Solution" and not (functions and all(is_stub(n) for n in functions)):
            yield node.name, _text(node, lines)
    elif isinstance(node, ast.Assign) and not free_names(node) & {"input", "open", "sys"}:
        targets = [target.id for target in node.targets if isinstance(target, ast.Name)]
        yield from ((name, _text(node, lines)) for name in targets if name.isupper())


_COMMENTED_CLASS = re.compile(r"^#[ ]?class [^\n]*(?:\n#[^\n]*)+", re.MULTILINE)


def _commented_classes(code: str) -> Iterator[str]:
    """Yield the classes that starter code describes in comments, as LeetCode does with its nodes."""
    for found in _COMMENTED_CLASS.finditer(code):
        lines = found[0].split("\n")
        indent = "# " if lines[0].startswith("# ") else "#"
        yield "\n".join(line.removeprefix(indent) for line in lines)


def _parsed_starter(code: str) -> ast.Module | None:
    """Parse starter code; a signature at its end that has no body yet is left out."""
    tree = safe_parse(code)
    if tree is None and (tree := safe_parse(code.rstrip() + " pass")) is not None:
        tree.body.pop()
    return tree


_TYPING_NAMES = """
Any AnyStr AsyncGenerator AsyncIterable AsyncIterator Awaitable Callable ClassVar Collection Container
Coroutine DefaultDict Deque Dict Final FrozenSet Generator Generic Hashable Iterable Iterator List Literal
Mapping MutableMapping MutableSequence MutableSet NamedTuple NewType NoReturn Optional Protocol Reversible
Sequence Set Sized SupportsFloat SupportsInt Tuple Type TypeVar TypedDict Union
"""
"""Those of every supported Python, so that ids do not depend on this one, and not of `collections` too."""
_TYPING = {name: f"from typing import {name}" for name in _TYPING_NAMES.split()}

_LEETCODE_NAMES = {
    "bisect": "bisect_left bisect_right insort insort_left insort_right",
    "collections": "ChainMap Counter OrderedDict defaultdict deque namedtuple",
    "functools": "cache cmp_to_key lru_cache partial reduce",
    "heapq": "heapify heappop heappush heappushpop heapreplace merge nlargest nsmallest",
    "itertools": "accumulate chain combinations combinations_with_replacement compress count cycle dropwhile "
    "groupby islice pairwise permutations product repeat starmap takewhile tee zip_longest",
    "math": "ceil comb cos dist e exp factorial fabs floor gcd hypot inf isqrt lcm log log10 log2 nan perm "
    "pi prod sin sqrt tan trunc",
    "operator": "add and_ itemgetter mul or_ xor",
    "random": "choice choices randint randrange sample shuffle uniform",
    "string": "ascii_letters ascii_lowercase ascii_uppercase digits punctuation",
}
_LEETCODE_MODULES = "bisect collections functools heapq itertools math operator random re string sys typing"
_LEETCODE = {
    **{name: f"import {name}" for name in _LEETCODE_MODULES.split()},
    **{
        name: f"from {module} import {name}"
        for module, names in _LEETCODE_NAMES.items()
        for name in names.split()
    },
}
