"""One actor that writes the run log of a training (online.run_log), and what sends it groups."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, deque
from pathlib import Path
from typing import Any

import msgspec

from coderm_reward.online.run_log import RunLog, last_step
from coderm_reward.online.sample import GroupOutcome
from coderm_reward.online.step_book import STEPS_KEPT
from coderm_reward.training_config import LoggerName
from coderm_reward.types import content_hash

__all__ = ["WAVE", "LogHost", "LogSettings", "RemoteLog", "Waves"]

_log = logging.getLogger("coderm_reward")
_KEPT = 4096
"""Groups that wait for the log at most, while it is away."""
_BATCH = 64
_QUIET_SECONDS = 10.0
_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
"""Seconds before a log that is lost is made anew, twice as many each time that it could not be had."""
WAVE = "wave "
"""Begins the step of a rollout that came in a batch of which nobody said which step it is."""
_HEAD = "node:__internal_head__"


class LogSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where groups and metrics go."""

    folder: str
    """On the head node; a relative path starts where Ray's workers there do."""
    loggers: tuple[LoggerName, ...] = ()
    run: str = ""
    project: str | None = None
    experiment: str | None = None
    groups_per_step: int | None = None
    """Training groups of a step."""

    @property
    def name(self) -> str:
        """Name of the actor."""
        return f"coderm-log-{content_hash(msgspec.json.encode(self, order='deterministic').decode())}"


class Waves:
    """Numbers of steps for waves of rollouts: each with training groups is one, validation is of the last.

    Args:
        last: the last step of an earlier process in the same folder.
    """

    def __init__(self, last: int = 0) -> None:
        self._last = last
        self._steps: dict[int, int] = {}

    def numbered(self, outcome: GroupOutcome) -> GroupOutcome:
        """The outcome with a number for its step, if that is a wave."""
        step = outcome.record.step
        if step is None or not step.startswith(WAVE):
            return outcome
        wave = int(step.removeprefix(WAVE))
        if not outcome.validation and wave not in self._steps:
            self._last += 1
            self._steps[wave] = self._last
            for old in sorted(self._steps)[:-STEPS_KEPT]:
                del self._steps[old]
        record = msgspec.structs.replace(outcome.record, step=str(self._steps.get(wave, self._last)))
        return msgspec.structs.replace(outcome, record=record)


class LogHost:
    """The actor."""

    def __init__(self, settings: LogSettings) -> None:
        self._log = RunLog(
            Path(settings.folder).absolute(),
            loggers=settings.loggers,
            run=settings.run,
            project=settings.project,
            experiment=settings.experiment,
            quiet_seconds=_QUIET_SECONDS,
        )
        self._waves = Waves(last_step(Path(settings.folder)))
        self._per_step = settings.groups_per_step
        self._groups: Counter[str | None] = Counter()

    def add(self, outcomes: list[GroupOutcome]) -> None:
        """Take scored groups; a step that has as many as there are in one is written at once."""
        for outcome in map(self._waves.numbered, outcomes):
            self._log.add(outcome)
            if self._per_step and not outcome.validation and not outcome.late:
                self._count(outcome.record.step, self._per_step)

    def _count(self, step: str | None, whole: int) -> None:
        self._groups[step] += 1
        if self._groups[step] == whole:
            if step is None:
                del self._groups[step]
                self._log.end_wave()
            elif step.isdecimal():
                self._log.end_step(int(step))  # a training may end now, and take this process along
        while len(self._groups) > STEPS_KEPT:
            del self._groups[next(iter(self._groups))]

    def flush(self) -> None:
        """Write every step that has news."""
        self._log.flush()


class RemoteLog:
    """The sink (online.sample.GroupSink) in a group actor; also its async context manager.

    Groups wait here until the log has them. A log that is lost is made anew and goes on with the files that
    there are; what it had in hand is sent again.
    """

    def __init__(self, settings: LogSettings) -> None:
        self._settings = settings
        self._waiting: deque[GroupOutcome] = deque()
        self._lost = 0
        self._news = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._leaving = asyncio.Event()
        self._actor: Any = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> RemoteLog:
        self._host()
        self._task = asyncio.create_task(self._send())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.drain()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def add(self, outcome: GroupOutcome) -> None:
        """Take a scored group."""
        if len(self._waiting) >= _KEPT:
            self._waiting.popleft()
            self._lost += 1
            if self._lost == 1:
                _log.error("the run log does not keep up or cannot be had; the oldest groups go unrecorded")
        self._waiting.append(outcome)
        self._idle.clear()
        self._news.set()

    async def drain(self, timeout: float = 10.0) -> None:
        """Return when the log has everything, or has not had it for so many seconds."""
        self._leaving.set()
        try:
            await asyncio.wait_for(self._idle.wait(), timeout)
        except asyncio.TimeoutError:
            _log.error("%d groups could not be handed to the run log", len(self._waiting))

    async def _send(self) -> None:
        told, pause = "", _PAUSE
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
                try:
                    await self._host().add.remote(batch)
                    told, pause = "", _PAUSE
                except Exception as error:  # noqa: BLE001 - the sender has to outlive it
                    if not _is_of_the_actor(error):
                        what = (str(error).splitlines() or [repr(error)])[-1]
                        _log.error("%d groups cannot be recorded (%s)", len(batch), what)
                        continue
                    why = (str(error).splitlines() or [""])[0]
                    if why != told:
                        _log.warning("the run log is made anew (%s)", why)
                    self._actor, told = None, why
                    self._waiting.extendleft(reversed(batch))
                    await asyncio.sleep(_PAUSE)
                    with contextlib.suppress(asyncio.TimeoutError):  # nothing to save up for by then
                        await asyncio.wait_for(self._leaving.wait(), pause - _PAUSE)
                    pause = min(2 * pause, _LONGEST_PAUSE)
            self._idle.set()

    def _host(self) -> Any:
        if self._actor is None:
            import ray

            head = {_HEAD: 0.001} if _HEAD in ray.cluster_resources() else {}
            self._actor = (
                ray.remote(LogHost)
                .options(
                    name=self._settings.name,
                    namespace=ray.get_runtime_context().namespace,
                    get_if_exists=True,
                    num_cpus=0,
                    resources=head,
                )
                .remote(self._settings)
            )
        return self._actor


def _is_of_the_actor(error: Exception) -> bool:
    """Whether the actor is gone, or its name; what it raised itself it would raise again."""
    from ray.exceptions import RayError, RayTaskError

    return isinstance(error, RayError | ValueError) and not isinstance(error, RayTaskError)
