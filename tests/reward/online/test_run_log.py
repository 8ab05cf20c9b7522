"""What a training's rewards leave behind, on real files and threads."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from made_groups import made_group

from coderm_reward.data.records import read_records, replaced_records
from coderm_reward.data.sidecar import LineWriter
from coderm_reward.online.run_log import RunLog
from coderm_reward.online.step_book import STEPS_KEPT
from coderm_reward.rescoring import rescored


class Heard:
    """A logger of the caller's own that can be waited for, or made to fail or hang."""

    def __init__(self, work: Callable[[], None] = lambda: None) -> None:
        self.steps: list[tuple[int, dict[str, float]]] = []
        self.closed = 0
        self._work = work
        self._news = threading.Condition()

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self._work()
        with self._news:
            self.steps.append((step, dict(metrics)))
            self._news.notify_all()

    def close(self) -> None:
        self.closed += 1

    def wait_for(self, steps: int) -> None:
        with self._news:
            assert self._news.wait_for(lambda: len(self.steps) >= steps, timeout=60)


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_validation_is_written_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coderm_reward.online.run_log._VALIDATION_QUIET", 0.02)
    heard = Heard()
    log = RunLog(tmp_path, loggers=[heard], quiet_seconds=600)
    log.add(made_group(["PP"], group="t", step="1"))
    log.add(made_group(["PP"], group="v", step="1", validation=True))
    heard.wait_for(1)
    assert {"coderm/rollouts", "coderm_val/rollouts"} <= lines(tmp_path)[0].keys()
    log.close()


