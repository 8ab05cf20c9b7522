"""The reward as a TRL reward function: `GRPOTrainer(..., reward_funcs=CodeRMReward("reward.yaml"))`.

No module of TRL is imported here; what it calls is `reward(prompts=..., completions=..., **columns)`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import statistics
import threading
import uuid
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from coderm_reward.config import RewardConfig, load_config
from coderm_reward.errors import CodermError
from coderm_reward.integrations.scorer_thread import ScorerThread
from coderm_reward.integrations.trl_batch import grouped, samples_from_batch
from coderm_reward.integrations.trl_ranks import Ranks, local_processes, share_of_cores
from coderm_reward.online.answers import no_reward
from coderm_reward.online.assembly import check_settings
from coderm_reward.online.causes import failure_cause
from coderm_reward.online.failure_window import FailureWindow
from coderm_reward.online.run_log import RunLog
from coderm_reward.online.sample import GroupOutcome, GroupSink, Sample
from coderm_reward.types import RewardOutput
from coderm_sandbox import usable_cores

__all__ = ["AsyncCodeRMReward", "CodeRMReward"]

_log = logging.getLogger("coderm_reward")
_NO_EVIDENCE = "it took longer than training.answer_timeout"
_RECORDS = "coderm_records"
_MARGIN = 60.0
"""Seconds beyond the scorer's own deadline after which it is given up."""


@dataclass(frozen=True)
class _Share:
    """What a process tells the others of the groups that it scored."""

    rewards: dict[int, RewardOutput] = field(default_factory=dict)
    """By place in the whole batch."""
    causes: dict[int, str] = field(default_factory=dict)
    """Why a place has no reward of its own, where we failed."""
    error: CodermError | None = None
    """What ends the training."""


class _Listener:
    """Hears of every group (GroupSink): keeps why some have no reward of their own, and passes them on."""

    def __init__(self, *further: GroupSink) -> None:
        self.causes: dict[str, str] = {}
        """By uid."""
        self._further = further

    def add(self, outcome: GroupOutcome) -> None:
        """Take a scored group."""
        if outcome.record.uid is not None and (cause := failure_cause(outcome.record)) is not None:
            self.causes[outcome.record.uid] = cause
        for sink in self._further:
            sink.add(outcome)


