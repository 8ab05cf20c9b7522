"""Write the example data of this recipe from the hand-made sources in src/ (same bytes on every run).

A source file holds one problem as sections, each opened by a line `%% NAME ...`:

    %% problem entry=NAME step=1 [again=2]   the question; `again` adds a second group in another step
    %% rollout KIND [WRAP...]                one rollout's code; the whole response for no_code and raw
    %% rollout KIND [WRAP...] edit=N         lines `old ==> new` applied to the code of rollout N
    %% rollout copy=N                        the same response again
    %% rollout restyle=N [WRAP...]           the same code with other indentation, comments, blank lines
    %% helper                                code that the tests call, written beside every test class
    %% cases                                 lines `description: code` (`≈`: almost equal); `! ` in front
                                             where the test is wrong on purpose
    %% tests                                 one token a response: letters of cases, `/` starts a second
                                             class, then optional `:your` `:solution` (import), `:main`,
                                             `:cut` (token limit); `-` no code, `=N` the same as response N,
                                             `*` the next literal response
    %% literal [wrong=METHOD,...]            a test response written out in full

Kinds of rollouts: see KINDS. Nothing here runs a rollout or a test; texts are only put together.
"""

from __future__ import annotations

import ast
import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

KINDS = {
    "right": "passes every check",
    "wrong": "misunderstands the task",
    "subtle": "right on common inputs, wrong on an edge case",
    "name": "right code under another name",
    "syntax": "does not parse",
    "stdin": "a program that reads stdin instead of a function",
    "loop": "does not end on some or all inputs",
    "no_code": "prose, a refusal or pseudo-code",
}
WRAPS = {"python", "py", "bare", "plain", "unclosed", "raw", "think", "after", "crlf"}

SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
INTROS = (
    "Here is the solution:",
    "We go through the input once and keep track of what is needed.",
    "To solve this problem, let us first look at the rules.\n\n1. Handle the simple cases.\n"
    "2. Work through the rest step by step.\n\nThe code follows.",
    "Sure! This should do it:",
    "The idea is simple, the edge cases need some care.",
)
OUTROS = (
    "This runs fast enough for any reasonable input.",
    "**Explanation**: the code follows the statement rule by rule, so a < b holds where it has to "
    "& nothing is counted twice.",
    "Let me know if you would like me to explain any step!",
)
THOUGHTS = (
    "Okay, let me think. The user wants a function. I could sort first, but is that needed?\n\n"
    "Wait, what about the empty input? It should work too. Let me write it down.",
    "Let's see... a draft:\n\n```python\nfor x in data:\n    ...\n```\n\n"
    "no, that misses a case. Better to do it properly.",
)
TEST_INTROS = (
    "",
    "Here is a test class for the given code, with a comment on every test case:\n\n",
    "To check the correctness of the code answer we use the `unittest` library and cover typical inputs "
    "and edge cases.\n\n",
)
TEST_OUTROS = (
    "",
    "\n\nEach test method checks one scenario, as its comment says. "
    "You can run the tests with `python -m unittest`.",
    "\n\nThese tests cover the normal use of the function and its edge cases.",
)
TEST_NO_CODE = (
    "The code answer looks correct. It handles the cases of the question as described, including the "
    "edge cases, so I would test it with a short, a long and an empty input and compare the results by hand."
)


@dataclass
class RolloutSource:
    """One rollout: what it is, its bare code (empty without any) and the response as the policy wrote it."""

    kind: str
    code: str
    text: str
    copy_of: int | None = None

    @property
    def passed(self) -> int:
        return int(self.kind == "right")


@dataclass
class ProblemSource:
    """One problem with all its rollouts and test responses; `steps` has one entry per group."""

    number: int
    entry: str
    steps: list[int]
    question: str = ""
    helper: str = ""
    rollouts: list[RolloutSource] = field(default_factory=list)
    cases: list[tuple[bool, str, str]] = field(default_factory=list)
    responses: list[str] = field(default_factory=list)
    wrong: list[tuple[int, str]] = field(default_factory=list)

    @property
    def reference(self) -> str:
        return next(r.code for r in self.rollouts if r.kind == "right")


def sections(text: str) -> Iterator[tuple[list[str], str]]:
    """Yield (words of the header, body without outer blank lines) of each section."""
    for part in re.split(r"^%% ", text, flags=re.MULTILINE)[1:]:
        header, _, body = part.partition("\n")
        yield header.split(), body.strip("\n")


