"""The reward in verl's real reward loop: real managers, workers and batches, on two real Ray nodes."""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from verl_world import EXAMPLE, Row, example_rows, make_batch, make_config, make_tokenizer

pytest.importorskip("verl")
ray = pytest.importorskip("ray")

from coderm_reward.cli import main as command_line  # noqa: E402
from coderm_reward.config import load_config  # noqa: E402
from coderm_reward.data.records import read_records  # noqa: E402
from coderm_reward.online.assembly import open_scorer  # noqa: E402
from coderm_reward.online.sample import Sample  # noqa: E402
from coderm_reward.types import Message, RewardOutput  # noqa: E402

pytestmark = pytest.mark.verl

KEYS = set(RewardOutput.__struct_fields__)
TESTS = EXAMPLE / "unit_tests.jsonl"


def setting(name: str, value: object) -> str:
    return f"+reward.custom_reward_function.reward_kwargs.{name}={value}"


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def tokenizer(tokenizer_folder: Path) -> Any:
    from verl.utils import hf_tokenizer

    return hf_tokenizer(str(tokenizer_folder))


@pytest.fixture(scope="module")
def groups() -> list[list[Row]]:
    """Groups of the example's rollouts, without the three prompts that some rollout hangs on."""
    found: dict[str, list[Row]] = {}
    for row in example_rows():
        question = row.prompt[0]["content"]
        if not any(name in question for name in ("1h30m", "rotate_queue", "Packages have")):
            found.setdefault(question, []).append(row)
    return [
        [Row(row.prompt, row.response, f"group{number}") for row in rows[:4]]
        for number, rows in enumerate(found.values())
        if len(rows) >= 4
    ]


@pytest.fixture(scope="module")
def expected(groups: list[list[Row]]) -> dict[str, float]:
    """The rewards of these groups, scored in this process; by response."""

    async def score() -> list[RewardOutput]:
        async with open_scorer(load_config(tests=str(TESTS), workers=1)) as scorer:
            samples = [
                Sample(
                    messages=(Message("user", row.prompt[0]["content"]),), response=row.response, uid=row.uid
                )
                for group in groups
                for row in group
            ]
            return await scorer.score_all(samples)

    responses = [row.response for group in groups for row in group]
    return {r: one.score for r, one in zip(responses, asyncio.run(score()), strict=True)}


@pytest.fixture(scope="module")
def make_manager(
    module_cluster: Any, tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Any]]:
    """A RewardLoopManager with two reward workers; its records lie in `folder`."""
    from verl.experimental.reward_loop import RewardLoopManager

    module_cluster.mend()
    made = []

    def make(*overrides: str, tests: bool = True) -> Any:
        for one in made:  # their names are fixed in verl
            for worker in one.reward_loop_workers:
                ray.kill(worker)
        made.clear()
        folder = tmp_path_factory.mktemp("training")
        given = [setting("workers", 1), setting("loggers", "[]"), setting("quiet_seconds", 5)]
        given += ["actor_rollout_ref.rollout.n=4"]
        given += [setting("tests", TESTS)] if tests else []
        manager = RewardLoopManager(make_config(tokenizer_folder, folder, [*given, *overrides]))
        manager.folder = folder
        made.append(manager)
        return manager

    yield make
    for one in made:
        for worker in one.reward_loop_workers:
            ray.kill(worker)


@pytest.fixture(scope="module")
def manager(make_manager: Callable[..., Any]) -> Any:
    return make_manager()


def scores(result: Any) -> list[float]:
    return [float(score) for score in result.batch["rm_scores"].sum(dim=1)]


def wanted(rows: Sequence[Row], expected: dict[str, float]) -> list[Any]:
    return [pytest.approx(expected[row.response], abs=1e-6) for row in rows]


def recorded(manager: Any, groups: int) -> list[Any]:
    """The group records, once there are so many."""
    path, until = manager.folder / "records" / "groups.jsonl", time.monotonic() + 30
    while True:
        found = list(read_records(path)) if path.exists() else []
        if len(found) >= groups or time.monotonic() > until:
            return found
        time.sleep(0.05)


