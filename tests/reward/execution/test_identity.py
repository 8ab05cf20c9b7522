"""The same program in another form runs once; a program that could tell the forms apart does not."""

from __future__ import annotations

import ast
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderm_reward.execution.identity import normalised_hash, reads_source, text_hash

NAMES = st.sampled_from(["a", "b", "total", "xs", "n"])
VALUES = st.one_of(
    st.integers(0, 300), st.booleans(), st.none(), st.text("ab'\"\\\n#é", max_size=6), st.floats(0, 9)
)
OPERATORS = st.sampled_from([ast.Add(), ast.Sub(), ast.Mult(), ast.FloorDiv()])


def operations(children: st.SearchStrategy[ast.expr]) -> st.SearchStrategy[ast.expr]:
    return st.one_of(
        st.builds(ast.BinOp, left=children, op=OPERATORS, right=children),
        st.builds(
            ast.Call,
            func=st.builds(ast.Name, id=NAMES, ctx=st.just(ast.Load())),
            args=st.lists(children, max_size=2),
            keywords=st.just([]),
        ),
        st.builds(ast.List, elts=st.lists(children, max_size=3), ctx=st.just(ast.Load())),
        st.builds(ast.IfExp, test=children, body=children, orelse=children),
    )


EXPRESSIONS = st.recursive(
    st.one_of(st.builds(ast.Constant, value=VALUES), st.builds(ast.Name, id=NAMES, ctx=st.just(ast.Load()))),
    operations,
    max_leaves=8,
)


@st.composite
def programs(draw: st.DrawFn) -> str:
    """Functions of assignments, branches and a return, as `ast.unparse` writes them."""
    functions = []
    for number in range(draw(st.integers(1, 3))):
        lines = [f"def f{number}(a, b=1):"]
        if draw(st.booleans()):
            lines.append(f"    {draw(st.text('doc #', max_size=8))!r}")
        for _ in range(draw(st.integers(0, 3))):
            value = ast.unparse(draw(EXPRESSIONS))
            lines.append(f"    {draw(NAMES)} = {value}")
            if draw(st.booleans()):
                lines.append(f"    if {ast.unparse(draw(EXPRESSIONS))}:\n        pass")
        lines.append(f"    return {ast.unparse(draw(EXPRESSIONS))}")
        functions.append("\n".join(lines))
    return ast.unparse(ast.parse("\n".join(functions)))


def reformatted(source: str, rng: random.Random) -> str:
    """The same program with comments, blank lines, wide indentation, brackets and docstrings."""
    lines = []
    for line in source.split("\n"):
        body = line.lstrip(" ")
        indent = " " * 3 * (len(line) - len(body))
        if rng.random() < 0.3:
            lines.append(rng.choice(["", "# inspect the traceback", f"{indent}# help"]))
        if body.startswith("return "):
            body = f"return ({body.removeprefix('return ')}\n)"
        lines.append(indent + body + rng.choice(["", " ", "  # why __doc__"]))
        if body.startswith("def ") and rng.random() < 0.5:
            lines.append(f"{' ' * 3 * 4}'''Read __code__ or inspect it.'''")
    return "\n".join(lines) + "\n" * rng.randint(0, 3)


def outside_strings(source: str) -> bool:
    """Whether no string spans lines, so that `reformatted` may put text between them."""
    return "'''" not in source and '"""' not in source


@given(programs().filter(outside_strings), st.randoms(use_true_random=False))
def test_another_form_of_a_program_has_its_identity(source: str, rng: random.Random) -> None:
    other = reformatted(source, rng)
    assert normalised_hash(other) == normalised_hash(source)
    assert normalised_hash(ast.unparse(ast.parse(other))) == normalised_hash(source)


class Changed(ast.NodeTransformer):
    """Changes the n-th constant, name or operator that is no docstring."""

    def __init__(self, n: int) -> None:
        self.left = n
        self.done = False

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.Expr):
            return node
        if isinstance(node, (ast.Constant, ast.Name, ast.operator)) and not self.done:
            if self.left == 0:
                self.done = True
                return self._other(node)
            self.left -= 1
        return self.generic_visit(node)

    @staticmethod
    def _other(node: ast.AST) -> ast.AST:
        if isinstance(node, ast.Constant):
            return ast.Constant(value=f"{node.value!r} changed")
        if isinstance(node, ast.Name):
            return ast.Name(id=node.id + "_", ctx=node.ctx)
        return ast.Mod()


