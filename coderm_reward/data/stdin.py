"""Whether a program reads its input from stdin when it is run, as contest programs do. Pure."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from coderm_reward.source import FunctionNode, free_names

__all__ = ["reads_stdin"]


def reads_stdin(tree: ast.Module) -> bool:
    """Return whether module-level code reads stdin, itself or through a function or class that it names.

    The body of `if __name__ == "__main__":` counts as module level. A function that reads stdin but is
    named by nobody does not make a stdin program.
    """
    definitions = {n.name: n for n in tree.body if isinstance(n, (*FunctionNode, ast.ClassDef))}
    aliases = {
        alias.asname or alias.name
        for n in ast.walk(tree)
        if isinstance(n, ast.ImportFrom) and n.module == "sys"
        for alias in n.names
        if alias.name == "stdin"
    }
    reached: set[str] = set()
    agenda: list[ast.AST] = [n for n in tree.body if not isinstance(n, (*FunctionNode, ast.ClassDef))]
    while agenda:
        node = agenda.pop()
        if any(_reads(part, aliases) for part in ast.walk(node)):
            return True
        new = (free_names(node) & definitions.keys()) - reached
        reached |= new
        agenda += [definitions[name] for name in new]
    return False


def _reads(node: ast.AST, aliases: set[str]) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == "stdin" and isinstance(node.value, ast.Name)
    if isinstance(node, ast.Name):
        return node.id in aliases and isinstance(node.ctx, ast.Load)
    if not isinstance(node, ast.Call):
        return False
    name = ".".join(reversed(list(_dotted(node.func))))
    if name in ("input", "raw_input", "fileinput.input"):
        return True
    first = node.args[0] if node.args else None
    return name in ("open", "io.open", "os.read", "os.fdopen") and (
        isinstance(first, ast.Constant) and first.value in (0, "/dev/stdin") and first.value is not False
    )


def _dotted(node: ast.AST) -> Iterator[str]:
    """Yield the parts of a dotted name from its end; nothing for anything else."""
    while isinstance(node, ast.Attribute):
        yield node.attr
        node = node.value
    if isinstance(node, ast.Name):
        yield node.id
