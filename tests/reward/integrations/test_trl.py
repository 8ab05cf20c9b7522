"""The reward function as TRL calls it: real sandbox, recorded tests or a scripted model."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import math
import multiprocessing
import os
import pickle
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from coderm_reward.data.records import read_records
from coderm_reward.errors import ConfigError, InputError, TooManyFailuresError
from coderm_reward.generation.scripted_server import Act, ScriptedServer
from coderm_reward.integrations.trl import AsyncCodeRMReward, CodeRMReward
from coderm_reward.online.sample import GroupOutcome

RECIPE = Path(__file__).resolve().parents[3] / "recipes" / "offline_scoring"
TESTS = str(RECIPE / "unit_tests.jsonl")
CODE = "```python\ndef solve(x):\n    return x\n```"


def batch(prompts: int) -> tuple[list[str], list[str]]:
    """(prompts, completions) of the first groups of the example, as TRL repeats them."""
    rows = [json.loads(line) for line in (RECIPE / "dump" / "1.jsonl").read_text("utf-8").splitlines()]
    return [row["input"] for row in rows][: 8 * prompts], [row["output"] for row in rows][: 8 * prompts]


class Kept:
    """A sink."""

    def __init__(self) -> None:
        self.outcomes: list[GroupOutcome] = []

    def add(self, outcome: GroupOutcome) -> None:
        self.outcomes.append(outcome)


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where all of these tests run: records go to the working directory by default."""
    before, here = Path.cwd(), tmp_path_factory.mktemp("training")
    os.chdir(here)
    yield here
    os.chdir(before)


@pytest.fixture(scope="module")
def kept() -> Kept:
    return Kept()


@pytest.fixture(scope="module")
def reward(kept: Kept) -> Iterator[CodeRMReward]:
    with CodeRMReward(tests=TESTS, num_generations=8, sink=kept, workers=2) as opened:
        yield opened


def test_it_is_what_trl_takes_for_a_function(reward: CodeRMReward) -> None:
    assert reward.__name__ == "coderm_reward"
    assert callable(reward)
    assert not inspect.iscoroutinefunction(reward.__call__)
    assert inspect.iscoroutinefunction(AsyncCodeRMReward.__call__)


def test_a_batch_gets_finite_rewards_in_order_and_groups_are_recorded(
    reward: CodeRMReward, kept: Kept
) -> None:
    prompts, completions = batch(3)
    logged: dict[str, float] = {}
    kept.outcomes.clear()
    rewards = reward(
        prompts=prompts,
        completions=[[{"role": "assistant", "content": text}] for text in completions],
        completion_ids=[[0]] * len(prompts),
        task_id=[f"task-{place // 8}" for place in range(24)],
        trainer_state=SimpleNamespace(global_step=5),
        log_metric=logged.__setitem__,
        log_extra=print,
    )
    assert len(rewards) == 24
    assert all(type(value) is float and math.isfinite(value) for value in rewards)
    assert len(set(rewards)) > 3
    records = {outcome.record.task_id: outcome.record for outcome in kept.outcomes}
    assert records.keys() == {"task-0", "task-1", "task-2"}
    assert {record.step for record in records.values()} == {"5"}
    assert [rollout.reward.score for i in range(3) for rollout in records[f"task-{i}"].rollouts] == rewards
    assert logged["coderm/score"] == pytest.approx(sum(rewards) / 24)
    assert logged["coderm/infra_error"] == 0.0


def test_records_and_metrics_are_kept(tmp_path: Path) -> None:
    prompts, completions = batch(1)
    folder = tmp_path / "records"
    with CodeRMReward(tests=TESTS, workers=1, records=str(folder), run="a run") as reward:
        rewards = reward(prompts, completions, trainer_state=SimpleNamespace(global_step=7))
    [record] = read_records(folder / "groups.jsonl")
    assert [rollout.reward.score for rollout in record.rollouts] == rewards
    assert (record.run, record.step) == ("a run", "7")
    [line] = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert line["step"] == 7
    assert line["coderm/reward/mean"] == pytest.approx(sum(rewards) / 8)


