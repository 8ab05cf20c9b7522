"""Where a training's metrics go besides a file: wandb and tensorboard, each behind one tiny protocol.

They are imported on first use, and run in a thread of their own: a server that hangs holds nobody up.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from coderm_reward.training_config import LoggerName

__all__ = ["LoggerThread", "MetricLogger", "TensorboardLogger", "WandbLogger"]

_log = logging.getLogger("coderm_reward")
_CLOSE_SECONDS = 60.0


class MetricLogger(Protocol):
    """Takes the metrics of steps; may raise whatever it likes."""

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Take one step; the same one again replaces it or stands beside it."""
        ...

    def close(self) -> None:
        """Write out everything."""
        ...


class TensorboardLogger:
    """Event files beside those that verl writes: in its folder for this experiment, subfolder `reward`."""

    def __init__(self, project: str, experiment: str) -> None:
        from torch.utils.tensorboard import SummaryWriter  # type: ignore[attr-defined, unused-ignore]

        default = Path("tensorboard_log") / project / experiment
        self._writer = SummaryWriter(str(Path(os.environ.get("TENSORBOARD_DIR") or default) / "reward"))

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Add the step's scalars."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


class WandbLogger:
    """A run of its own, `<experiment>-reward`, in the experiment's group: another process than the trainer's
    cannot write into the trainer's run. Steps are an axis of their own, so late groups of a step find it."""

    def __init__(self, project: str, experiment: str) -> None:
        import wandb

        self._run = wandb.init(
            project=project,
            name=f"{experiment}-reward",
            group=experiment,
            job_type="reward",
            reinit="create_new",
        )
        self._run.define_metric("coderm/step", hidden=True)
        for prefix in ("coderm/*", "coderm_val/*"):
            self._run.define_metric(prefix, step_metric="coderm/step")

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Add the step."""
        self._run.log({**metrics, "coderm/step": step})

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


_KNOWN: dict[str, Callable[[str, str], MetricLogger]] = {
    "wandb": WandbLogger,
    "tensorboard": TensorboardLogger,
}


class LoggerThread:
    """Feeds loggers; one that is missing or fails is told of once and left out.

    Args:
        loggers: names, or loggers of the caller's own.
        project, experiment: what the trainer calls them.
    """

    def __init__(self, loggers: Sequence[LoggerName | MetricLogger], project: str, experiment: str) -> None:
        self._asked = tuple(loggers)
        self._names = (project, experiment)
        self._open: list[tuple[str, MetricLogger]] | None = None
        self._queue: queue.SimpleQueue[tuple[dict[str, float], int] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Hand a step to all loggers; returns at once."""
        if not self._asked:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="coderm metric loggers", daemon=True)
            self._thread.start()
        self._queue.put((dict(metrics), step))

    def close(self, timeout: float = _CLOSE_SECONDS) -> None:
        """Wait for the loggers to take everything, but not for ever."""
        if self._thread is None:
            return
        self._queue.put(None)
        self._thread.join(timeout)
        if self._thread.is_alive():
            _log.warning("metric loggers did not finish within %.0f s; metrics.jsonl has everything", timeout)
        self._thread = None

    def _run(self) -> None:
        while (step := self._queue.get()) is not None:
            if self._open is None:
                self._open = [logger for asked in self._asked for logger in self._opened(asked)]
            for name, logger in list(self._open):
                try:
                    logger.log(*step)
                except Exception as error:  # noqa: BLE001  (any failure of a logger costs that logger only)
                    self._left_out(name, error)
                    self._open.remove((name, logger))
        for name, logger in self._open or ():
            try:
                logger.close()
            except Exception as error:  # noqa: BLE001  (as above)
                self._left_out(name, error)

    def _opened(self, asked: LoggerName | MetricLogger) -> list[tuple[str, MetricLogger]]:
        if not isinstance(asked, str):
            return [(type(asked).__name__, asked)]
        try:
            return [(asked, _KNOWN[asked](*self._names))]
        except Exception as error:  # noqa: BLE001  (as above)
            self._left_out(asked, error)
            return []

    def _left_out(self, name: str, error: Exception) -> None:
        _log.warning(
            "metric logger %s is left out from here on (%s: %s); metrics.jsonl goes on",
            name,
            type(error).__name__,
            " ".join(str(error).split())[:300],
        )
