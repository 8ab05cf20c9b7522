"""Parsing of model responses into unit tests: what is kept, dropped and repaired, and that nothing raises."""

from __future__ import annotations

import ast
import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coderm_reward.generation.parsing import REPAIRED, parse_responses
from coderm_reward.types import TestSuite, UnitTest

TEST = """\
import unittest

class TestF(unittest.TestCase):
    def test_b(self):
        # The common case
        self.assertEqual(f(1), 2)

    def test_a(self):
        self.assertEqual(f(2), 3)
"""
PUBLISHED_RUNNER = """
suite = unittest.TestLoader().loadTestsFromTestCase(TestF)
runner = unittest.TextTestRunner(stream=output, verbosity=2)
result = runner.run(suite)
locals_dict['result'] = result
"""


def fence(code: str) -> str:
    return f"```python\n{code}\n```"


def parse(*responses: str, entry_point: str | None = "f") -> TestSuite:
    return parse_responses(responses, entry_point)


def only(suite: TestSuite) -> UnitTest:
    (test,) = suite.tests
    ast.parse(test.source)
    return test


def names(source: str) -> set[str]:
    """Every name that a source binds or reads."""
    tree = ast.parse(source)
    found = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    return found | {n.name for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.ClassDef))}


def test_a_fenced_class_is_kept_with_its_comments() -> None:
    suite = parse(f"Here is a test:\n\n{fence(TEST)}\n\nIt covers the common case.")
    test = only(suite)
    assert (test.class_name, test.methods, test.response, test.copies) == (
        "TestF",
        ("test_a", "test_b"),
        0,
        1,
    )
    assert "# The common case" in test.source
    assert suite.dropped == {}
    assert suite.responses == 1


@pytest.mark.parametrize(
    "text",
    [
        TEST,
        f"<think>Say ```python\nclass TestG: pass\n```</think>\n{fence(TEST)}",
        f"~~~python\n{TEST}~~~",
        f"```\n{TEST}```",
        f"```python\n{TEST}",
        fence(TEST).replace("\n", "\r\n"),
        f"Sure, here is a test class:\n\n{TEST}\nIt has two methods.",
        f"{fence(TEST)}<|im_end|>",
        f"{fence(TEST)}\n\nRun it:\n\n```bash\npython -m unittest\n```",
        f"{fence(TEST)}\n\nOutput:\n\n```\nOK\n```",
    ],
    ids=["bare", "thought", "tildes", "no tag", "unclosed", "CRLF", "prose", "token", "shell", "output"],
)
def test_form_of_the_response_does_not_matter(text: str) -> None:
    suite = parse(text)
    assert only(suite).id == only(parse(fence(TEST))).id
    assert suite.dropped == {}


@pytest.mark.parametrize(
    "runner",
    [
        PUBLISHED_RUNNER,
        "\nif __name__ == '__main__':\n    unittest.main()\n",
        "\nif __name__ == '__main__':\n    unittest.main(argv=[''], exit=False)\n",
        "\nunittest.main()\n",
        "\nunittest.main(argv=['first-arg-is-ignored'], exit=False)\n",
        "\nloader = unittest.TestLoader()\nsuite = unittest.TestSuite()\n"
        "suite.addTests(loader.loadTestsFromTestCase(TestF))\nunittest.TextTestRunner().run(suite)\n",
        "\nimport io\noutput = io.StringIO()\nwith output as stream:\n"
        "    unittest.TextTestRunner(stream=stream).run(suite)\n",
        "\nresult = unittest.TextTestRunner().run(unittest.defaultTestLoader.loadTestsFromTestCase(TestF))\n"
        "if result.wasSuccessful():\n    print('ok')\n",
    ],
    ids=[
        "published",
        "guard",
        "guard with arguments",
        "main",
        "main with arguments",
        "suite",
        "with",
        "result",
    ],
)
def test_runner_is_left_out(runner: str) -> None:
    suite = parse(fence(TEST + runner))
    assert names(only(suite).source) == names(TEST)
    assert suite.dropped == {"repaired_runner": 1}


