"""The example data of recipes/offline_scoring/: complete, as its README says, and as its sources give it.

Nothing here executes a rollout or a test of the data; they are only read and parsed.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from coderm_reward.config import (
    BudgetConfig,
    ExecutionConfig,
    GenerationConfig,
    RewardConfig,
    SandboxConfig,
    ScoringConfig,
    load_config,
)
from coderm_reward.source import normalised_id, safe_parse

RECIPE = Path(__file__).resolve().parent.parent / "recipes" / "offline_scoring"
FILES = [
    "dump/1.jsonl",
    "dump/2.jsonl",
    "problems.jsonl",
    "truth.jsonl",
    "unit_tests.jsonl",
    "wrong_tests.jsonl",
]


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (RECIPE / name).read_text("utf-8").splitlines()]


def by_prompt(name: str) -> dict[str, dict[str, Any]]:
    return {row["prompt"]: row for row in rows(name)}


def load_build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("offline_scoring_build", RECIPE / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


BUILD = load_build()
PROBLEMS = BUILD.problems()
ROLLOUTS = [rollout for problem in PROBLEMS for rollout in problem.rollouts]
DUMP = rows("dump/1.jsonl") + rows("dump/2.jsonl")


def question(row: dict[str, Any]) -> str:
    match = re.fullmatch(r"system\nYou are [^\n]+\nuser\n(.+)\nassistant\n", row["input"], flags=re.DOTALL)
    assert match is not None
    return match[1]


def groups() -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in DUMP:
        found[row["uid"].split("_")[0]].append(row)
    return found


def passed_by_group() -> list[list[int]]:
    """The truth cut into groups of 8, as its rows run over all steps."""
    return [row["passed"][i : i + 8] for row in rows("truth.jsonl") for i in range(0, len(row["passed"]), 8)]


def test_the_sources_give_these_files_and_no_others() -> None:
    assert sorted(BUILD.build()) == FILES


@pytest.mark.parametrize("name", FILES)
def test_files_are_regenerated_byte_for_byte(name: str) -> None:
    assert BUILD.build()[name] == (RECIPE / name).read_bytes()


@pytest.mark.parametrize("step", [1, 2])
def test_dump_rows_have_the_fields_of_a_v1_training_dump(step: int) -> None:
    for row in rows(f"dump/{step}.jsonl"):
        assert list(row) == ["input", "output", "gts", "score", "step", "uid"]
        assert (row["gts"], row["score"], row["step"]) == ("", 0.0, step)
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}_[0-7]_0", row["uid"])


def test_every_group_has_eight_sessions_of_one_prompt_and_step() -> None:
    for uid, members in groups().items():
        assert [row["uid"] for row in members] == [f"{uid}_{session}_0" for session in range(8)]
        assert len({(row["input"], row["step"]) for row in members}) == 1


def test_one_prompt_has_a_group_in_both_steps() -> None:
    prompts = Counter(question(members[0]) for members in groups().values())
    assert len(prompts) == 14
    assert sorted(prompts.values()) == [1] * 13 + [2]


@pytest.mark.parametrize("name", FILES[2:])
def test_side_files_have_one_row_per_prompt_of_the_dump(name: str) -> None:
    assert sorted(row["prompt"] for row in rows(name)) == sorted({question(row) for row in DUMP})


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("problems.jsonl", ["prompt", "entry_point", "reference_solution"]),
        ("truth.jsonl", ["prompt", "passed"]),
        ("unit_tests.jsonl", ["prompt", "responses"]),
        ("wrong_tests.jsonl", ["prompt", "wrong"]),
    ],
)
def test_side_files_have_these_keys_only(name: str, keys: list[str]) -> None:
    assert all(list(row) == keys for row in rows(name))


def test_truth_has_one_value_per_rollout() -> None:
    counts = Counter(question(row) for row in DUMP)
    assert {prompt: len(row["passed"]) for prompt, row in by_prompt("truth.jsonl").items()} == counts
    assert {value for row in rows("truth.jsonl") for value in row["passed"]} == {0, 1}


def test_pass_rates_go_from_one_to_seven_eighths() -> None:
    rates = [sum(passed) for passed in passed_by_group()]
    assert (min(rates), max(rates)) == (1, 7)
    assert len(set(rates)) >= 6


def test_copies_of_a_rollout_share_its_truth() -> None:
    truth = by_prompt("truth.jsonl")
    outcomes: dict[tuple[str, str], set[int]] = defaultdict(set)
    seen: Counter[str] = Counter()
    for row in DUMP:
        prompt = question(row)
        outcomes[prompt, row["output"]].add(truth[prompt]["passed"][seen[prompt]])
        seen[prompt] += 1
    assert all(len(values) == 1 for values in outcomes.values())


def test_references_define_their_entry_point() -> None:
    for row in rows("problems.jsonl"):
        tree = safe_parse(row["reference_solution"])
        assert tree is not None
        assert row["entry_point"] in {getattr(node, "name", None) for node in ast.walk(tree)}
        assert row["entry_point"] in row["prompt"]


@pytest.mark.parametrize("kind", sorted(BUILD.KINDS))
def test_every_kind_of_rollout_is_present(kind: str) -> None:
    assert sum(rollout.kind == kind for rollout in ROLLOUTS) >= 2


def test_endless_loops_are_few_and_never_two_in_a_problem() -> None:
    loops = [sum(rollout.kind == "loop" for rollout in problem.rollouts) for problem in PROBLEMS]
    assert sum(loops) <= 3
    assert max(loops) == 1


def test_rollouts_called_syntax_errors_do_not_parse_and_all_others_do() -> None:
    assert all((safe_parse(r.code) is None) == (r.kind == "syntax") for r in ROLLOUTS)


@pytest.mark.parametrize(
    "pattern",
    [
        pytest.param(r"\A<think>", id="think"),
        pytest.param(r"```python\n", id="python"),
        pytest.param(r"```py\n", id="py"),
        pytest.param(r"\n```\n(?!\n)\S", id="bare fence"),
        pytest.param(r"\A(def|class|import|from) ", id="bare code"),
        pytest.param(r"\r\n", id="crlf"),
        pytest.param(r"\n```\n\n\S", id="explanation behind"),
        pytest.param(r"\A(?:(?!```|def ).)*\Z", id="prose"),
        pytest.param(r"```.*```.*```.*```", id="two blocks"),
    ],
)
def test_every_form_of_response_is_present(pattern: str) -> None:
    assert any(re.search(pattern, row["output"], flags=re.DOTALL) for row in DUMP)


def test_unclosed_fences_hold_right_and_wrong_code() -> None:
    unclosed = {r.passed for r in ROLLOUTS if r.text.count("```") == 1}
    assert unclosed == {0, 1}


def test_groups_hold_exact_copies_and_copies_up_to_formatting() -> None:
    twins = [
        (r, problem.rollouts[r.copy_of - 1]) for problem in PROBLEMS for r in problem.rollouts if r.copy_of
    ]
    assert sum(twin.text == original.text for twin, original in twins) >= 5
    assert sum(twin.text != original.text for twin, original in twins) >= 5
    assert all(normalised_id(twin.code) == normalised_id(original.code) for twin, original in twins)


def test_every_problem_has_eight_to_twelve_test_responses() -> None:
    assert all(8 <= len(row["responses"]) <= 12 for row in rows("unit_tests.jsonl"))


@pytest.mark.parametrize(
    "is_it",
    [
        pytest.param(lambda text: "```" not in text, id="no code"),
        pytest.param(lambda text: text.count("```") == 1, id="cut off"),
    ],
)
def test_every_problem_has_such_a_response(is_it: Any) -> None:
    assert all(sum(map(is_it, row["responses"])) == 1 for row in rows("unit_tests.jsonl"))


def test_every_problem_has_an_exact_copy_of_a_response() -> None:
    assert all(len(set(row["responses"])) == len(row["responses"]) - 1 for row in rows("unit_tests.jsonl"))


@pytest.mark.parametrize(
    "pattern",
    [
        "from your_module import",
        "from solution import",
        r"unittest\.main\(\)",
        "TestCase.*TestCase",
        r"def setUp\(",
        r"def setUpClass\(",
        r"\.subTest\(",
        "async def test_",
        "\ndef \\w+\\(",
        "@patch",
    ],
)
def test_every_form_of_test_is_present(pattern: str) -> None:
    texts = [text for row in rows("unit_tests.jsonl") for text in row["responses"]]
    assert any(re.search(pattern, text, flags=re.DOTALL) for text in texts)


def test_wrong_tests_name_methods_of_their_response() -> None:
    responses = by_prompt("unit_tests.jsonl")
    for row in rows("wrong_tests.jsonl"):
        for index, method in row["wrong"]:
            assert f"def {method}(self" in responses[row["prompt"]]["responses"][index]


def test_about_one_method_in_six_is_wrong() -> None:
    methods = sum(text.count("def test_") for row in rows("unit_tests.jsonl") for text in row["responses"])
    wrong = sum(len(row["wrong"]) for row in rows("wrong_tests.jsonl"))
    assert 0.15 <= wrong / methods <= 0.25
    assert all(row["wrong"] for row in rows("wrong_tests.jsonl"))


def test_config_spells_out_every_default() -> None:
    path = RECIPE / "config.yaml"
    assert load_config(path) == RewardConfig()
    spelled = {section: set(values) for section, values in yaml.safe_load(path.read_text("utf-8")).items()}
    structs = {
        "sandbox": SandboxConfig,
        "execution": ExecutionConfig,
        "generation": GenerationConfig,
        "scoring": ScoringConfig,
        "budget": BudgetConfig,
    }
    assert spelled == {section: set(struct.__struct_fields__) for section, struct in structs.items()}


def test_run_script_is_executable_and_strict() -> None:
    script = RECIPE / "run.sh"
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text("utf-8")