def load(path: Path) -> ProblemSource:
    """Read one source file."""
    number = int(path.name.split("_")[0])
    problem = ProblemSource(number, "", [])
    plan: list[str] = []
    literals: list[tuple[list[str], str]] = []
    for (name, *words), body in sections(path.read_text("utf-8")):
        options = dict(word.split("=", 1) for word in words if "=" in word)
        if name == "problem":
            problem.entry, problem.question = options["entry"], body
            problem.steps = [int(options[key]) for key in ("step", "again") if key in options]
        elif name == "rollout":
            problem.rollouts.append(_rollout(problem, words, options, body))
        elif name == "helper":
            problem.helper = body
        elif name == "cases":
            problem.cases = [_case(line) for line in body.splitlines()]
        elif name == "tests":
            plan = body.split()
        elif name == "literal":
            literals.append((options.get("wrong", "").split(",") if "wrong" in options else [], body))
        else:
            raise ValueError(f"{path.name}: unknown section {name!r}")
    for index, token in enumerate(plan):
        text, wrong = _response(problem, index, token, literals)
        problem.responses.append(text)
        problem.wrong += [(index, method) for method in wrong]
    return problem


def _rollout(problem: ProblemSource, words: list[str], options: dict[str, str], body: str) -> RolloutSource:
    wraps = [word for word in words if word in WRAPS]
    if "copy" in options:
        original = int(options["copy"])
        twin = problem.rollouts[original - 1]
        return RolloutSource(twin.kind, twin.code, twin.text, original)
    if "restyle" in options:
        original = int(options["restyle"])
        twin = problem.rollouts[original - 1]
        code = _restyle(twin.code)
        return RolloutSource(twin.kind, code, _wrap(problem, code, wraps), original)
    kind = words[0]
    if kind not in KINDS or len(words) != 1 + len(wraps) + len(options):
        raise ValueError(f"rollout of {problem.entry}: bad header {words}")
    if kind == "no_code":
        return RolloutSource(kind, "", body)
    if "raw" in wraps:
        blocks: list[str] = re.findall(r"```python\n(.*?)\n```", body, flags=re.DOTALL)
        return RolloutSource(kind, next(b for b in reversed(blocks) if f"def {problem.entry}(" in b), body)
    code = body
    if "edit" in options:
        code = problem.rollouts[int(options["edit"]) - 1].code
        for line in body.splitlines():
            old, new = line.replace("\\n", "\n").split(" ==> ")
            if old not in code:
                raise ValueError(f"rollout of {problem.entry}: {old!r} is not in the edited code")
            code = code.replace(old, new)
    return RolloutSource(kind, code, _wrap(problem, code, wraps))