def test_the_datasets_own_tests_have_the_weight_that_is_given_to_them() -> None:
    prompts, completions = batch(1)
    logged: dict[str, float] = {}
    wrong = "```python\ndef longest_rise(temps):\n    return 7\n```"
    with CodeRMReward(tests=TESTS, workers=1, ground_truth_weight=1.0) as reward:
        rewards = reward(
            prompts[:2],
            [completions[0], wrong],
            tests=[["assert longest_rise([1, 2, 1]) == 2"]] * 2,
            log_metric=logged.__setitem__,
        )
    assert rewards == [1.0, 0.0]
    assert (logged["coderm/has_truth"], logged["coderm/acc_true"]) == (1.0, 0.5)


def test_rewards_do_not_depend_on_the_order(reward: CodeRMReward) -> None:
    prompts, completions = batch(2)
    straight = reward(prompts, completions)
    mixed = [place for pair in zip(range(8), range(8, 16), strict=True) for place in pair]
    again = reward([prompts[place] for place in mixed], [completions[place] for place in mixed])
    assert again == [straight[place] for place in mixed]


def test_a_prompt_that_comes_twice_is_two_groups_where_their_size_is_known(
    reward: CodeRMReward, kept: Kept
) -> None:
    prompts, completions = batch(1)
    kept.outcomes.clear()
    reward(prompts * 2, completions * 2)
    assert [len(outcome.record.rollouts) for outcome in kept.outcomes] == [8, 8]


def test_empty_and_hostile_completions_are_zeros_and_no_errors(reward: CodeRMReward) -> None:
    prompts, completions = batch(1)
    hostile = "```python\nimport os\ndef longest_rise(temps):\n    os._exit(0)\n```"
    forged = (
        "```python\nclass Any:\n    def __eq__(self, other):\n        return True\n"
        "def longest_rise(temps):\n    return Any()\n```"
    )
    rewards = reward([prompts[0]] * 5, ["", "<|im_end|>", hostile, forged, completions[0]])
    assert rewards[:4] == [0.0] * 4
    assert rewards[4] > 0.5


def test_nothing_asked(reward: CodeRMReward) -> None:
    assert reward([], []) == []
    with pytest.raises(InputError, match="1 prompts and 0 completions"):
        reward(["a"], [])


def test_asynchronously_and_from_another_loop(reward: CodeRMReward) -> None:
    prompts, completions = batch(1)

    async def main() -> tuple[list[float], list[float]]:
        asked = {"prompts": prompts, "completions": completions}
        with AsyncCodeRMReward(tests=TESTS, workers=1) as waited:
            first, second = await asyncio.gather(waited(**asked), waited(**asked))
            return first, second

    first, second = asyncio.run(main())
    assert first == second == reward(prompts, completions)


def test_the_examples_of_the_page(reward: CodeRMReward, capsys: pytest.CaptureFixture[str]) -> None:
    """docs/trl.md: the training is one that compiles, and the call is run."""
    page = (RECIPE.parents[1] / "docs" / "trl.md").read_text("utf-8")
    training, call = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    compile(training, "trl.md", "exec")
    call = call.replace("recipes/offline_scoring/unit_tests.jsonl", TESTS)
    exec(compile(call, "trl.md", "exec"), {})
    assert "[0.0, 0.0]" in page
    assert capsys.readouterr().out == "[0.0, 0.0]\n"


def test_settings_are_checked_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="time_out"):
        CodeRMReward(tests=TESTS, time_out=1)
    with pytest.raises(ConfigError, match="does not exist"):
        CodeRMReward(str(tmp_path / "none.yaml"))
    with pytest.raises(ConfigError, match="write unit tests"):
        CodeRMReward()
    file = tmp_path / "reward.yaml"
    file.write_text(f"training: {{tests: {TESTS}}}\nscoring: {{shape: binary}}\n", "utf-8")
    assert CodeRMReward(file).config.scoring.shape == "binary"
    assert CodeRMReward(file, shape="fraction").config.scoring.shape == "fraction"