class CodeRMReward:
    """A reward function for TRL's GRPO and RLOO trainers; also a context manager.

    A group is all completions of one prompt in a batch. With several processes (accelerate, torchrun) all
    of them have to call it together, as TRL's trainers do: groups that lie across processes are put together
    and shared out again, so that siblings are scored with the same tests and tests are generated once.

    Sandbox and model connections are opened by the first call and closed by `close`, the end of a `with`
    block or of the process; each process has its share of the cores, unless `workers` says how many. Group
    records and metrics go to the folder `training.records`, `coderm_records` by default, with a subfolder for
    each of several processes (docs/metrics.md).

    Args:
        config: a YAML file or a mapping of settings (coderm_reward.config); single ones as keywords.
        num_generations: GRPOConfig's. Without it a prompt that is twice in a batch makes one larger group.
        sink: hears of every group that this process scored, besides the run log in `training.records`.
        run: label of the records.
        name: what TRL calls this reward in its logs.
        gather: whether the processes of a training put their groups together.

    Raises:
        ConfigError: unknown or contradicting settings.
    """

    def __init__(
        self,
        config: str | Path | Mapping[str, Any] | None = None,
        *,
        num_generations: int | None = None,
        sink: GroupSink | None = None,
        run: str = "",
        name: str = "coderm_reward",
        gather: bool = True,
        **settings: Any,
    ) -> None:
        self.__name__ = name
        self.config = load_config(config, **settings)
        check_settings(self.config)
        self._num_generations = num_generations
        self._sink = sink
        self._run = run
        self._gather = gather
        self._reset()

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float]:
        """Return one finite reward for each completion.

        Args:
            prompts, completions: text, or lists of messages.
            columns: of the data set, one value for each completion. Used are ground_truth (or tests, answer),
                task_id, entry_point, reference, pass_rate; and of TRL's own trainer_state and log_metric.

        Raises:
            CodermError: the sandbox cannot be started, or too many rewards failed (TooManyFailuresError).
        """
        ranks = self._begin()
        samples = samples_from_batch(prompts, completions, columns, run=self._run)
        return _answer(self._score(ranks, samples), columns.get("log_metric"))

    def close(self) -> None:
        """Close sandbox and connections; a second call does nothing, a later use opens them again."""
        self._finalizer()
        self._reset()

    def __enter__(self) -> CodeRMReward:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs to have one of its own; a sink must be picklable."""
        names = ("__name__", "config", "_num_generations", "_sink", "_run", "_gather")
        return {name: self.__dict__[name] for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def _reset(self) -> None:
        """Be as new, or as new in another process."""
        self._process = os.getpid()
        self._thread: ScorerThread | None = None
        self._ranks: Ranks | None = None
        self._listener = _Listener()
        self._opening = threading.Lock()
        self._finalizer: Callable[[], object] = lambda: None
        training = self.config.training
        self._window = FailureWindow(training.failure_share, training.failure_window)

    def _begin(self) -> Ranks:
        """Have what a call needs."""
        if self._process != os.getpid():
            self._reset()
        if self._ranks is None:
            patience = self.config.training.answer_timeout + 2 * _MARGIN
            self._ranks = Ranks(patience) if self._gather else Ranks(patience, alone=True)
        return self._ranks

    def _opened(self, ranks: Ranks) -> ScorerThread:
        with self._opening:
            if self._thread is None:
                self._thread = self._open(ranks)
            return self._thread

    def _open(self, ranks: Ranks) -> ScorerThread:
        training = self.config.training
        folder = Path(training.records or _RECORDS)
        folder = folder / f"rank-{ranks.rank}" if ranks.size > 1 else folder
        log = RunLog(folder, loggers=training.loggers or (), run=self._run)
        try:
            self._listener = _Listener(log, *([] if self._sink is None else [self._sink]))
            thread = ScorerThread(self._settings_here(), sink=self._listener, run=self._run)
        except BaseException:
            log.close()
            raise
        self._finalizer = weakref.finalize(self, _end, thread, log)
        return thread

    def _settings_here(self) -> RewardConfig:
        """The settings with this process's share of the cores."""
        sandbox = self.config.sandbox
        if sandbox.workers is None and (processes := local_processes()) > 1:
            workers = share_of_cores(usable_cores(), processes)
            sandbox = msgspec.structs.replace(sandbox, workers=workers)
        return msgspec.structs.replace(self.config, sandbox=sandbox)

    def _score(self, ranks: Ranks, samples: Sequence[Sample]) -> list[RewardOutput]:
        """Return the rewards of this process's samples, in order."""
        batches = ranks.exchange(list(samples))
        everything = [sample for batch in batches for sample in batch]
        shares = ranks.exchange(self._share(everything, ranks))
        if errors := [share.error for share in shares if share.error is not None]:
            raise errors[0]
        rewards = {place: reward for share in shares for place, reward in share.rewards.items()}
        causes = {place: cause for share in shares for place, cause in share.causes.items()}
        for place in range(len(everything)):
            self._window.add(causes.get(place))
        first = sum(map(len, batches[: ranks.rank]))
        return [rewards[place] for place in range(first, first + len(samples))]

    def _share(self, samples: Sequence[Sample], ranks: Ranks) -> _Share:
        """Score the groups that are this process's part of all of them; every process decides alike."""
        groups = grouped(samples, self._num_generations)[ranks.rank :: ranks.size]
        try:
            thread = self._opened(ranks)
        except CodermError as error:
            return _Share(error=error)
        call = uuid.uuid4().hex
        places = [place for group in groups for place in group]
        asked = [
            msgspec.structs.replace(
                samples[place], uid=f"{call}-{number}", member=str(place), siblings=len(group)
            )
            for number, group in enumerate(groups)
            for place in group
        ]
        future = thread.submit(asked)
        try:
            rewards = future.result(self.config.training.answer_timeout + _MARGIN)
        except Exception as error:  # noqa: BLE001 - a failure of ours is no end of the training
            future.cancel()
            why = f"the reward failed ({type(error).__name__}: {error})"
            _log.exception("%s; %d rollouts get the neutral reward", why, len(places))
            neutral = no_reward(self.config.scoring)
            return _Share(dict.fromkeys(places, neutral), dict.fromkeys(places, why))
        except BaseException:  # Ctrl-C: nobody waits for it any more
            future.cancel()
            raise
        told = dict(zip(places, rewards, strict=True))
        failed = {
            place: sample.uid or ""
            for place, sample in zip(places, asked, strict=True)
            if told[place].infra_error > 0
        }
        heard = {uid: self._listener.causes.pop(uid, _NO_EVIDENCE) for uid in set(failed.values())}
        return _Share(told, {place: heard[uid] for place, uid in failed.items()})


class AsyncCodeRMReward(CodeRMReward):
    """The same for TRL versions that await reward functions, which then run side by side.

    Args as of CodeRMReward. TRL calls all its asynchronous reward functions in their order on every process,
    and then waits for them together.
    """

    async def __call__(  # type: ignore[override]
        self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> list[float]:
        """Return one finite reward for each completion; see CodeRMReward."""
        ranks = self._begin()  # before anything is awaited: processes make their groups in the same order
        samples = samples_from_batch(prompts, completions, columns, run=self._run)
        return _answer(await asyncio.to_thread(self._score, ranks, samples), columns.get("log_metric"))


def _end(thread: ScorerThread, log: RunLog) -> None:
    """Close both, in the process that opened them."""
    if thread.process == os.getpid():
        thread.close()
        log.close()


def _answer(rewards: Sequence[RewardOutput], log_metric: Any) -> list[float]:
    """Tell TRL's log the mean of every component, where it listens, and return the scalar rewards."""
    if callable(log_metric) and rewards:
        for name in RewardOutput.__struct_fields__:
            log_metric(f"coderm/{name}", statistics.fmean(getattr(reward, name) for reward in rewards))
    return [reward.score for reward in rewards]
