"""What is thrown away unrun, by its text alone, and what is left alone."""

from __future__ import annotations

import numpy as np
import pytest

from coderm_reward.generation.parsing import parse_responses
from coderm_reward.generation.screening import FAILS_REFERENCE, marked_by_reference, screened, why_screened
from coderm_reward.types import ExecutionMatrix, UnitTest, Verdict

ALL = ("imports", "network", "files")
MODULES = {"unittest", "os", "io", "math", "pathlib", "socket", "urllib", "http", "requests", "tempfile"} | {
    "subprocess",
    "asyncio",
    "numpy",
    "shutil",
}


def case(body: str, head: str = "") -> str:
    lines = "\n".join(f"        {line}" for line in body.split("\n"))
    return f"import unittest\n{head}\nclass T(unittest.TestCase):\n    def test_f(self):\n{lines}\n"


@pytest.mark.parametrize(
    ("head", "body", "reason"),
    [
        ("import no_such_thing", "f(no_such_thing)", "imports"),
        ("from no_such.thing import x", "f(x)", "imports"),
        ("from . import x", "f(x)", "imports"),
        ("", "import no_such_thing\nf(1)", "imports"),
        ("try:\n    import no_such_thing\nexcept ImportError:\n    no_such_thing = None", "f(1)", None),
        ("try:\n    import no_such_thing\nexcept ValueError:\n    pass", "f(1)", "imports"),
        ("try:\n    import math\nexcept ImportError:\n    import no_such_thing", "f(1)", "imports"),
        ("import socket", "f(socket.socket())", "network"),
        ("import urllib.request", "f(1)", "network"),
        ("import urllib.request as r", "f(r.urlopen('x'))", "network"),
        ("from urllib import request", "f(request)", "network"),
        ("from urllib.parse import quote", "self.assertEqual(f(1), quote('a'))", None),
        ("from http import HTTPStatus", "self.assertEqual(f(1), HTTPStatus.OK)", None),
        ("from http.client import HTTPConnection", "f(1)", "network"),
        ("import requests", "f(requests.get('x'))", "network"),
        ("import asyncio", "asyncio.run(f(1))", None),
        ("import asyncio", "asyncio.run(asyncio.open_connection('x', 1))\nf(1)", "network"),
        ("", "with open('x') as file:\n    f(file)", "files"),
        ("def open(x):\n    return x", "f(open(1))", None),
        ("from unittest.mock import *", "with patch('builtins.open', mock_open()):\n  f()", None),
        ("from unittest.mock import patch", "with patch('socket.socket'):\n    f(1)", None),
        ("import io", "f(io.StringIO('x'))", None),
        ("import io", "f(io.open('x'))", "files"),
        ("import os", "self.assertEqual(f(1), os.path.join('a', 'b'))", None),
        ("import os", "os.remove('x')\nf(1)", "files"),
        ("import os.path as p", "f(p.exists('x'))", "files"),
        ("from os import path", "f(path.exists('x'))", "files"),
        ("from os.path import exists", "f(exists('x'))", "files"),
        ("import tempfile", "f(tempfile.mkdtemp())", "files"),
        ("import subprocess", "f(subprocess.run(['x']))", "files"),
        ("from pathlib import Path", "Path('x').write_text('y')\nf(1)", "files"),
        ("from pathlib import PurePath", "self.assertEqual(f('a/b'), PurePath('a/b').name)", None),
        ("", "self.assertEqual('ab'.replace('a', 'b'), f(1))", None),
        ("", "cache = f(1)\ncache.touch(1)\ncache.unlink(2)", None),
    ],
)  # fmt: skip
def test_reasons(head, body, reason) -> None:
    source = case(body, head)
    assert why_screened(source, ALL, MODULES) == reason
    others = [name for name in ALL if name != reason]
    assert why_screened(source, others, MODULES) is None
    assert why_screened(source, (), MODULES) is None


def test_nothing_is_known_to_be_missing_where_nobody_knows_what_is_there() -> None:
    assert why_screened(case("f(1)", "import no_such_thing"), ALL, None) is None


def test_the_function_under_test_may_be_called_open() -> None:
    assert why_screened(case("self.assertEqual(open(1), 2)"), ALL, MODULES, "open") is None


def test_each_reason_has_its_counter_beside_those_of_parsing() -> None:
    responses = [
        case("f(1)"),
        case("f(open('x'))"),
        case("f(requests.get('x'))", "import requests"),
        case("f(sklearn.x)", "import sklearn"),
        "def broken(:\n",
        "class T:\n    pass",
        case("g(1)"),
        case("f(1)  # again"),
    ]
    suite = parse_responses([f"```python\n{text}\n```" for text in responses], "f")
    left = screened(suite, ALL, MODULES, "f")
    assert [test.response for test in left.tests] == [0]
    assert left.dropped == {
        "does_not_parse": 1,
        "duplicate": 1,
        "no_mention": 1,
        "no_test_class": 1,
        "screened_files": 1,
        "screened_imports": 1,
        "screened_network": 1,
    }
    assert left.responses == suite.responses
    assert screened(suite, (), MODULES, "f") is suite


def test_the_reference_marks_what_it_fails_and_nothing_without_evidence() -> None:
    verdicts = [Verdict.PASS, Verdict.FAIL, Verdict.TIMEOUT, Verdict.UNKNOWN, Verdict.INVALID_TEST]
    tests = tuple(UnitTest(f"t{i}", "", "T", ("test",)) for i in range(len(verdicts)))
    row = np.array([verdicts], dtype=np.uint8)
    matrix = ExecutionMatrix(
        tests, row, row, np.arange(5), np.array([True]), np.array([0]), np.zeros_like(row), np.zeros(1)
    )
    assert marked_by_reference(matrix) == {"t1": FAILS_REFERENCE, "t2": FAILS_REFERENCE}