def test_groups_are_records_and_steps_are_lines(tmp_path: Path) -> None:
    groups = [made_group(["PF", "FF"], group=f"g{i}", step=str(i // 2)) for i in range(6)]
    validation = made_group(["PP"], group="v", step="1", validation=True)
    log = RunLog(tmp_path / "new" / "folder", run="my run")
    for group in [*groups[:4], validation, *groups[4:]]:
        log.add(group)
    log.close()
    folder = log.folder
    assert list(read_records(folder / "groups.jsonl")) == [group.record for group in groups]
    assert list(read_records(folder / "validation.groups.jsonl")) == [validation.record]
    written = lines(folder)
    assert [line["step"] for line in written] == [0, 1, 2]
    assert [line["coderm/groups"] for line in written] == [2, 2, 2]
    assert [line.get("coderm_val/acc") for line in written] == [None, 1.0, None]
    assert {line["run"] for line in written} == {"my run"}
    assert all(line["seconds"] >= 0 and line["time"] > 1.6e9 and "late" not in line for line in written)
    assert written[0]["coderm/watch/tampered"] == 0.0


def test_records_of_validation_say_that_no_truth_is_in_their_rewards(tmp_path: Path) -> None:
    """So that a replay gives them back."""
    weight = {"ground_truth_weight": 0.5}
    mixed, plain = made_group(["PF"], truth=[1], settings=weight), made_group(["PF"], truth=[1])
    plain = msgspec.structs.replace(
        plain, validation=True, record=msgspec.structs.replace(plain.record, config=mixed.record.config)
    )
    log = RunLog(tmp_path)
    log.add(mixed)
    log.add(plain)
    log.close()
    files = [tmp_path / name for name in ("groups.jsonl", "validation.groups.jsonl")]
    records = [record for file in files for record in read_records(file)]
    assert [record.rollouts[0].reward.score for record in records] == [0.75, 0.5]
    assert [rescored(record, record.config) == record for record in records] == [True, True]


def test_a_record_is_there_as_soon_as_the_group_was_taken(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.add(made_group(["PF"]))
    log.flush()
    assert len(list(read_records(tmp_path / "groups.jsonl"))) == 1
    assert [line["step"] for line in lines(tmp_path)] == [1]
    log.close()
    assert len(lines(tmp_path)) == 1


def test_a_step_is_written_when_a_later_one_begins_and_again_when_late_groups_come(tmp_path: Path) -> None:
    heard = Heard()
    log = RunLog(tmp_path, loggers=[heard])
    log.add(made_group(["PF"], group="a", step="1"))
    log.add(made_group(["PF"], group="b", step="2"))
    heard.wait_for(1)
    log.add(made_group(["PF", "PP"], group="a", step="1", late=1))
    heard.wait_for(2)
    assert [(line["step"], line.get("late", False)) for line in lines(tmp_path)] == [(1, False), (1, True)]
    log.close()
    first, update, second = lines(tmp_path)
    assert (first["coderm/rollouts"], first["coderm/late_siblings"]) == (1, 0)
    assert (update["coderm/rollouts"], update["coderm/late_siblings"], update["coderm/groups"]) == (2, 1, 1)
    assert second["step"] == 2
    assert [step for step, _ in heard.steps] == [1, 1, 2]
    assert heard.steps[2][1].items() <= second.items()
    assert heard.closed == 1
    records = list(read_records(tmp_path / "groups.jsonl"))
    assert [len(record.rollouts) for record in records] == [1, 1, 2]
    assert replaced_records(records) == {0}


def test_a_late_group_of_a_step_long_past_is_not_lost(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    for step in range(STEPS_KEPT + 3):
        log.add(made_group(["PF"], group=f"g{step}", step=str(step)))
    log.add(made_group(["FF"], group="late", step="0"))
    log.close()
    (line,) = [line for line in lines(tmp_path) if line.get("late")]
    assert (line["step"], line["partial"], line["coderm/groups"]) == (0, True, 1)
    assert list(read_records(tmp_path / "groups.jsonl"))[-1].group == "late"


def test_a_step_is_written_when_nothing_comes(tmp_path: Path) -> None:
    heard = Heard()
    log = RunLog(tmp_path, loggers=[heard], quiet_seconds=0.02)
    log.add(made_group(["PF"], group="a"))
    heard.wait_for(1)
    log.add(made_group(["PP"], group="b"))
    heard.wait_for(2)
    log.close()
    assert [line["coderm/groups"] for line in lines(tmp_path)] == [1, 2]


def test_waves_are_steps_where_the_loop_names_none(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    for wave in range(3):
        if wave != 1:
            log.add(made_group(["PP"], group=f"v{wave}", step=None, validation=True))
            log.end_wave()
        for group in range(2):
            log.add(made_group(["PF"], group=f"{wave}.{group}", step=None))
        log.end_wave()
    log.end_wave()
    log.close()
    again = RunLog(tmp_path)
    again.add(made_group(["PF"], group="after a restart", step=None))
    again.close()
    found = [(line["step"], "coderm_val/acc" in line, line.get("coderm/groups")) for line in lines(tmp_path)]
    assert found == [
        (0, True, None),
        (1, False, 2),
        (2, False, 2),
        (2, True, 2),
        (3, False, 2),
        (4, False, 1),
    ]


def test_steps_that_are_no_numbers_are_counted(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    for step in ("epoch one", "nan", "inf"):
        log.add(made_group(["PF"], group=step, step=step))
    log.add(made_group(["PF"], group="7", step="7.0"))
    log.close()
    assert [(line["step"], line["coderm/groups"]) for line in lines(tmp_path)] == [(1, 3), (7, 1)]


def test_a_full_queue_holds_back_and_drops_nothing(tmp_path: Path) -> None:
    log = RunLog(tmp_path, queue_size=1)
    group = made_group(["PF"])

    def add() -> None:
        for _ in range(50):
            log.add(group)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert len(list(read_records(tmp_path / "groups.jsonl"))) == 200


def test_a_restart_appends_after_a_line_cut_off_and_keeps_its_counters(tmp_path: Path) -> None:
    for step in ("1", "2"):
        log = RunLog(tmp_path)
        log.add(made_group(["XX", "XX"], group=step, step=step))
        log.close()
        for name in ("groups.jsonl", "metrics.jsonl"):
            with (tmp_path / name).open("a") as stream:
                stream.write('{"cut off')
    log = RunLog(tmp_path)
    log.add(made_group(["PP"], group="3", step="3"))
    log.close()
    assert [record.group for record in read_records(tmp_path / "groups.jsonl")] == ["1", "2", "3"]
    assert [line["coderm/watch/tampered"] for line in lines(tmp_path)] == [1, 2, 2]


def test_what_the_watch_sees_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = RunLog(tmp_path)
    for step in range(3):
        log.add(made_group(["XX", "XX", "PP"], group=f"g{step}", step=str(step)))
    log.close()
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "2 of 3 rollouts" in warning
    assert f"coderm-reward report {tmp_path / 'groups.jsonl'} --steps 0" in warning


def test_an_unwritable_folder_is_told_once_and_nothing_is_raised(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    heard = Heard()
    log = RunLog(tmp_path / "file" / "folder", loggers=[heard])
    for step in range(3):
        log.add(made_group(["PF"], group=f"g{step}", step=str(step)))
    log.close()
    errors = [record.getMessage() for record in caplog.records if "training.records" in record.getMessage()]
    assert len(errors) == 2  # one a file: groups and metrics
    assert "Not a directory" in errors[0]
    assert "3 lines of" in caplog.text
    assert [step for step, _ in heard.steps] == [0, 1, 2]


def test_a_folder_of_another_process_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with LineWriter(tmp_path / "groups.jsonl", resume=True) as other:
        other.write_line(b"{}")
        log = RunLog(tmp_path)
        log.add(made_group(["PF"]))
        log.close()
    assert "Another process is writing" in caplog.text
    assert (tmp_path / "groups.jsonl").read_bytes() == b"{}\n"


FULL_DISK = """
import logging, resource, sys
sys.path[:0] = [sys.argv[2]]
from made_groups import made_group
from coderm_reward.online.run_log import RunLog
logging.basicConfig(format="%(levelname)s %(message)s")
log = RunLog(sys.argv[1])
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
def add(step, groups):
    for i in range(groups):
        log.add(made_group(["PF"], group=f"{step}.{i}", step=str(step)))
    log.flush()
add(1, 3)
resource.setrlimit(resource.RLIMIT_FSIZE, (16000, hard))
add(2, 10)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
add(3, 1)
log.close()
"""


def test_a_full_disk_costs_lines_and_not_the_training(tmp_path: Path) -> None:
    """The limit on the size of a file stands for a disk that fills up and is cleared again."""
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    told = [line for line in done.stderr.splitlines() if "groups.jsonl" in line]
    assert [line.split()[0] for line in told] == ["ERROR", "WARNING"]
    assert "Training goes on" in told[0]
    groups = [record.group for record in read_records(tmp_path / "groups.jsonl")]
    assert groups[:3] == ["1.0", "1.1", "1.2"]
    assert groups[-1] == "3.0"
    assert f"{14 - len(groups)} lines of it are lost" in told[1]
    assert len(groups) < 14


def test_a_logger_that_fails_is_told_once_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise RuntimeError("the server\nsaid no")

    monkeypatch.setitem(sys.modules, "wandb", None)
    broken, sound = Heard(fail), Heard()
    log = RunLog(tmp_path, loggers=["wandb", broken, sound])
    for step in range(3):
        log.add(made_group(["PF"], group=f"g{step}", step=str(step)))
    log.close()
    warnings = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert len(warnings) == 2
    assert "metric logger wandb" in warnings[0]
    assert "RuntimeError: the server said no" in warnings[1]
    assert (len(sound.steps), sound.closed, broken.closed) == (3, 1, 0)
    assert len(lines(tmp_path)) == 3


def test_a_logger_that_hangs_holds_no_record_up(tmp_path: Path) -> None:
    held, asked = threading.Event(), threading.Event()

    def hang() -> None:
        asked.set()
        assert held.wait(60)

    log = RunLog(tmp_path, loggers=[Heard(hang)])
    for step in range(20):
        log.add(made_group(["PF"], group=f"g{step}", step=str(step)))
    log.flush()
    assert asked.wait(60)
    assert len(list(read_records(tmp_path / "groups.jsonl"))) == len(lines(tmp_path)) == 20
    held.set()
    log.close()


def test_closing_twice_and_adding_afterwards_are_harmless(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = RunLog(tmp_path)
    log.close()
    log.close()
    log.add(made_group(["PF"]))
    log.flush()
    assert "is closed" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_just_ends_has_written_everything(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path[:0] = [sys.argv[2]]\nfrom made_groups import made_group\n"
        "from coderm_reward.online.run_log import RunLog\nlog = RunLog(sys.argv[1])\n"
        "for i in range(30): log.add(made_group(['PF'], group=str(i)))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent)]
    subprocess.run(command, timeout=120, check=True)
    assert len(list(read_records(tmp_path / "groups.jsonl"))) == 30
    assert [line["coderm/groups"] for line in lines(tmp_path)] == [30]