def test_a_local_name_does_not_pull_in_the_runner() -> None:
    test = TEST.replace("self.assertEqual(f(2), 3)", "result = f(2)\n        self.assertEqual(result, 3)")
    assert "runner" not in names(only(parse(fence(test + PUBLISHED_RUNNER))).source)


def test_loose_code_is_left_out_and_counted() -> None:
    suite = parse(fence(TEST + "\nprint(f(1))\nn = input()\nsys.path.append('.')\n"))
    assert names(only(suite).source) == names(TEST)
    assert suite.dropped == {"repaired_loose_code": 1}


@pytest.mark.parametrize(
    "line",
    [
        "from your_module import f",
        "from your_module import f  # Replace with the actual module",
        "from your_module import (\n    f,\n    g,\n)",
        "from solution import f",
        "from solution import *",
        "from main import f",
        "from f import f",
        "from .solution import f",
        "from string_tools import f",
        "import your_module",
        "try:\n    from your_module import f\nexcept ImportError:\n    pass",
    ],
)
def test_import_of_the_code_under_test_is_dropped(line: str) -> None:
    suite = parse(fence(f"{line}\n{TEST}"))
    assert only(suite).id == only(parse(TEST)).id
    assert suite.dropped == {"repaired_import": 1}


def test_imports_that_are_read_are_kept() -> None:
    head = "from collections import Counter as C\nimport numpy as np\n"
    suite = parse(fence(f"{head}import pandas\nimport os\n" + TEST.replace("f(1)", "f(np.int64(C()[0]))")))
    assert only(suite).source.startswith(f"{head}import unittest\n\n\nclass TestF")
    assert suite.dropped == {}


def test_module_prefix_is_removed() -> None:
    suite = parse(fence("import your_module as m\n" + TEST.replace("f(", "m.f(")))
    assert only(suite).id == only(parse(TEST)).id
    assert suite.dropped == {"repaired_import": 1}


def test_unknown_module_that_has_the_function_is_recognised_by_its_use() -> None:
    assert (
        only(parse(fence("import strings\n" + TEST.replace("f(", "strings.f(")))).id == only(parse(TEST)).id
    )


def test_alias_of_the_import_is_kept() -> None:
    test = only(parse(fence("from your_module import f as g\n" + TEST.replace("f(", "g("))))
    assert "\ng = f\n" in test.source


def test_import_within_a_method_is_dropped() -> None:
    text = TEST.replace(
        "        self.assertEqual(f(2), 3)",
        "        from solution import f\n        self.assertEqual(f(2), 3)",
    )
    suite = parse(fence(text))
    assert only(suite).id == only(parse(TEST)).id
    assert suite.dropped == {"repaired_import": 1}


@pytest.mark.parametrize(
    "copy",
    [
        "def f(x):\n    return 0\n",
        "@cache\ndef f(x):\n    return 0\n",
        "async def f(x):\n    return 0\n",
        "f = lambda x: 0\n",
        "from math import floor as f\n",
        "class Solution:\n    def f(self, x):\n        return 0\n",
        "class Solution:\n    def f(self, x):\n        return 0\n\nf = Solution().f\n",
    ],
)
def test_copy_of_the_solution_is_dropped(copy: str) -> None:
    suite = parse(f"{fence(copy)}\n\nThe tests:\n\n{fence(TEST)}")
    assert only(suite).id == only(parse(TEST)).id
    assert suite.dropped == {"repaired_redefinition": 1}


def test_copy_within_a_method_is_dropped() -> None:
    text = TEST.replace("        # The", "        def f(x):\n            return 2\n        # The")
    assert only(parse(fence(text))).id == only(parse(TEST)).id


def test_copy_as_a_method_of_the_test_is_dropped() -> None:
    text = TEST.replace("f(", "self.f(") + "\n    def f(self, x):\n        return x + 1\n"
    suite = parse(fence(text))
    assert only(suite).id == only(parse(TEST)).id
    assert suite.dropped == {"repaired_redefinition": 1}


