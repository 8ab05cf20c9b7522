"""Code extraction: a table of cases, and properties that hold for any text."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coderm_reward.data.extraction import extract_solution
from coderm_reward.source import normalised_id, safe_parse
from coderm_reward.types import CodeStatus, Solution

F = "def f(x):\n    return x + 1"
G = "def g(x):\n    return 2 * x"
SHIM = "\n\n\ndef f(*args, **kwargs):\n    return Solution().f(*args, **kwargs)"
METHOD = "class Solution:\n    def f(self, x):\n        return x"


def fence(code: str, tag: str = "python") -> str:
    return f"```{tag}\n{code}\n```"


class Case(NamedTuple):
    name: str
    text: str
    code: str | None
    """Expected code; None for NO_CODE."""
    entry_point: str | None = "f"


CASES = [
    # Fences
    Case("python fence", f"Here you go:\n\n{fence(F)}\n\nIt adds one.", F),
    Case("py fence", fence(F, "py"), F),
    Case("python3 fence", fence(F, "python3"), F),
    Case("capital tag", fence(F, "Python"), F),
    Case("tag with attributes", fence(F, "python title=a.py"), F),
    Case("file name as tag", fence(F, "solution.py"), F),
    Case("braced tag", fence(F, "{.python}"), F),
    Case("bare fence", fence(F, ""), F),
    Case("tilde fence", f"~~~python\n{F}\n~~~\nDone.", F),
    Case("four backticks", f"````python\n{F}\n````", F),
    Case("unknown tag but Python inside", fence(F, "solution"), F),
    Case("fence opened behind prose", f"Answer: ```python\n{F}\n```", F),
    Case(
        "fence in a list item",
        "1. Do:\n   ```python\n   def f(x):\n       return x\n   ```",
        "def f(x):\n    return x",
    ),
    Case(
        "fence behind a list marker",
        "- ```python\n  def f(x):\n      return x\n  ```",
        "def f(x):\n    return x",
    ),
    Case("fence indented by a tab", "\t```python\n\tdef f(x):\n\t\treturn x\n\t```", "def f(x):\n\treturn x"),
    Case(
        "indented code in a flush fence",
        "```python\n    def f(x):\n        return x\n```",
        "def f(x):\n    return x",
    ),
    Case("CRLF", fence(F).replace("\n", "\r\n"), F),
    Case("tabs in code", fence("def f(x):\n\treturn x"), "def f(x):\n\treturn x"),
    Case("unclosed fence", f"Sure.\n```python\n{F}", F),
    Case(
        "unclosed fence cut in mid-statement",
        "```python\ndef f(x):\n    return (x +",
        "def f(x):\n    return (x +",
    ),
    Case("unclosed fence cut after the function", f"```python\n{F}\n\nprint(f(", f"{F}\n\nprint(f("),
    Case("unclosed fence before prose", f"```python\n{F}\n\nThis function adds one to its input.", F),
    Case(
        "end marker on the last line of code",
        "```python\ndef f(x):\n    return x```\nDone.",
        "def f(x):\n    return x",
    ),
    Case(
        "end marker too deep",
        "```python\ndef f(x):\n    return x\n    ```\nDone, I hope.",
        "def f(x):\n    return x",
    ),
    Case(
        "fence inside a docstring",
        fence('def f(x):\n    """Use:\n\n    ```\n    f(1)\n    ```\n    """\n    return x'),
        'def f(x):\n    """Use:\n\n    ```\n    f(1)\n    ```\n    """\n    return x',
    ),
    Case(
        "second fence ends an unclosed one",
        f"```python\ndef f(x):\n    return\n\nFixed:\n```python\n{F}\n```",
        F,
    ),
    Case("code that does not parse", fence("def f(x)\n    return x"), "def f(x)\n    return x"),
    Case("fence on one line", "```python def f(x): return x```", "def f(x): return x"),
    Case("words in a fence on one line", f"```python is nice```\n{fence(F)}", F),
    # Which of several blocks
    Case("last definition wins", fence("def f(x):\n    return 0") + "\nBetter:\n" + fence(F), F),
    Case("usage after the definition", fence(F) + "\nExample:\n" + fence("print(f(1))"), F),
    Case("usage that assigns", fence(F) + "\nExample:\n" + fence("result = f(1)"), F),
    Case("output after the definition", fence(F) + "\nOutput:\n" + fence("2", ""), F),
    Case(
        "own tests after the definition",
        fence(F)
        + "\n"
        + fence(
            "import unittest\n\nclass F(unittest.TestCase):\n    def test_a(self):\n        assert f(1) == 2"
        ),
        F,
    ),
    Case(
        "own tests, entry point unknown",
        fence(F) + "\n" + fence("def test_f():\n    assert f(1) == 2"),
        F,
        None,
    ),
    Case("entry point before another function", fence(F) + "\n" + fence(G), F),
    Case("other function where f is missing", fence(G), G),
    Case("last function without an entry point", fence(F) + "\n" + fence(G), G, None),
    Case("complete block before an unclosed one", f"{fence(F)}\n```python\ndef f(x):\n    return (", F),
    Case("unclosed block that has the entry point", f"{fence(G)}\n```python\n{F}", F),
    Case(
        "helper in an earlier block",
        fence(G) + "\nThen:\n" + fence("def f(x):\n    return g(x)"),
        G + "\n\ndef f(x):\n    return g(x)",
    ),
    Case(
        "import in an earlier block",
        fence("import math\nimport os") + "\n" + fence("def f(x):\n    return math.floor(x)"),
        "import math\n\ndef f(x):\n    return math.floor(x)",
    ),
    Case(
        "helper of a helper",
        fence(f"K = 3\n\n{G.replace('2', 'K')}") + "\n" + fence("def f(x):\n    return g(x)"),
        "K = 3\n\ndef g(x):\n    return K * x\n\ndef f(x):\n    return g(x)",
    ),
    Case("helper redefined is not prepended", fence(G) + "\n" + fence(f"{G}\n\n{F}"), f"{G}\n\n{F}"),
    Case("lambda", fence("f = lambda x: x + 1"), "f = lambda x: x + 1"),
    Case("async function", fence("async def f(x):\n    return x"), "async def f(x):\n    return x"),
    Case(
        "function named like a test",
        fence("def test_f(x):\n    return x"),
        "def test_f(x):\n    return x",
        "test_f",
    ),
    Case(
        "helper goes behind future imports",
        fence("import math") + "\n" + fence("from __future__ import annotations\n\nf = lambda x: math.pi"),
        "from __future__ import annotations\n\nimport math\n\nf = lambda x: math.pi",
    ),
    # Thoughts and control tokens
    Case("thought first", f"<think>Maybe {fence(G)}?</think>\n{fence(F)}", F),
    Case("thought without its opening", f"Maybe\n{fence(G)}\n</think>\n{fence(F)}", F),
    Case("code in the thought only", f"<think>\n{fence(F)}\n</think>\nI am done.", None),
    Case("thought never closed", f"<think>\n{fence(F)}", None),
    Case(
        "thought's end in a string of the code",
        fence("def f(x):\n    return x.split('</think>')"),
        "def f(x):\n    return x.split('</think>')",
    ),
    Case("thought that ends in a quote", f'Say "done"</think>{F}', F),
    Case("chat end token", f"{F}<|im_end|>", F),
    Case("several end tokens", f"{fence(F)}<|eot_id|>\n<|endoftext|></s>", F),
    Case("full-width end token", f"```python\n{F}\n```<｜end▁of▁sentence｜>", F),
    Case("end token in an unclosed fence", f"```python\n{F}\n<|im_end|>", F),
    Case("made-up next turn", f"{F}\n<|im_end|>\n<|im_start|>user\nNow write g\n{fence(G)}", F),
    Case(
        "token inside a string", fence("def f(x):\n    return x + '</s>'"), "def f(x):\n    return x + '</s>'"
    ),
    # Bare code
    Case("bare code", F, F),
    Case("bare code before an explanation", f"{F}\n\nThis adds one to x. It's O(1).", F),
    Case("bare code after prose", f"Here is the function:\n\n{F}", F),
    Case("bare code within prose", f"Here's the code.\n{F}\nNote: x should be a number.\nDone", F),
    Case("prose that happens to parse", f"{F}\nComplexity: O(n)\nDone", F),
    Case("bare code with an import", f"Solution\nimport math\n\n{F}\nBye now!", f"import math\n\n{F}"),
    Case(
        "longest bare run",
        f"Small:\n{G}\n\nThe larger one is\n{G}\n\n\n{F}\nas you see.",
        f"{G}\n\n\n{F}",
        None,
    ),
    Case("bare run with the entry point", f"First of all\n{F}\nand then the rest\n{G}\n\n{G}\nis fine.", F),
    Case(
        "bare code of one block",
        "As asked:\n\n    def f(x):\n        return x\n\nThat is all.",
        "def f(x):\n    return x",
    ),
    Case("bare code cut off", f"{F}\n\nassert f(1) == 2\nassert f(2", f"{F}\n\nassert f(1) == 2\nassert f(2"),
    Case("bare function cut off", "def f(x):\n    return (x +", "def f(x):\n    return (x +"),
    Case(
        "fence in the docstring of bare code",
        'def f(x):\n    """\n```\nf(1)\n```\n    """\n    return x',
        'def f(x):\n    """\n```\nf(1)\n```\n    """\n    return x',
    ),
    Case("bare code beside a fence of output", f"{F}\n\nIt prints this:\n{fence('2', '')}", F),
    # class Solution
    Case("method of Solution", fence(METHOD), METHOD + SHIM),
    Case("method of Solution, entry point unknown", fence(METHOD), METHOD + SHIM, None),
    Case("entry point written as a call", fence(METHOD), METHOD + SHIM, "Solution().f"),
    Case("Solution beside a function f", fence(f"{METHOD}\n\n{F}"), f"{METHOD}\n\n{F}"),
    Case(
        "two methods, entry point unknown",
        fence(f"{METHOD}\n    def g(self):\n        pass"),
        f"{METHOD}\n    def g(self):\n        pass",
        None,
    ),
    Case(
        "private methods do not count",
        fence(f"{METHOD}\n    def _g(self):\n        pass"),
        f"{METHOD}\n    def _g(self):\n        pass{SHIM}",
        None,
    ),
    Case("other method name", fence(METHOD), METHOD, "g"),
    # No code
    Case("empty", "", None),
    Case("white space", " \n\t\n", None),
    Case("prose", "return the sum", None),
    Case(
        "prose with code words",
        "First import the numbers, then for each of them: add one.\nclass dismissed",
        None,
    ),
    Case("one identifier", "f", None),
    Case("one number", "42", None),
    Case("fenced identifier", fence("f"), None),
    Case("fenced number", fence("42", ""), None),
    Case("empty fence", fence(""), None),
    Case("lone fence", "```python", None),
    Case("REPL session", fence(">>> f(1)\n2"), None),
    Case("REPL session after the code", fence(F) + "\n" + fence(">>> f(1)\n2"), F),
    Case("HTML", fence("<div>\n  <p>f(x)</p>\n</div>", "html"), None),
    Case("shell", fence("pip install numpy", "bash"), None),
    Case("C++", fence("int f(int x) { return x + 1; }", "cpp"), None),
    Case("null byte", "def f(x):\n    return '\0", "def f(x):\n    return '\0"),
    # Scripts
    Case("script without a function", fence("x = 1\nprint(x)"), "x = 1\nprint(x)"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_extracts(case: Case) -> None:
    found = extract_solution(case.text, case.entry_point, wants_function=True)
    assert found.status is (CodeStatus.NO_CODE if case.code is None else CodeStatus.OK)
    assert found.code == (case.code or "")


STDIN = [
    ("input at module level", "n = int(input())\nprint(n + 1)"),
    ("sys.stdin", "import sys\nfor line in sys.stdin:\n    print(line)"),
    ("stdin imported", "from sys import stdin\nprint(stdin.read())"),
    ("open(0)", "print(open(0).read())"),
    ("fileinput", "import fileinput\nfor line in fileinput.input():\n    print(line)"),
    ("main called", "def main():\n    n = int(input())\n    print(n)\n\nmain()"),
    ("main behind the guard", "def main():\n    print(input())\n\nif __name__ == '__main__':\n    main()"),
    ("main through a helper", "def read():\n    return input()\n\ndef main():\n    print(read())\n\nmain()"),
    ("alias of readline", "import sys\ninput = sys.stdin.readline\nprint(input())"),
    ("method of a class", "class P:\n    def run(self):\n        print(input())\n\nP().run()"),
]


@pytest.mark.parametrize("code", [code for _, code in STDIN], ids=[name for name, _ in STDIN])
@pytest.mark.parametrize("text", ["{}", "```python\n{}\n```"], ids=["bare", "fenced"])
def test_program_reading_stdin_is_unsupported(code: str, text: str) -> None:
    found = extract_solution(text.format(code), None, wants_function=False)
    assert (found.status, found.code) == (CodeStatus.UNSUPPORTED_FORMAT, "")


def test_program_reading_stdin_is_a_wrong_answer_where_a_function_was_asked_for() -> None:
    code = "n = int(input())\nprint(n + 1)"
    found = extract_solution(fence(code), "f", wants_function=True)
    assert found == Solution(CodeStatus.WRONG_FORMAT, code)


def test_stdin_beside_the_entry_point_is_supported() -> None:
    code = f"{F}\n\nif __name__ == '__main__':\n    print(f(int(input())))"
    found = extract_solution(fence(code), "f", wants_function=False)
    assert (found.status, found.code) == (CodeStatus.OK, code)


def test_function_that_reads_stdin_but_is_not_called_is_supported() -> None:
    code = "def f():\n    return input()"
    assert extract_solution(fence(code), None, wants_function=False).status is CodeStatus.OK


def test_last_of_several_scripts_that_reads_stdin_is_the_program() -> None:
    text = (
        fence("n = input()\nprint(n)")
        + "\nRun it like this:\n"
        + fence("import os\nos.system('python a.py')")
    )
    assert extract_solution(text, None, wants_function=False).status is CodeStatus.UNSUPPORTED_FORMAT


@pytest.mark.parametrize(
    "text",
    [
        "The quick brown fox jumps over the lazy dog.\n" * 100_000,
        "x = = 3\n" * 100_000,
        "def f(x):\n    return (\n" * 50_000,
        "if x: y\n" * 20_000,
        "```python\nx```\n" * 100_000,
        "```\nx```\n" * 100_000,
        "`" * 2_000_000,
        "<think>" * 300_000,
        "</s>" * 500_000,
        " " * 2_000_000,
        "\n" * 2_000_000,
        "(" * 300_000,
        "x = " + "1 + " * 90_000 + "1",
        "```\n" + "x = 1 ```\n" * 50_000 + "```\n",
    ],
    ids=lambda text: repr(text[:12]),
)
def test_huge_text_is_handled(text: str) -> None:
    extract_solution(text, "f", wants_function=False)  # a quadratic step would run for minutes


FRAGMENTS = st.sampled_from(
    [
        *(
            "```python\n",
            "```\n",
            "~~~\n",
            "```",
            "\n",
            "    ",
            "\t",
            "\r\n",
            "\0",
            "\ud800",
            "é",
            "\x0c",
            "\u2028",
        ),
        *(
            "def f(x):\n",
            "return x\n",
            "class Solution:\n",
            "input()\n",
            "x = 1\n",
            "import math\n",
            "@cache\n",
        ),
        *("if x:\n", "assert f(1) == 2\n", "'''", '"""', "(", ")", ">>> ", "Done", "# note\n"),
        *("<think>", "</think>", "<|im_end|>", "</s>"),
    ]
)
TEXTS = st.one_of(st.text(max_size=200), st.lists(FRAGMENTS, max_size=25).map("".join))
NAMES = st.one_of(st.none(), st.sampled_from(["f", "Solution().f", "", "f()", "1", "class"]))


