"""Values as datasets hand them over, as plain Python data."""

from __future__ import annotations

import ast
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderm_reward.data.plain_values import json_inside, literal, plain

plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=20,
)


def evaluated(text: str) -> Any:
    """The value of a literal; `float("nan")` is no literal to ast, so it is put in by name."""
    tree = ast.parse(text, mode="eval")
    calls = {ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Call)}
    assert calls <= {"float('nan')", "float('inf')", "float('-inf')"}
    names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    assert names <= {"float"}
    return eval(compile(tree, "literal", "eval"), {"__builtins__": {}, "float": float})


def same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a):
        return math.isnan(b)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(map(same, a.values(), b.values()))
    return type(a) is type(b) and a == b


@given(plain_values)
def test_a_literal_is_the_value_that_it_was_made_of(value: Any) -> None:
    assert same(evaluated(literal(value)), value)


@given(plain_values)
def test_plain_values_stay_as_they_are(value: Any) -> None:
    assert same(plain(value), value)


def test_numpy_and_tuples_become_lists_and_numbers() -> None:
    inner = np.array([np.array(["assert f(1)", "assert f(2)"], dtype=object), None], dtype=object)
    value = {"a": inner, "b": np.float64(0.5), "c": (np.int32(3), b"text"), "d": np.array([[1, 2]])}
    found = plain(value)
    assert found == {"a": [["assert f(1)", "assert f(2)"], None], "b": 0.5, "c": [3, "text"], "d": [[1, 2]]}
    assert type(found["b"]) is float
    assert type(found["c"][0]) is int


def endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value",
    [{1, 2}, object(), b"\xff", endless(), {(1, object()): 1}, 10**5000, np.datetime64("2020-01-01")],
    ids=["set", "object", "bytes", "endless", "key", "digits", "date"],
)
def test_what_is_no_plain_value_says_so(value: object) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        plain(value)


@given(plain_values.filter(lambda v: isinstance(v, (list, dict))))
def test_json_and_python_texts_are_taken_out(value: Any) -> None:
    assert same(json_inside(json.dumps(value)), json.loads(json.dumps(value)))
    if "nan" not in repr(value) and "inf" not in repr(value):
        assert json_inside(repr(value)) is not None


@pytest.mark.parametrize("text", ["42", "assert f(1)", "{", "[1, f(2)]", "[" * 5000, '"""doc"""', "", "nan"])
def test_other_text_holds_nothing(text: str) -> None:
    assert json_inside(text) is None