def test_two_classes_are_two_tests_with_what_they_share() -> None:
    text = """
import unittest
import math

LIMIT = 3
UNUSED = f(1)

def twice(x):
    return 2 * x + LIMIT

class Data:
    pass

class TestOne(unittest.TestCase):
    def test_one(self):
        self.assertEqual(f(1), twice(1))

class TestTwo(unittest.TestCase):
    def test_two(self):
        self.assertEqual(f(2), math.floor(2))
"""
    one, two = parse(fence(text)).tests
    assert (one.class_name, one.methods, two.class_name, two.methods) == (
        "TestOne",
        ("test_one",),
        "TestTwo",
        ("test_two",),
    )
    for test, other in ((one, "TestTwo"), (two, "TestOne")):
        found = names(test.source)
        assert {"LIMIT", "twice", "Data"} <= found
        assert not {other, "UNUSED"} & found
    assert "import math" in two.source


def test_base_class_of_the_text_is_a_helper() -> None:
    text = """
import unittest

class Base(unittest.TestCase):
    def setUp(self):
        self.one = 1

    def test_base(self):
        self.assertEqual(f(self.one), 2)

class TestF(Base):
    def test_own(self):
        self.assertEqual(f(2), 3)
"""
    test = only(parse(fence(text)))
    assert (test.class_name, test.methods) == ("TestF", ("test_base", "test_own"))
    assert "class Base" in test.source


def test_mixin_methods_count() -> None:
    text = TEST.replace("(unittest.TestCase)", "(Mixin, unittest.TestCase)").replace(
        "class TestF", "class Mixin:\n    def test_mixed(self):\n        pass\n\nclass TestF"
    )
    assert only(parse(fence(text))).methods == ("test_a", "test_b", "test_mixed")


@pytest.mark.parametrize(
    ("imports", "base"),
    [
        ("from unittest import TestCase", "TestCase"),
        ("from unittest import TestCase as Case", "Case"),
        ("import unittest as ut", "ut.TestCase"),
        ("from unittest import IsolatedAsyncioTestCase", "IsolatedAsyncioTestCase"),
        ("import unittest.mock", "unittest.TestCase"),
    ],
)
def test_class_is_recognised_by_its_base(imports: str, base: str) -> None:
    text = TEST.replace("import unittest", imports, 1).replace("unittest.TestCase", base)
    suite = parse(fence(text))
    assert only(suite).methods == ("test_a", "test_b")
    assert suite.dropped == {}


def test_fixtures_subtests_and_async_methods_are_kept() -> None:
    text = """
import unittest

class TestF(unittest.IsolatedAsyncioTestCase):
    CASES = [(1, 2)]

    @classmethod
    def setUpClass(cls):
        cls.two = 2

    def setUp(self):
        self.x = 1

    def tearDown(self):
        del self.x

    async def test_async(self):
        self.assertEqual(f(1), self.two)

    def test_sub(self):
        for a, b in self.CASES:
            with self.subTest(a=a):
                self.assertEqual(f(a), b)
"""
    test = only(parse(fence(text)))
    assert test.methods == ("test_async", "test_sub")
    assert test.source.strip() == text.strip().replace("\n\nclass", "\n\n\nclass")


def test_missing_import_of_unittest_is_added() -> None:
    suite = parse(fence(TEST.replace("import unittest\n", "")))
    assert only(suite).id == only(parse(TEST)).id
    assert suite.dropped == {"repaired_missing_import": 1}


def test_future_import_stays_first() -> None:
    text = TEST.replace("import unittest", "from __future__ import annotations\nimport math")
    assert only(parse(fence(text))).source.startswith("from __future__ import annotations\nimport unittest\n")


def test_import_in_another_block_is_shared() -> None:
    text = f"First:\n{fence('import unittest')}\nthen:\n{fence(TEST.removeprefix('import unittest'))}"
    assert only(parse(text)).id == only(parse(TEST)).id