@pytest.mark.parametrize("minimal", [False, True], ids=["every field", "prompt and response only"])
def test_a_batch_becomes_rewards(
    manager: Any, tokenizer: Any, groups: Any, expected: Any, minimal: bool
) -> None:
    rows = [row for group in groups for row in group]
    before = len(recorded(manager, 0))
    result = manager.compute_rm_score(make_batch(tokenizer, rows, minimal=minimal))
    assert scores(result) == wanted(rows, expected)
    assert set(result.meta_info["reward_extra_keys"]) == KEYS
    for key in KEYS:
        assert np.isfinite(result.non_tensor_batch[key].astype(float)).all()
    assert not result.non_tensor_batch["infra_error"].any()
    records = recorded(manager, before + len(groups))[before:]
    assert sorted(len(record.rollouts) for record in records) == [4] * len(groups)


def test_groups_that_straddle_workers_and_padding_meet_all_the_same(
    manager: Any, tokenizer: Any, groups: Any, expected: Any
) -> None:
    rows = [Row(row.prompt, row.response, f"odd-{row.uid}") for group in groups[:3] for row in group]
    rows = rows[:-1]  # eleven: padded to twelve, and cut within a group
    assert scores(manager.compute_rm_score(make_batch(tokenizer, rows))) == wanted(rows, expected)


def test_rollouts_that_stream_to_any_worker_meet(
    manager: Any, tokenizer: Any, groups: Any, expected: Any
) -> None:
    rows = [Row(row.prompt, row.response, f"streamed-{row.uid}") for group in groups for row in group]
    random.Random(1).shuffle(rows)
    draw = random.Random(2)
    before = len(recorded(manager, 0))
    replies = [
        draw.choice(manager.reward_loop_workers).compute_score.remote(make_batch(tokenizer, [row]))
        for row in rows
    ]
    answers = ray.get(replies, timeout=120)
    assert [answer["reward_score"] for answer in answers] == wanted(rows, expected)
    assert {frozenset(answer["reward_extra_info"]) for answer in answers} == {frozenset(KEYS)}
    records = recorded(manager, before + len(groups))[before:]
    assert {record.uid for record in records} == {row.uid for row in rows}


def test_two_groups_of_one_prompt_do_not_mix(manager: Any, tokenizer: Any, groups: Any) -> None:
    rows = [Row(row.prompt, row.response, f"{row.uid}-{i % 2}") for i, row in enumerate(groups[0] * 2)]
    before = len(recorded(manager, 0))
    manager.compute_rm_score(make_batch(tokenizer, rows))
    records = recorded(manager, before + 2)[before:]
    assert sorted((record.uid, len(record.rollouts)) for record in records) == [
        ("group0-0", 4),
        ("group0-1", 4),
    ]


