"""The real wandb (offline) and tensorboard."""

from __future__ import annotations

import logging
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("tensorboard")
pytest.importorskip("wandb")

from made_groups import made_group

from coderm_reward.online.run_log import RunLog

pytestmark = pytest.mark.verl


def write(folder: Path, logger: str) -> None:
    """Three steps, the second of which has a late group."""
    log = RunLog(folder / "records", loggers=[logger], project="a project", experiment="grpo")  # type: ignore[list-item]
    for step in (1, 2, 3):
        log.add(made_group(["PF", "PP"], group=f"g{step}", step=str(step)))
    log.add(made_group(["FF"], group="late", step="2"))
    log.close()


def test_tensorboard_holds_every_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TENSORBOARD_DIR", raising=False)
    write(tmp_path, "tensorboard")
    events = EventAccumulator(str(tmp_path / "tensorboard_log" / "a project" / "grpo" / "reward"))
    events.Reload()
    rewards = [(event.step, event.value) for event in events.Scalars("coderm/reward/mean")]
    assert rewards == [(1, 0.75), (2, 0.75), (2, 0.5), (3, 0.75)]
    assert "coderm/watch/tampered" in events.Tags()["scalars"]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_tensorboard_goes_where_verl_is_told_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENSORBOARD_DIR", str(tmp_path / "board"))
    write(tmp_path, "tensorboard")
    assert list((tmp_path / "board" / "reward").glob("events.out.tfevents.*"))


OFFLINE = """
import sys
from pathlib import Path
sys.path[:0] = [sys.argv[2]]
import wandb
trainer = wandb.init(project="a project", name="grpo")
from test_real_loggers import write
write(Path(sys.argv[1]), "wandb")
trainer.log({"actor/loss": 1.0})
trainer.finish()
"""


def test_wandb_has_a_run_of_its_own_beside_the_trainers(tmp_path: Path) -> None:
    """In a process of its own, with the trainer's run in the same one, as it is in TRL."""
    env = {**os.environ, "WANDB_MODE": "offline", "WANDB_DIR": str(tmp_path), "WANDB_SILENT": "true"}
    command = [sys.executable, "-c", OFFLINE, str(tmp_path), str(Path(__file__).parent)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "left out" not in done.stderr
    runs = [read_run(path) for path in sorted(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))]
    (trainer,) = [run for run in runs if run["name"] == "grpo"]
    (reward,) = [run for run in runs if run["name"] == "grpo-reward"]
    assert (reward["project"], reward["group"], reward["job_type"]) == ("a project", "grpo", "reward")
    assert [row["coderm/step"] for row in reward["history"]] == ["1", "2", "2", "3"]
    assert [row["coderm/reward/mean"] for row in reward["history"]] == ["0.75", "0.75", "0.5", "0.75"]
    assert ("coderm/*", "coderm/step") in reward["axes"]
    assert [set(row) & {"coderm/step", "actor/loss"} for row in trainer["history"]] == [{"actor/loss"}]


def scanned(data: bytes) -> Iterator[bytes]:
    """The entries of a LevelDB log: a header of 7 bytes, blocks of 32 KiB, (crc, length, type) and data."""
    place, parts = 7, b""
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        parts += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def read_run(path: Path) -> dict[str, object]:
    """What an offline run file holds."""
    from wandb.proto import wandb_internal_pb2

    found: dict[str, object] = {"history": [], "axes": set()}
    for data in scanned(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            found |= {"name": run.display_name, "project": run.project, "group": run.run_group}
            found["job_type"] = run.job_type
        elif kind == "history":
            found["history"].append(  # type: ignore[attr-defined]
                {item.key or "/".join(item.nested_key): item.value_json for item in record.history.item}
            )
        elif kind == "metric":
            metric = record.metric
            found["axes"].add((metric.name or metric.glob_name, metric.step_metric))  # type: ignore[attr-defined]
    return found