def test_data_that_statements_fill_is_kept() -> None:
    text = f"CASES = []\nCASES.append(1)\nfor i in range(3):\n    CASES.append(i)\n{TEST}".replace(
        "f(1)", "f(CASES[0])"
    )
    source = only(parse(fence(text))).source
    assert "CASES.append(1)" in source
    assert "for i in range(3):" in source


@pytest.mark.parametrize(
    ("text", "methods"),
    [
        (TEST + "\n    def test_c(self):\n        self.assertEqual(f(3", ("test_a", "test_b")),
        (TEST + "\n    def test_c(self):\n        # Third", ("test_a", "test_b")),
        (TEST + "\n    def test_c(self):\n        x = [1, 2,", ("test_a", "test_b")),
        (TEST + '\n    def test_c(self):\n        """Third', ("test_a", "test_b")),
        (TEST + "\n    @patch('x", ("test_a", "test_b")),
        (TEST + "\nclass TestMore(unitt", ("test_a", "test_b")),
        (TEST + "\nif __name__ == '__main", ("test_a", "test_b")),
    ],
    ids=["call", "comment", "list", "docstring", "decorator", "class", "guard"],
)
@pytest.mark.parametrize("form", ["```python\n{}", "{}", "Here it is:\n\n{}"], ids=["fence", "bare", "prose"])
def test_whole_methods_of_a_truncated_class_are_kept(text: str, methods: tuple[str, ...], form: str) -> None:
    suite = parse(form.format(text))
    assert only(suite).methods == methods
    assert suite.dropped == {"repaired_truncated": 1}


@pytest.mark.parametrize(
    "end", ["result = f(3)", "self.assertEqual(f(3), 4)\n        self.assertE", "assert f(3) == 1"]
)
def test_method_that_was_cut_off_but_parses_is_left_out(end: str) -> None:
    suite = parse(f"```python\n{TEST}\n    def test_c(self):\n        {end}")
    assert only(suite).methods == ("test_a", "test_b")
    assert suite.dropped == {"repaired_truncated": 1}


@pytest.mark.parametrize("end", ["self.assertEqual(f(3), 4)", "assert f(3) == 12\n"])
def test_unclosed_fence_alone_costs_nothing(end: str) -> None:
    suite = parse(f"```python\n{TEST}\n    def test_c(self):\n        {end}")
    assert only(suite).methods == ("test_a", "test_b", "test_c")
    assert suite.dropped == {}


@pytest.mark.parametrize("cut", range(0, len(TEST), 3))
def test_a_cut_never_changes_a_method(cut: int) -> None:
    def methods(source: str) -> dict[str, str]:
        found = (n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef))
        return {n.name: ast.dump(n) for n in found}

    for test in parse(f"```python\n{TEST[:cut]}").tests:
        assert methods(test.source).items() <= methods(TEST).items()


def test_method_that_does_not_parse_is_cut_out() -> None:
    text = TEST.replace(
        "    def test_a", "    def test_bad(self):\n        self.assertEqual(f(1) 2)\n\n    def test_a"
    )
    suite = parse(fence(text))
    assert only(suite).methods == ("test_a", "test_b")
    assert suite.dropped == {"repaired_syntax": 1}


def test_duplicates_are_merged() -> None:
    other = TEST.replace("f(1), 2", "f(1), 4")
    commented = TEST.replace("        self", "        # a note\n        self").replace("'", '"')
    suite = parse(TEST, other, fence(commented))
    assert [(test.response, test.copies) for test in suite.tests] == [(0, 2), (1, 1)]
    assert suite.dropped == {"duplicate": 1}
    assert suite.responses == 3


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I cannot write tests for this.", "no_code"),
        ("", "no_code"),
        (fence("class TestF(unittest.TestCase:\n  def"), "does_not_parse"),
        (fence("def f(x):\n    return x"), "no_test_class"),
        (
            fence("import unittest\n\nclass TestF(unittest.TestCase):\n    def check(self):\n        f(1)"),
            "no_test_method",
        ),
        (fence(TEST.replace("f(", "g(")), "no_mention"),
        (fence("assert g(1) == 2"), "no_mention"),
    ],
)
def test_useless_response_is_dropped_and_counted(text: str, reason: str) -> None:
    suite = parse(text, TEST)
    assert only(suite).response == 1
    assert suite.dropped == {reason: 1}
    assert suite.responses == 2


