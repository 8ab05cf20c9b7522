"""Which tests are thrown away before anything runs, from their text alone, and which have no vote. Pure.

That a text does not parse, has no test method, never mentions the function under test or repeats another
test is found in parsing, with its counters. Here come the reasons that a setting turns on or off, one counter
each, counting test classes; the first that holds counts:

- `screened_imports`: imports a module that is not there, outside any `try` that expects it to be missing
- `screened_network`: imports or calls what opens connections; the sandbox has no network
- `screened_files`: reads or writes files, or starts processes; what it would find is not part of the prompt

`reference` needs a run: see `marked_by_reference`. Names in strings, such as those given to `mock.patch`, are
no use of anything.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Collection, Iterator
from functools import lru_cache

import msgspec

from coderm_reward.config import ScreenName
from coderm_reward.source import bound_names, safe_parse
from coderm_reward.types import ExecutionMatrix, TestSuite, UnitTest, Verdict

__all__ = ["FAILS_REFERENCE", "SCREENED", "marked_by_reference", "screened", "why_screened"]

SCREENED = "screened_"
"""Prefix of the counters of this module."""
FAILS_REFERENCE = "the dataset's reference solution fails it"

_NETWORK = re.compile(
    r"(?:socket|ssl|socketserver|ftplib|smtplib|telnetlib|poplib|imaplib|nntplib|xmlrpc|requests|urllib3|httpx"
    r"|aiohttp|websockets?|paramiko|http\.(?:client|server|cookiejar)|urllib\.request"
    r"|asyncio\.(?:open_connection|start_server))(?:\..*)?"
)
_FILES = re.compile(
    r"(?:tempfile|shutil|glob|fileinput|shelve|dbm|mmap|subprocess|pty|multiprocessing\.shared_memory"
    r"|(?:io|codecs|os)\.open|io\.FileIO"
    r"|os\.(?:fdopen|popen|system|fork|remove|unlink|mkdir|makedirs|rmdir|removedirs|renames?|replace|link|symlink"
    r"|chmod|chown|truncate|listdir|scandir|walk|chdir|stat|path\.(?:exists|isfile|isdir|getsize)))(?:\..*)?"
)
_ON_DISK = re.compile(
    r"open|(?:read|write)_(?:text|bytes)|touch|mkdir|unlink|rmdir|exists|is_(?:file|dir)|iterdir"
    r"|r?glob|stat|chmod|(?:symlink|hardlink)_to"
)
"""Methods that touch the disk, in a text that imports pathlib."""


def screened(
    suite: TestSuite,
    screens: Collection[ScreenName],
    modules: Collection[str] | None,
    entry_point: str | None = None,
) -> TestSuite:
    """Return the suite without the tests that the named screens throw away, and with their counters.

    `modules` are the top-level modules that the sandbox's interpreter has; None screens no imports.
    """
    counts: Counter[str] = Counter(suite.dropped)
    kept: list[UnitTest] = []
    asked, there = frozenset(screens), None if modules is None else frozenset(modules)
    for test in suite.tests:
        reason = _why_screened(test.source, asked, there, entry_point)
        if reason is None:
            kept.append(test)
        else:
            counts[SCREENED + reason] += 1
    if len(kept) == len(suite.tests):
        return suite
    return msgspec.structs.replace(suite, tests=tuple(kept), dropped=dict(sorted(counts.items())))


def why_screened(
    source: str,
    screens: Collection[ScreenName],
    modules: Collection[str] | None,
    entry_point: str | None = None,
) -> ScreenName | None:
    """Return the first screen that throws this test away, None if it may run."""
    tree = safe_parse(source)
    if tree is None:
        return None  # parsing gives no such test; a ready one is the sandbox's to judge
    if "imports" in screens and modules is not None and any(m not in modules for m in _imported(tree)):
        return "imports"
    uses = _uses(tree, entry_point)
    if "network" in screens and any(map(_NETWORK.fullmatch, uses)):
        return "network"
    if "files" in screens and any(map(_FILES.fullmatch, uses)):
        return "files"
    return None


_why_screened = lru_cache(maxsize=4096)(why_screened)  # a suite that grows is screened again and again


def marked_by_reference(matrix: ExecutionMatrix) -> dict[str, str]:
    """Return test id -> reason, for the tests that the only rollout of `matrix`, the reference, fails.

    A class counts as a whole. What gave no verdict (UNKNOWN), or is invalid by itself, is not marked.
    """
    passing = (Verdict.PASS, Verdict.UNKNOWN, Verdict.INVALID_TEST)
    verdicts = zip(matrix.tests, matrix.class_verdicts[0], strict=True)
    return {test.id: FAILS_REFERENCE for test, verdict in verdicts if verdict not in passing}


def _imported(tree: ast.Module) -> Iterator[str]:
    """Yield the top-level modules that the text needs; "" for a relative import."""
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "" if node.level or node.module is None else node.module.split(".")[0]
        elif isinstance(node, ast.Try) and any(_expects_missing(handler) for handler in node.handlers):
            stack += [*node.handlers, *node.orelse, *node.finalbody]
        else:
            stack += ast.iter_child_nodes(node)


def _expects_missing(handler: ast.ExceptHandler) -> bool:
    caught = handler.type
    kinds = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    names = {getattr(kind, "id", "") for kind in kinds}
    return caught is None or not names.isdisjoint({"ImportError", "ModuleNotFoundError", "Exception"})


def _uses(tree: ast.Module, entry_point: str | None) -> set[str]:
    """Return the dotted names of all that the text imports or reads of modules, as in `os.path.exists`.

    A call of the builtin `open`, and of a method of files in a text that imports pathlib, gives `io.open`.
    """
    nodes = list(ast.walk(tree))
    of_name: dict[str, str] = {}
    found: set[str] = set()
    for node in nodes:
        for alias in node.names if isinstance(node, ast.Import) else ():
            found.add(alias.name)
            top = alias.name.split(".")[0]
            of_name[alias.asname or top] = alias.name if alias.asname else top
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            of_name.update(
                {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            )
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    found |= {name for node in nodes if isinstance(node, ast.Attribute) and (name := _dotted(node, of_name))}
    called = [node.func for node in nodes if isinstance(node, ast.Call)]
    own = bound_names(*tree.body) | {entry_point}
    with_pathlib = any(name.split(".")[0] == "pathlib" for name in found)
    if any(getattr(func, "id", "") == "open" for func in called) and "open" not in own:
        found.add("io.open")
    if with_pathlib and any(isinstance(f, ast.Attribute) and _ON_DISK.fullmatch(f.attr) for f in called):
        found.add("io.open")
    return found


def _dotted(node: ast.Attribute, of_name: dict[str, str]) -> str | None:
    """Return the full name of an attribute of an imported module or of what came from one; else None."""
    parts = [node.attr]
    value: ast.expr = node.value
    while isinstance(value, ast.Attribute):
        parts.append(value.attr)
        value = value.value
    if not isinstance(value, ast.Name) or value.id not in of_name:
        return None
    return ".".join([of_name[value.id], *reversed(parts)])