def _restyle(code: str) -> str:
    """Return the same program in another hand: two-space indentation, comments, blank lines."""
    remarks = {"for": "# go through all of them", "if": "# special case", "return": "# the answer"}
    lines = ["# Solution", ""]
    for line in code.splitlines():
        body = line.lstrip(" ")
        indent = " " * ((len(line) - len(body)) // 2)
        remark = remarks.pop(body.split(" ")[0], None)
        lines += [indent + remark] if remark else []
        lines.append(indent + body)
    return "\n".join(lines)


def _wrap(problem: ProblemSource, code: str, wraps: list[str]) -> str:
    """Put prose, fences and thoughts around code; without a fence word the code stands bare."""
    turn = 3 * problem.number + len(problem.rollouts)
    tag = next((w for w in ("python", "py", "bare", "unclosed") if w in wraps), None)
    text = code
    if tag is not None:
        label = {"py": "py", "bare": ""}.get(tag, "python")
        text = f"{INTROS[turn % len(INTROS)]}\n\n```{label}\n{code}" + ("" if tag == "unclosed" else "\n```")
    if "think" in wraps:
        text = f"<think>\n{THOUGHTS[turn % len(THOUGHTS)]}\n</think>\n\n{text}"
    if "after" in wraps:
        text += f"\n\n{OUTROS[turn % len(OUTROS)]}"
    return text.replace("\n", "\r\n") if "crlf" in wraps else text


def _case(line: str) -> tuple[bool, str, str]:
    wrong = line.startswith("! ")
    description, _, code = line[2 * wrong :].partition(": ")
    return wrong, description, code


def _response(
    problem: ProblemSource, index: int, token: str, literals: list[tuple[list[str], str]]
) -> tuple[str, list[str]]:
    """Return one model response and the names of its wrong methods."""
    if token == "-":
        return TEST_NO_CODE, []
    if token == "*":
        wrong, body = literals.pop(0)
        return body, wrong
    if token.startswith("="):
        original = int(token[1:])
        return problem.responses[original], [m for i, m in problem.wrong if i == original]
    letters, *flags = token.split(":")
    turn = problem.number + index
    subject = "Solution" if "class Solution" in problem.question else problem.entry
    lines = ["import unittest"]
    if "your" in flags:
        note = "# Replace 'your_module' with the actual module name"
        lines.append(f"from your_module import {subject}  {note}")
    if "solution" in flags:
        lines.append(f"from solution import {subject}")
    if problem.helper:
        lines += ["", problem.helper]
    used: dict[str, bool] = {}
    for number, group in enumerate(letters.split("/"), 1):
        name = "Test" + "".join(part[:1].upper() + part[1:] for part in problem.entry.split("_"))
        lines += ["", f"class {name}{'EdgeCases' if number == 2 else ''}(unittest.TestCase):"]
        for letter in group:
            is_wrong, description, expression = problem.cases[ord(letter) - ord("a")]
            method = "test_" + re.sub(r"\W+", "_", description.lower())
            if turn % 3 == 2:
                method = f"test_case_{len(used) + 1}"
            while method in used:
                method += "_again"
            used[method] = is_wrong
            lines += ["    " + line for line in _method(method, description, expression, turn)] + [""]
    code = "\n".join(lines).rstrip("\n")
    if "main" in flags:
        code += "\n\nif __name__ == '__main__':\n    unittest.main()"
    if "cut" in flags:
        used.popitem()
        code = code[: code.rindex("self.assert") + len("self.assertEqual(")]
    else:
        code += "\n```" + TEST_OUTROS[turn % len(TEST_OUTROS)]
    opening = TEST_INTROS[(turn + index) % len(TEST_INTROS)]
    return f"{opening}```python\n{code}", [method for method, is_wrong in used.items() if is_wrong]


def _method(name: str, description: str, code: str, turn: int) -> list[str]:
    """Write one case as a test method in the style of this turn."""
    assertion = "assertAlmostEqual" if " ≈ " in code else "assertEqual"
    code = code.replace(" ≈ ", " == ")
    *setup, last = ast.parse(code).body
    lines = [f"def {name}(self):"]
    if turn % 3 == 0:
        lines.append(f'    """Test with {description}."""')
    elif turn % 3 == 1:
        lines.append(f"    # Test with {description}")
    else:
        lines.append(f"    # Test case: {description}")
    lines += ["    " + _segment(code, statement) for statement in setup]
    assert isinstance(last, ast.Expr)
    value = last.value
    if isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.Not):
        return [*lines, f"    self.assertFalse({_segment(code, value.operand)})"]
    if not isinstance(value, ast.Compare):
        return [*lines, f"    self.assertTrue({_segment(code, value)})"]
    left, right = _segment(code, value.left), _segment(code, value.comparators[0])
    if isinstance(value.ops[0], ast.Is):
        return [*lines, f"    self.assertIsNone({left})"]
    if turn % 3 == 0 and not setup:
        lines += [f"    result = {left}", f"    expected = {right}"]
        left, right = "result", "expected"
    return [*lines, f"    self.{assertion}({left}, {right})"]


def _segment(code: str, node: ast.AST) -> str:
    segment = ast.get_source_segment(code, node)
    assert segment is not None
    return segment


def problems() -> list[ProblemSource]:
    """Read all sources, in the order of their numbers."""
    return [load(path) for path in sorted((HERE / "src").glob("*.txt"))]


def build() -> dict[str, bytes]:
    """Return the data files: path below this folder -> content."""
    loaded = problems()
    steps: dict[int, list[Any]] = {1: [], 2: []}
    for problem in loaded:
        for turn, step in enumerate(problem.steps):
            uid = uuid.uuid5(uuid.NAMESPACE_URL, f"offline_scoring/{problem.entry}/{step}")
            for session, rollout in enumerate(problem.rollouts[8 * turn : 8 * turn + 8]):
                row = {
                    "input": f"system\n{SYSTEM}\nuser\n{problem.question}\nassistant\n",
                    "output": rollout.text,
                    "gts": "",
                    "score": 0.0,
                    "step": step,
                    "uid": f"{uid}_{session}_0",
                }
                steps[step].append(row)
    rows: dict[str, list[Any]] = {f"dump/{step}.jsonl": rows for step, rows in steps.items()}
    rows["unit_tests.jsonl"] = [{"prompt": p.question, "responses": p.responses} for p in loaded]
    rows["truth.jsonl"] = [{"prompt": p.question, "passed": [r.passed for r in p.rollouts]} for p in loaded]
    rows["wrong_tests.jsonl"] = [{"prompt": p.question, "wrong": p.wrong} for p in loaded]
    rows["problems.jsonl"] = [
        {"prompt": p.question, "entry_point": p.entry, "reference_solution": p.reference} for p in loaded
    ]
    return {
        name: "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content).encode()
        for name, content in rows.items()
    }


def main() -> None:
    """Write the data files."""
    for name, content in build().items():
        path = HERE / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


if __name__ == "__main__":
    main()