def test_mention_through_a_helper_counts() -> None:
    text = f"def call(x):\n    return f(x)\n\n{TEST.replace('f(', 'call(')}"
    assert parse(fence(text)).dropped == {}


def test_method_that_cannot_run_is_left_out() -> None:
    text = (
        TEST
        + "\n    def test_c(self, a, b):\n        self.assertEqual(f(a), b)\n"
        + "\n    def test_d():\n        f(1)\n"
    )
    suite = parse(fence(text))
    assert only(suite).methods == ("test_a", "test_b")
    assert suite.dropped == {"bad_method": 2}


def test_patched_method_is_kept() -> None:
    text = (
        "from unittest.mock import patch\n"
        + TEST
        + "\n    @patch('builtins.print')\n    def test_c(self, p):\n        f(1)\n"
    )
    assert only(parse(fence(text))).methods == ("test_a", "test_b", "test_c")


def test_parametrised_method_is_left_out() -> None:
    text = (
        TEST
        + "\n    @parameterized.expand([(1, 2)])\n    def test_c(self, a, b):\n        assert f(a) == b\n"
    )
    assert only(parse(fence(text))).methods == ("test_a", "test_b")


def test_last_class_of_a_name_wins() -> None:
    suite = parse(f"{fence(TEST)}\nBetter:\n{fence(TEST.replace('test_a', 'test_c'))}")
    assert only(suite).methods == ("test_b", "test_c")
    assert suite.dropped == {"superseded": 1}


def test_last_class_of_a_name_wins_even_if_it_is_a_pytest_class() -> None:
    text = TEST + "\nclass TestF:\n    def test_c(self):\n        assert f(1) == 2\n"
    suite = parse(fence(text))
    assert only(suite).methods == ("test_c",)
    assert suite.dropped == {"repaired_pytest": 1, "superseded": 1}


def test_pytest_functions_become_methods() -> None:
    one = "def test_one():\n    assert f(1) == 2  # one\n"
    text = f"import pytest\n\n{one}\nasync def test_two():\n    assert f(2) == 3\n"
    suite = parse(fence(text))
    test = only(suite)
    assert (test.class_name, test.methods) == ("TestFunctions", ("test_one", "test_two"))
    assert "assert f(1) == 2  # one" in test.source
    assert "await test_two()" in test.source
    assert "import pytest" not in test.source
    assert suite.dropped == {"repaired_missing_import": 1, "repaired_pytest": 1}


def test_pytest_class_becomes_a_case() -> None:
    setup = "    def setup_method(self, method):\n        self.x = 1\n"
    text = f"class TestF:\n{setup}\n    def test_a(self):\n        assert f(self.x) == 2\n"
    suite = parse(fence(text))
    test = only(suite)
    assert (test.class_name, test.methods) == ("TestF", ("test_a",))
    assert "class TestF(unittest.TestCase):" in test.source
    assert "def setUp(self):" in test.source
    assert suite.dropped == {"repaired_missing_import": 1, "repaired_pytest": 1}


@pytest.mark.parametrize(
    ("text", "methods", "repair"),
    [
        ("def test_c():\n    assert f(3) == 4\n", ("test_c",), "repaired_pytest"),
        ("assert f(3) == 4\n", ("test_assert_1",), "repaired_asserts"),
        ("class TestG:\n    def test_c(self):\n        assert f(3) == 4\n", ("test_c",), "repaired_pytest"),
    ],
    ids=["function", "assertion", "class"],
)
def test_pytest_style_beside_a_case_is_converted_too(
    text: str, methods: tuple[str, ...], repair: str
) -> None:
    suite = parse(fence(f"{TEST}\n{text}"))
    assert suite.tests[0].id == only(parse(TEST)).id
    assert [test.methods for test in suite.tests[1:]] == [methods]
    assert suite.dropped.keys() <= {repair, "repaired_missing_import"}
    assert suite.dropped[repair] == 1


