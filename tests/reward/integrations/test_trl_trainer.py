"""TRL's real GRPOTrainer with our reward function, in one process and in two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")
pytestmark = pytest.mark.verl

SCRIPT = Path(__file__).with_name("trl_training.py")


def train(folder: Path, kind: str, processes: int) -> list[dict[str, Any]]:
    """Run the script; what each process saw."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command = [sys.executable, *(launcher if processes > 1 else []), str(SCRIPT), str(folder / "out"), kind]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "TRL_EXPERIMENTAL_SILENCE": "1",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads((folder / f"out.{rank}").read_text("utf-8")) for rank in range(processes)]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_training_in_one_process(tmp_path: Path, kind: str) -> None:
    [saw] = train(tmp_path, kind, 1)
    first, second = saw["calls"]
    assert [len(first), len(second)] == [8, 8]
    assert {tuple(row) for row in first} != {tuple(row) for row in second}
    assert sorted((g["task"], g["step"], len(g["scores"])) for g in saw["groups"]) == [
        ("first", "0", 4),
        ("first", "1", 4),
        ("second", "0", 4),
        ("second", "1", 4),
    ]
    logged = [entry for entry in saw["log"] if "reward" in entry]
    assert len(logged) == 2
    for entry, call in zip(logged, saw["calls"], strict=True):
        mean = sum(score for _, score in call) / 8
        assert entry["rewards/coderm_reward/mean"] == pytest.approx(mean, abs=1e-4)
        assert entry["coderm/score"] == pytest.approx(mean, abs=1e-4)
        assert entry["coderm/infra_error"] == 0.0


def test_groups_that_lie_across_processes_are_put_together(tmp_path: Path) -> None:
    """Each of two processes has two of the four siblings; one of the two scores all four."""
    saw = train(tmp_path, "sync", 2)
    assert [len(call) for process in saw for call in process["calls"]] == [2, 2, 2, 2]
    groups = [group for process in saw for group in process["groups"]]
    assert [len(group["scores"]) for group in groups] == [4, 4]
    for step, calls in enumerate(zip(*(process["calls"] for process in saw), strict=True)):
        asked = [row for call in calls for row in call]
        [group] = [group for group in groups if group["step"] == str(step)]
        assert {task for task, _ in asked} == {group["task"]}
        assert [score for _, score in asked] == group["scores"]