@given(TEXTS, NAMES, st.booleans())
@settings(max_examples=300, deadline=None)
def test_never_raises(text: str, entry_point: str | None, wants_function: bool) -> None:
    found = extract_solution(text, entry_point, wants_function=wants_function)
    with_code = found.status in (CodeStatus.OK, CodeStatus.WRONG_FORMAT)
    assert with_code == bool(found.code)


BODIES = st.lists(
    st.sampled_from(["x = x + 1", "if x:\n        x = 0", "# a comment", "y = [x]", 'z = """a\nb"""']),
    max_size=5,
)


@given(BODIES, st.text(alphabet="abc. \n", max_size=40), st.sampled_from(["python", "", "py"]))
@settings(max_examples=100, deadline=None)
def test_fenced_function_is_returned_as_written(body: list[str], prose: str, tag: str) -> None:
    code = "\n".join(["def f(x):", *(f"    {line}" for line in body), "    return x"])
    assert extract_solution(f"{prose}\n{fence(code, tag)}\n{prose}", "f", wants_function=True).code == code


@given(TEXTS, NAMES)
@settings(max_examples=300, deadline=None)
def test_extraction_is_idempotent(text: str, entry_point: str | None) -> None:
    first = extract_solution(text, entry_point, wants_function=True)
    if first.status is not CodeStatus.OK or "~~~" in first.code or "</think>" in first.code:
        return
    again = extract_solution(f"~~~~python\n{first.code}\n~~~~", entry_point, wants_function=True)
    if safe_parse(first.code) is not None:  # what does not parse fails either way
        assert again.code == first.code


def test_real_solutions_are_kept_whole(real_data: Path) -> None:
    """A fence around a real completion that parses changes nothing."""
    data = real_data / "humaneval-codegen16b"
    with gzip.open(data / "problems.jsonl.gz", "rt") as lines:
        names = {row["task_id"]: row["entry_point"] for row in map(json.loads, lines)}
    with gzip.open(data / "solutions.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    checked = 0
    for row in rows:
        for text in row["solutions"][::10]:
            if safe_parse(text) is None:
                continue
            found = extract_solution(
                f"Sure:\n```python\n{text}\n```", names[row["task_id"]], wants_function=True
            )
            assert normalised_id(found.code) == normalised_id(text), text
            checked += 1
    assert checked > 700