def test_function_that_a_case_calls_is_its_helper() -> None:
    text = f"def test_it(x=1):\n    return f(x)\n\n{TEST.replace('f(', 'test_it(')}"
    suite = parse(fence(text))
    assert only(suite).methods == ("test_a", "test_b")
    assert suite.dropped == {}


def test_mixin_of_a_case_stays_a_mixin() -> None:
    mixin = "class TestMixin:\n    def test_m(self):\n        assert f(1)\n\n"
    suite = parse(fence(mixin + TEST.replace("(unittest", "(TestMixin, unittest")))
    assert only(suite).methods == ("test_a", "test_b", "test_m")
    assert suite.dropped == {}


ONE = "def test_one():\n    assert f(1) == 2\n\n"


@pytest.mark.parametrize(
    ("text", "dropped"),
    [
        ("def test_fix(tmp_path):\n    assert f(tmp_path)\n", {"bad_method": 1}),
        (
            "@pytest.mark.parametrize('x', range(9))\ndef test_p(x):\n    assert f(x) == x + 1\n",
            {"bad_method": 1},
        ),
        (
            "@pytest.mark.parametrize('x', [pytest.param(1, marks=pytest.mark.xfail)])\n"
            "def test_p(x):\n    assert f(x)\n",
            {"bad_method": 1},
        ),
        (
            "class TestP:\n    @pytest.mark.parametrize('x', [1])\n    def test_p(self, x):\n        f(x)\n",
            {"no_test_method": 1},
        ),
        ("class TestB(Base):\n    def test_p(self):\n        assert f(1)\n", {"no_test_method": 1}),
        ("def test_one():\n    assert f(1) == 3\n", {"superseded": 1}),
        ("test_one()\n", {"repaired_runner": 1}),
        ("def test_two(x):\n    assert f(x)\n\ntest_two(1)\n", {"repaired_asserts": 1}),
        ("@pytest.fixture\ndef test_data():\n    return 1\n", {}),
        ("def main():\n    test_one()\n\nmain()\n", {"repaired_loose_code": 1}),
        ("for i in range(3):\n    setattr(T, f'test_{i}', make(i))\n", {"repaired_loose_code": 1}),
        ("T.test_x = lambda self: f(1)\n", {"repaired_loose_code": 1}),
    ],
)
def test_what_stands_beside_a_test_function_is_counted(text: str, dropped: dict[str, int]) -> None:
    suite = parse(fence(ONE + text))
    assert suite.tests[0].methods == ("test_one",)
    assert suite.dropped == {"repaired_missing_import": 1, "repaired_pytest": 1} | dropped
    if "superseded" not in dropped:
        assert suite.tests[0].id == parse(fence(ONE)).tests[0].id


@pytest.mark.parametrize(
    ("header", "rows", "calls"),
    [
        ("'x, y'", "[(1, 2), [3, 4]]", ["x=1, y=2", "x=3, y=4"]),
        ("['x', 'y']", "((1, 2), (3, 4))", ["x=1, y=2", "x=3, y=4"]),
        ("'y,x'", "[pytest.param(N, 1, id='n'), ((), {})], ids=['a', 'b']", ["y=N, x=1", "y=(), x={}"]),
    ],
)
def test_rows_of_a_parametrised_function_become_methods(header: str, rows: str, calls: list[str]) -> None:
    text = (
        f"import pytest\nN = 2\n\n# Adds\n@pytest.mark.parametrize({header}, {rows})\n"
        "def test_add(x, y):\n    assert f(x) == y  # one\n"
    )
    suite = parse(fence(text))
    test = only(suite)
    assert test.methods == ("test_add_1", "test_add_2")
    assert "# Adds\ndef test_add(x, y):\n    assert f(x) == y  # one\n" in test.source
    assert [line.strip() for line in test.source.split("\n") if line.startswith("        test_add")] == [
        f"test_add({call})" for call in calls
    ]
    assert "pytest" not in test.source
    assert suite.dropped == {"repaired_missing_import": 1, "repaired_pytest": 1}