def test_it_closes_and_opens_again(reward: CodeRMReward) -> None:
    prompts, completions = batch(1)
    mine = CodeRMReward(tests=TESTS, workers=1)
    expected = reward(prompts[:1], completions[:1])
    before = set(threading.enumerate())
    assert mine(prompts[:1], completions[:1]) == expected
    mine.close()
    mine.close()
    assert set(threading.enumerate()) <= before
    assert mine(prompts[:1], completions[:1]) == reward(prompts[:1], completions[:1])
    mine.close()


def test_a_pickled_one_and_one_in_a_forked_process_are_their_own(reward: CodeRMReward) -> None:
    prompts, completions = batch(1)
    expected = reward(prompts[:2], completions[:2])
    mine = CodeRMReward(tests=TESTS, workers=1)
    mine(prompts[:1], completions[:1])
    with pickle.loads(pickle.dumps(mine)) as copy:
        assert copy(prompts[:2], completions[:2]) == expected
    context = multiprocessing.get_context("fork")
    answers = context.Queue()

    def child() -> None:
        answers.put(mine(prompts[:2], completions[:2]))
        mine.close()

    process = context.Process(target=child)
    process.start()
    assert answers.get(timeout=120) == expected
    process.join(120)
    assert mine(prompts[:2], completions[:2]) == expected
    mine.close()


def test_the_end_of_the_process_leaves_no_sandbox(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "from pathlib import Path\n"
        "from coderm_reward.integrations.trl import CodeRMReward\n"
        f"reward = CodeRMReward(tests={TESTS!r}, workers=1)\n"
        "reward(['Write f.'], ['no code'])\n"
        "print(*(file.read_text() for file in Path('/proc/self/task').glob('*/children')))\n",
        "utf-8",
    )
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    pids = done.stdout.split()
    assert pids
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def serve(script: Act) -> tuple[str, Any]:
    """(URL of a model server in a thread of its own, what stops it)."""
    started: Any = threading.Event()
    loop = asyncio.new_event_loop()
    server = ScriptedServer(script)

    def run() -> None:
        loop.run_until_complete(server.start())
        started.set()
        loop.run_forever()
        loop.run_until_complete(server.stop())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(60)

    def stop() -> None:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()

    return server.url, stop


def test_a_model_that_fails_gives_neutral_rewards_until_it_is_too_much() -> None:
    url, stop = serve(Act(status=500, message="out of memory"))
    try:
        settings: dict[str, Any] = {"model": "scripted", "base_url": url, "responses": 1, "workers": 1}
        logged: dict[str, float] = {}
        with CodeRMReward(**settings, failure_window=10, failure_share=0.5) as reward:
            prompts, completions = ["Write `solve(x)`, which returns x."] * 5, [CODE] * 4 + ["no code"]
            rewards = reward(prompts, completions, log_metric=logged.__setitem__)
            assert rewards == [0.0] * 5
            assert logged["coderm/infra_error"] == pytest.approx(0.8)
            with pytest.raises(
                TooManyFailuresError, match=r"infrastructure reasons.*unit tests could not be generated"
            ):
                reward(prompts, completions)
    finally:
        stop()


def test_a_failure_of_our_own_is_neutral_too(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """A sink that raises although it must not."""

    class Broken:
        def add(self, outcome: GroupOutcome) -> None:
            raise RuntimeError("disk full")

    prompts, completions = batch(1)
    with (
        caplog.at_level(logging.WARNING, "coderm_reward"),
        CodeRMReward(tests=TESTS, workers=1, sink=Broken(), failure_share=1.0) as reward,
    ):
        rewards = reward(prompts[:2], completions[:2])
    assert len(rewards) == 2
    assert all(math.isfinite(value) for value in rewards)
    assert "disk full" in caplog.text