def test_odd_rows_have_documented_rewards(manager: Any, tokenizer: Any, groups: Any) -> None:
    prompt = groups[0][0].prompt
    right = groups[0][0].response
    turns = [
        {"role": "system", "content": "You write Python."},
        {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Hello! What shall I write?"},
        *prompt,
    ]
    rows = [
        Row(prompt, "", "odd"),
        Row(prompt, "I cannot do that.", "odd"),
        Row(prompt, right + "<|im_end|><|pad|>", "odd"),
        Row(prompt, right, "odd", ground_truth=["assert longest_rise([1, 2]) == 2"], extra_info={"index": 0}),
        Row(turns, right, "turns"),  # its last turn is the question
        Row([{"role": "user", "content": "Another question."}], right, "unknown"),  # no test is recorded
    ]
    result = manager.compute_rm_score(make_batch(tokenizer, rows))
    empty, prose, special, listed, turn, unknown = scores(result)
    extra = result.non_tensor_batch
    assert (empty, prose) == (0.0, 0.0)
    assert extra["no_code"].tolist()[:2] == [1.0, 1.0]
    assert special == listed == turn > 0
    assert (unknown, extra["neutral"][5], extra["infra_error"][5]) == (0.0, 1.0, 0.0)


def test_what_verl_dumps_can_be_scored_again(
    manager: Any, tokenizer: Any, groups: Any, expected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from verl.trainer.ppo.ray_trainer import RayPPOTrainer

    rows = [row for group in groups[:2] for row in group]
    result = manager.compute_rm_score(make_batch(tokenizer, rows))
    trainer = SimpleNamespace(global_steps=3, _write_generations=RayPPOTrainer._write_generations)
    RayPPOTrainer._init_dump_executor(trainer)
    RayPPOTrainer._dump_generations(
        trainer,
        inputs=[f"user\n{row.prompt[0]['content']}\nassistant\n" for row in rows],
        outputs=[row.response for row in rows],
        gts=[None] * len(rows),
        scores=scores(result),
        reward_extra_infos_dict={
            key: result.non_tensor_batch[key].tolist() for key in result.meta_info["reward_extra_keys"]
        },
        dump_path=str(tmp_path / "dump"),
    )
    RayPPOTrainer._shutdown_dump_executor(trainer)
    out = tmp_path / "scored.jsonl"
    arguments = ["score", tmp_path / "dump", "--tests", TESTS, "--out", out, "--workers", "1"]
    monkeypatch.setattr("sys.argv", ["coderm-reward", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        command_line()
    assert not ended.value.code
    scored = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["coderm_score"] for row in scored] == wanted(rows, expected)
    assert [row["score"] for row in scored] == wanted(rows, expected)


def test_metrics_of_every_step_are_written(manager: Any, tokenizer: Any, groups: Any) -> None:
    for step in (101, 102):
        manager.compute_rm_score(make_batch(tokenizer, groups[0], meta={"global_steps": step}))
    path, until = manager.folder / "records" / "metrics.jsonl", time.monotonic() + 40
    steps: dict[int, Any] = {}
    while not {101, 102} <= steps.keys() and time.monotonic() < until:
        lines = path.read_text().splitlines() if path.exists() else []
        steps = {row["step"]: row for row in map(json.loads, lines)}
        time.sleep(0.2)
    assert {101, 102} <= steps.keys()
    assert steps[101]["coderm/rollouts"] == 4.0
    assert all(math.isfinite(value) for name, value in steps[101].items() if "/" in name)


def test_bad_settings_end_the_workers_at_the_start(make_manager: Callable[..., Any]) -> None:
    for overrides, message in (
        (["+reward.custom_reward_function.reward_kwargs.aggregater=bayes"], "aggregater"),
        ([setting("config_path", "nowhere.yaml")], "nowhere.yaml does not exist"),
    ):
        broken = make_manager(*overrides)
        with pytest.raises(ray.exceptions.RayActorError, match=message):
            ray.get(broken.reward_loop_workers[0].compute_score_batch.remote([]), timeout=120)
    missing = make_manager(setting("tests", "nowhere.jsonl"), tests=False)
    with pytest.raises(ray.exceptions.RayActorError, match=r"nowhere\.jsonl"):
        ray.get(missing.reward_loop_workers[0].compute_score_batch.remote([]), timeout=120)


def test_verls_own_manager_can_call_the_function(
    make_manager: Callable[..., Any], tokenizer: Any, groups: Any, expected: Any
) -> None:
    naive = make_manager("reward.reward_manager.source=register", "reward.reward_manager.name=naive")
    shared = {"question": groups[0][0].prompt[0]["content"]}  # one object for all siblings, as in verl
    rows = [Row(row.prompt, row.response, row.uid, extra_info=shared) for row in groups[0]]
    result = naive.compute_rm_score(make_batch(tokenizer, rows))
    assert scores(result) == wanted(rows, expected)
    assert set(result.meta_info["reward_extra_keys"]) >= KEYS


def test_verls_offline_evaluation_can_call_the_function(cluster: Any, tmp_path: Path) -> None:
    from omegaconf import OmegaConf
    from verl.trainer.main_eval import process_item

    ours = {"path": "pkg://coderm_reward.integrations.verl", "name": "compute_score_sync"}
    config = OmegaConf.create({"reward": {"custom_reward_function": ours}})
    right, wrong = (f"```python\ndef add(a, b):\n    return a {sign} b\n```" for sign in "+-")
    truth = {"ground_truth": ["assert add(1, 2) == 3"]}
    reply = process_item.remote(config, "mbpp", [right, wrong], truth)
    assert ray.get(reply, timeout=120) == ("mbpp", 0.5)