def test_single_value_is_a_row() -> None:
    text = "@pytest.mark.parametrize('x', [(1, 2), 3])\ndef test_add(x):\n    assert f(x)\n"
    source = only(parse(fence(text))).source
    assert "test_add(x=(1, 2))" in source
    assert "test_add(x=3)" in source


def test_bare_call_of_a_function_that_asserts_mentions_what_it_reads() -> None:
    suite = parse(fence("def check():\n    assert f(1) == 2\n\ncheck()\n"))
    assert only(suite).methods == ("test_assert_1",)
    assert suite.dropped == {"repaired_asserts": 1, "repaired_missing_import": 1}


def test_bare_assertion_on_a_method_mentions_it() -> None:
    assert only(parse(fence("assert Solution().f(1) == 2\n"))).methods == ("test_assert_1",)


def test_bare_assertions_become_methods_with_their_data() -> None:
    text = "xs = [1]\nr = f(xs)\nassert r == 2\nxs = [2]\nr = f(xs)\nassert r == 3, 'three'\nprint(r)\n"
    suite = parse(fence(text))
    test = only(suite)
    assert test.methods == ("test_assert_1", "test_assert_2")
    bodies = [ast.unparse(n) for n in ast.walk(ast.parse(test.source)) if isinstance(n, ast.FunctionDef)]
    assert bodies[0].split("\n    ")[1:] == ["xs = [1]", "r = f(xs)", "assert r == 2"]
    assert bodies[1].split("\n    ")[-3:] == ["xs = [2]", "r = f(xs)", "assert r == 3, 'three'"]
    assert suite.dropped == {"repaired_asserts": 1, "repaired_loose_code": 1, "repaired_missing_import": 1}


def test_check_function_is_called() -> None:
    test = only(parse(fence("def check(candidate):\n    assert candidate(1) == 2\n\ncheck(f)\n")))
    assert test.methods == ("test_assert_1",)
    assert "def check(candidate):" in test.source


def test_unknown_entry_point_is_the_function_most_tests_call() -> None:
    copied = f"def f(x):\n    return 0\n\n{TEST.replace('f(2), 3', 'f(5), 6')}"
    suite = parse(TEST, TEST.replace("f(1), 2", "f(1), 4"), copied, entry_point=None)
    assert len(suite.tests) == 3
    assert "return 0" not in suite.tests[2].source
    assert suite.dropped == {"repaired_redefinition": 1}


FRAGMENTS = st.sampled_from(
    [
        *(
            "```python\n",
            "```\n",
            "<think>",
            "</think>",
            "\n",
            "    ",
            "\t",
            "\0",
            "\ud800",
            '"""',
            "(",
            ")",
            "é",
            ";",
        ),
        *(
            "import unittest\n",
            "from your_module import f\n",
            "import your_module\n",
            "from unittest import *\n",
        ),
        *("class TestF(unittest.TestCase):\n", "class TestF:\n", "class Solution:\n", "class A(B, C):\n"),
        *(
            "    def test_a(self):\n",
            "        self.assertEqual(f(1), 2)\n",
            "    @patch('x')\n",
            "    pass\n",
        ),
        *(
            "def test_a():\n",
            "def f(x):\n",
            "    return x\n",
            "assert f(1) == 2\n",
            "f = 1\n",
            "x = f(2)\n",
            "x.add(1)\n",
        ),
        *(
            "if __name__ == '__main__':\n",
            "    unittest.main()\n",
            "print(1)\n",
            "x = 1; y = 2\n",
            "try:\n",
            "except E:\n",
        ),
        *(
            "def test_fix(tmp_path):\n",
            "@pytest.mark.parametrize('x', [1, 2])\n",
            "def test_c(x):\n",
            "test_a()\n",
            "def main():\n    test_a()\n",
            "def check():\n    assert f(1) == 2\n",
            "check()\n",
            "class TestP:\n    def test_p(self, fix):\n        f(fix)\n",
            "setattr(TestF, 'test_d', 1)\n",
        ),
        PUBLISHED_RUNNER,
        TEST,
    ]
)


