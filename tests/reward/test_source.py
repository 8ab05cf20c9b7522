"""Identity of programs up to formatting, comments and docstrings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderm_reward.source import MAX_SOURCE_CHARS, normalised_id, safe_parse

BASE = "def f(a):\n    return a + 1\n"


@pytest.mark.parametrize(
    "same",
    [
        "def f(a):\n\n\treturn (a + 1)  # one more\n",
        "def f(a):\n    'Add one.'\n    return a + 1\n",
        "'''A module.'''\ndef f(a): return a+1",
    ],
)
def test_form_does_not_matter(same: str) -> None:
    assert normalised_id(same) == normalised_id(BASE)


@pytest.mark.parametrize(
    "other",
    ["def f(b):\n    return b + 1\n", "def f(a):\n    return a + 2\n", "def f(a):\n    return a + 1.0\n"],
)
def test_substance_does(other: str) -> None:
    assert normalised_id(other) != normalised_id(BASE)


def test_a_docstring_that_is_read_is_substance() -> None:
    one, two = (f"def f():\n    {text!r}\n    return f.__doc__\n" for text in ("one", "two"))
    assert normalised_id(one) != normalised_id(two)


def test_a_body_of_only_a_docstring_equals_pass() -> None:
    assert normalised_id("def f():\n    'x'\n") == normalised_id("def f():\n    pass\n")


@pytest.mark.parametrize(
    "text",
    [
        "def (",
        "x\x00",
        "'\ud800'",
        "(" * 10_000,
        "-" * 100_000 + "1",
        "a" + ".b" * 50_000,
        "x" * (MAX_SOURCE_CHARS + 1),
    ],
    ids=["syntax", "null byte", "surrogate", "parentheses", "minus", "attributes", "too long"],
)
def test_what_python_cannot_take_is_hashed_as_text(text: str) -> None:
    assert normalised_id(text) == normalised_id(text)
    assert normalised_id(text) != normalised_id(text + " ")  # as text, form does matter


@given(st.text())
def test_no_text_raises(text: str) -> None:
    safe_parse(text)
    normalised_id(text)
