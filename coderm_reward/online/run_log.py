"""Everything that a training's rewards leave behind: group records, metrics by step, warnings.

A folder: `groups.jsonl` and `validation.groups.jsonl` (records as `coderm-reward score` writes them, appended
as groups are answered) and `metrics.jsonl` (a line per step; a later line of a step, `late`, takes its place,
unless it is `partial`: about late groups alone of a step so old that its others are not kept).
"""

from __future__ import annotations

import atexit
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from coderm_reward.data.sidecar import LineWriter, record_line
from coderm_reward.errors import OutputError
from coderm_reward.online.group_figures import GroupFigures, group_figures
from coderm_reward.online.metric_loggers import LoggerThread, MetricLogger
from coderm_reward.online.sample import GroupOutcome
from coderm_reward.online.step_book import StepBook
from coderm_reward.online.step_metrics import figures_metrics
from coderm_reward.online.watch import Watch
from coderm_reward.training_config import LoggerName

__all__ = ["RunLog", "last_step"]

_log = logging.getLogger("coderm_reward")
_TAIL_BYTES = 16 << 20
"""So much of an earlier process's metrics is looked back on."""
_VALIDATION_QUIET = 1.0
"""A training often ends right after its last validation, and may take this process along without a word."""


class RunLog:
    """GroupSink (online.sample) that writes a folder, and feeds loggers. It never raises.

    All work is done in a thread of its own, group by group in the order of `add`; only where that is
    `queue_size` groups behind does `add` wait for it. An existing folder is appended to.

    Args:
        folder: where; made if it is not there.
        loggers: names, or loggers of the caller's own.
        run: label of the training run, in every line.
        project, experiment: as the trainer tells wandb and tensorboard.
        quiet_seconds: a step with news is written when nothing has come for so long; sooner in validation.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        loggers: Sequence[LoggerName | MetricLogger] = (),
        run: str = "",
        project: str | None = None,
        experiment: str | None = None,
        quiet_seconds: float = 30.0,
        queue_size: int = 1024,
    ) -> None:
        self.folder = Path(folder)
        self._run = run
        self._quiet = quiet_seconds
        self._groups, self._validation, self._metrics = (
            _Appended(self.folder / name)
            for name in ("groups.jsonl", "validation.groups.jsonl", "metrics.jsonl")
        )
        self._loggers = LoggerThread(loggers, project or "coderm-reward", experiment or run or "training")
        self._watch = Watch(str(self.folder / "groups.jsonl"))
        self._book = StepBook()
        self._written: set[int] = set()
        self._began = time.monotonic()
        self._complained = False
        self._queue: queue.Queue[GroupOutcome | Callable[[], None] | None] = queue.Queue(queue_size)
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="coderm run log", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def add(self, outcome: GroupOutcome) -> None:
        """Take a scored group; its record is written as soon as those before it are."""
        self._put(outcome)

    def end_wave(self) -> None:
        """Where the loop names no steps: what came since the last call was one, and is written."""
        self._put(self._end_wave)

    def end_step(self, step: int) -> None:
        """All groups of a step were added: it is written."""
        self._put(partial(self._write_steps, everything=False, whole=step))

    def flush(self) -> None:
        """Write every step that has news, and return when that is done."""
        done = threading.Event()

        def write() -> None:
            try:
                self._write_steps(everything=True)
            finally:
                done.set()

        if self._put(write):
            done.wait()

    def close(self) -> None:
        """Write everything that was added and let go of the files; a second call does nothing."""
        with self._lock:
            if self._closed:
                return
            self._queue.put(None)
            self._closed = True
        atexit.unregister(self.close)
        self._thread.join()
        self._loggers.close()

    def _put(self, item: GroupOutcome | Callable[[], None]) -> bool:
        with self._lock:
            if not self._closed:
                self._queue.put(item)
                return True
        _log.warning("the run log %s is closed; what comes now is not recorded", self.folder)
        return False

    def _work(self) -> None:
        self._safely(self._restore)
        quiet = self._quiet
        while True:
            try:
                item = self._queue.get(timeout=quiet)
            except queue.Empty:
                quiet = self._quiet
                self._safely(partial(self._write_steps, everything=True))
                continue
            if item is None:
                break
            validates = isinstance(item, GroupOutcome) and item.validation
            quiet = min(self._quiet, _VALIDATION_QUIET) if validates else self._quiet
            self._safely(partial(self._take, item) if isinstance(item, GroupOutcome) else item)
        self._safely(partial(self._write_steps, everything=True))
        for file in (self._groups, self._validation, self._metrics):
            file.close()

    def _safely(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  (a sink never takes the training down)
            if not self._complained:
                self._complained = True
                _log.error(
                    "the run log %s is incomplete (%s: %s); training goes on",
                    self.folder,
                    type(error).__name__,
                    error,
                )

    def _restore(self) -> None:
        """Go on from what an earlier process wrote."""
        last = 0
        for step, metrics in _last_lines(self.folder / "metrics.jsonl"):
            self._watch.restore(step, metrics)
            last = max(last, step)
        self._book = StepBook(last)

    def _take(self, outcome: GroupOutcome) -> None:
        record = outcome.record
        if outcome.validation:  # where no reward has a share of the truth, whatever training has
            training = msgspec.structs.replace(record.config.training, ground_truth_weight=0.0)
            config = msgspec.structs.replace(record.config, training=training)
            self._validation.write(record_line(msgspec.structs.replace(record, config=config)))
        else:
            self._groups.write(record_line(record))
        self._book.add(record.step, group_figures(outcome))
        self._write_steps(everything=False)

    def _end_wave(self) -> None:
        self._book.end_wave()
        self._write_steps(everything=True)

    def _write_steps(self, everything: bool, whole: int | None = None) -> None:
        for step, groups in self._book.due(everything, whole).items():
            self._write_step(step, groups)

    def _write_step(self, step: int, groups: Sequence[GroupFigures]) -> None:
        metrics = figures_metrics(groups)
        rest = self._book.incomplete(step)
        if not rest:
            counters, warnings = self._watch.see(step, metrics)
            metrics |= counters
            for warning in warnings:
                _log.warning("%s", warning)
        head = {
            "step": step,
            "run": self._run,
            "time": time.time(),
            "seconds": round(time.monotonic() - self._began, 3),
            **({"late": True} if step in self._written else {}),
            **({"partial": True} if rest else {}),
        }
        self._written.add(step)
        self._metrics.write(msgspec.json.encode({**head, **metrics}))
        if not rest:
            self._loggers.log(metrics, step)


class _Appended:
    """A file that lines are appended to; where it cannot be written this is told once, and tried again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: LineWriter | None = None
        self._lost = 0

    def write(self, line: bytes) -> None:
        try:
            self._writer = self._writer or LineWriter(self._path, resume=True, option="training.records")
            self._writer.write_line(line)
        except OutputError as error:
            if not self._lost:
                _log.error("%s Training goes on without these lines.", error)
            self._lost += 1
            return
        if self._lost:
            _log.warning("%s can be written again; %d lines of it are lost", self._path, self._lost)
            self._lost = 0

    def close(self) -> None:
        try:
            if self._writer is not None:
                self._writer.close()
        except OutputError as error:
            _log.error("%s", error)
        if self._lost:
            _log.error("%d lines of %s could not be written", self._lost, self._path)


def last_step(folder: Path) -> int:
    """Return the last step that an earlier process wrote metrics of; 0 where there is none."""
    return max((step for step, _ in _last_lines(folder / "metrics.jsonl")), default=0)


def _last_lines(path: Path) -> list[tuple[int, Mapping[str, float]]]:
    """(step, metrics) of each step in the last part of a file of metrics, in order of steps."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - _TAIL_BYTES))
            lines = stream.read().split(b"\n")[1 if size > _TAIL_BYTES else 0 : -1]
    except OSError:
        return []
    found: dict[int, Mapping[str, float]] = {}
    for line in lines:
        try:
            row = msgspec.json.decode(line, type=dict[str, object])
        except msgspec.DecodeError:
            continue
        if isinstance(step := row.get("step"), int) and not row.get("partial"):
            found[step] = {k: v for k, v in row.items() if "/" in k and isinstance(v, float)}
    return sorted(found.items())