@given(
    st.lists(st.one_of(st.text(max_size=60), st.lists(FRAGMENTS, max_size=20).map("".join)), max_size=3),
    st.sampled_from([None, "f", "x", "test_a", "TestF", "unittest"]),
)
@settings(max_examples=400, deadline=None)
def test_never_raises_and_every_test_is_well_formed(responses: list[str], entry_point: str | None) -> None:
    suite = parse_responses(responses, entry_point)
    assert suite.responses == len(responses)
    assert len({test.id for test in suite.tests}) == len(suite.tests)
    for test in suite.tests:
        tree = ast.parse(test.source)
        assert test.class_name in {n.name for n in tree.body if isinstance(n, ast.ClassDef)}
        assert test.methods == tuple(sorted(set(test.methods)))
        assert test.methods


@given(st.lists(FRAGMENTS, max_size=20).map("".join))
@settings(max_examples=300, deadline=None)
def test_every_response_is_accounted_for(response: str) -> None:
    suite = parse(response)
    response_counts = sum(suite.dropped.get(key, 0) for key in ("no_code", "does_not_parse", "no_test_class"))
    lost_tests = any(suite.dropped.get(key) for key in ("no_test_method", "bad_method", "no_mention"))
    assert response_counts == (not suite.tests and not lost_tests)


@given(st.lists(FRAGMENTS, max_size=20).map("".join))
@settings(max_examples=200, deadline=None)
def test_parsing_a_parsed_test_changes_nothing(response: str) -> None:
    for test in parse(response).tests:
        again = parse(test.source)
        assert [(t.id, t.methods) for t in again.tests] == [(test.id, test.methods)]
        assert again.dropped == {}


@pytest.mark.parametrize(
    "response",
    [
        "The quick brown fox.\n" * 100_000,
        "```python\n" + "class T(unittest.TestCase):\n    def test_a(self):\n        (\n" * 5_000,
        "```python\n" + "    def test_a(self):\n        x\n" * 5_000,
        "assert f(1) == 2\n" * 5_000,
        "import unittest\n"
        + "".join(
            f"class T{i}(unittest.TestCase):\n    def test_a(self):\n        f({i})\n" for i in range(300)
        ),
        "x = " + "-" * 5_000 + "f(1)\nassert x\n",
        "assert " + " + ".join(["f(1)"] * 5_000) + "\n",
    ],
    ids=["prose", "broken classes", "loose methods", "assertions", "classes", "deep", "long sum"],
)
def test_huge_response_is_handled(response: str) -> None:
    parse(response)  # a quadratic step would run for minutes


def test_calibrated_set_is_parsed_whole(real_data: Path) -> None:
    """Every tenth problem: each response gives exactly one class, and only the known forms need repair."""
    with gzip.open(real_data / "humaneval-codegen16b" / "problems.jsonl.gz", "rt") as lines:
        entry_points = {row["task_id"]: row["entry_point"] for row in map(json.loads, lines)}
    with gzip.open(real_data / "humaneval-coderm-calibrated" / "unit_tests.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines][::10]
    for row in rows:
        suite = parse_responses(row["responses"], entry_points[row["task_id"]])
        assert sum(test.copies for test in suite.tests) == len(row["responses"])
        assert set(suite.dropped) <= {"duplicate", "repaired_import", "repaired_runner"}
        with_runner = [f"{test.source}{PUBLISHED_RUNNER}" for test in suite.tests]
        assert [t.id for t in parse_responses(with_runner, entry_points[row["task_id"]]).tests] == [
            t.id for t in suite.tests
        ]


def test_repairs_carry_their_prefix() -> None:
    suite = parse(fence("from your_module import f\n" + TEST + PUBLISHED_RUNNER))
    assert all(reason.startswith(REPAIRED) for reason in suite.dropped)