@given(programs(), st.integers(0, 30))
def test_another_constant_name_or_operator_is_another_program(source: str, n: int) -> None:
    change = Changed(n)
    other = ast.unparse(ast.fix_missing_locations(change.visit(ast.parse(source))))
    assert (normalised_hash(other) != normalised_hash(source)) == change.done


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1", "x = True"),
        ("x = 1", "x = 1.0"),
        ("x = '1'", "x = b'1'"),
        ("x = None", "x = 'None'"),
        ("def f(): return", "def f(): return 0"),
        ("x = 'a' 'b'", "x = 'a', 'b'"),
        ("def f(a, /): pass", "def f(a): pass"),
        ("a = b = 1", "b = a = 1"),
        ("if x:\n  y = 1\nz = 1", "if x:\n  y = 1\n  z = 1"),
        ("def f():\n  'one'\n  'two'\n  return 1", "def f():\n  'one'\n  return 1"),
    ],
)
def test_what_python_tells_apart_is_told_apart(one: str, other: str) -> None:
    assert normalised_hash(one) != normalised_hash(other)


OBSERVERS = {
    "its text": "import inspect\ndef f(): return inspect.getsource(f)",
    "its line": "def f(): return f.__code__.co_firstlineno",
    "a frame": "import sys\ndef f(): return sys._getframe().f_lineno",
    "a traceback": "def f():\n  try: 1/0\n  except Exception as e: return e.__traceback__.tb_lineno",
    "a warning": "import warnings\ndef f(): warnings.warn('x')",
    "a name in a string": "def f(): return getattr(f, '__code__')",
    "a name in wide letters": "def f(): return f.__c\uff4fde__",
}


@pytest.mark.parametrize("name", OBSERVERS)
def test_a_program_that_sees_its_lines_is_the_same_only_as_text(name: str) -> None:
    source = OBSERVERS[name]
    assert normalised_hash(source) == text_hash(source)
    assert normalised_hash(source) != normalised_hash("\n" + source)
    assert reads_source(source)


@pytest.mark.parametrize("reader", ["f.__doc__", "help(f)", "vars(f)", "dir(f)"])
def test_a_docstring_that_can_be_read_counts_and_formatting_still_does_not(reader: str) -> None:
    one, two, none = (f"def f():\n  {doc}pass\ng = {reader}\n" for doc in ("'one'; ", "'two'; ", ""))
    assert len({normalised_hash(source) for source in (one, two, none)}) == 3
    assert normalised_hash("# form\n" + one.replace("  ", "\t")) == normalised_hash(one)
    assert reads_source(one)


@pytest.mark.parametrize("plain", ["def f(x):\n  'Help: see inspect.'\n  return x  # __doc__", "x = 1", ""])
def test_what_only_comments_and_docstrings_mention_is_not_read(plain: str) -> None:
    assert not reads_source(plain)


def test_a_body_of_only_a_docstring_equals_pass() -> None:
    assert normalised_hash("class A:\n  'x'") == normalised_hash("class A:\n  pass")


@pytest.mark.parametrize(
    "source",
    [
        "def (",
        "x\x00",
        "'\ud800",
        "(" * 10_000,
        "-" * 40_000 + "1",
        "x = 0x" + "f" * 10_000,
        "x = 1\n" * 10_000,
    ],
    ids=["syntax", "null byte", "surrogate", "brackets", "deep", "giant integer", "long"],
)
def test_what_has_no_syntax_tree_is_the_same_only_as_text(source: str) -> None:
    assert normalised_hash(source) == text_hash(source)
    assert reads_source(source)


@given(st.text())
def test_no_text_raises(text: str) -> None:
    assert len(normalised_hash(text)) == 32
    reads_source(text)
