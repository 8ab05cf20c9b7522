"""What verl's plain reward functions share within a process: one scorer for each set of settings."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import msgspec

from coderm_reward.config import RewardConfig
from coderm_reward.errors import InputError
from coderm_reward.execution import make_executor, make_pool, started
from coderm_reward.generation.loop_thread import LoopThread
from coderm_reward.generation.sources import has_source
from coderm_reward.group_run import problem_and_solutions
from coderm_reward.integrations.ray_group_host import GroupSettings
from coderm_reward.integrations.ray_groups import RayScorer
from coderm_reward.integrations.ray_log import LogSettings
from coderm_reward.integrations.scorer_thread import ScorerThread
from coderm_reward.integrations.verl_samples import sample_from_fields
from coderm_reward.integrations.verl_settings import check_version, plain_settings, settings_from_kwargs
from coderm_reward.online.assembly import check_settings
from coderm_reward.online.guard import RewardGuard
from coderm_reward.online.truth import TruthJudge
from coderm_reward.types import Problem, RewardOutput, Rollout, RolloutGroup

__all__ = ["OfflineProcess", "TrainingProcess", "shared"]

T = TypeVar("T")
_lock = threading.Lock()
_made: dict[tuple[object, ...], Any] = {}


def shared(kind: Callable[..., T], settings: Mapping[str, Any], *more: str | None) -> T:
    """Return this process's object of a kind for these settings, made by the first who asks.

    Raises what making it raises, again and again.
    """
    key = (os.getpid(), kind, msgspec.json.encode(plain_settings(settings), order="deterministic"), *more)
    with _lock:
        if key not in _made:
            _made[key] = kind(settings, *more)
        found: T = _made[key]
    return found


class TrainingProcess:
    """A reward worker whose manager is verl's own: the client of the group actors.

    Raises:
        ConfigError: unknown or contradicting settings.
    """

    def __init__(self, settings: Mapping[str, Any], router: str | None) -> None:
        check_version()
        config = settings_from_kwargs(settings)
        if router is not None:
            generation = msgspec.structs.replace(config.generation, base_url=f"http://{router}/v1")
            config = msgspec.structs.replace(config, generation=generation)
        check_settings(config)
        log = LogSettings(
            folder=config.training.records or "coderm_records",
            loggers=config.training.loggers or (),
        )
        self.guard = RewardGuard(config)
        self._scorer = RayScorer(GroupSettings(config=config, log=log))

    async def score(
        self, response: str, ground_truth: Any, extra_info: Mapping[str, Any] | None
    ) -> RewardOutput:
        """Return the reward of a row; raises InputError where it has no prompt."""
        fields = {"extra_info": extra_info or {}, "reward_model": {"ground_truth": ground_truth}}
        return await self._scorer.score(sample_from_fields(fields, response))


class OfflineProcess:
    """A process of verl's offline evaluation: one sandbox worker, and a scorer where there are prompts.

    Raises:
        CodermError: unknown settings, or a sandbox that cannot be used.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        config = settings_from_kwargs(settings)
        sandbox = msgspec.structs.replace(config.sandbox, workers=config.sandbox.workers or 1)
        self._config = msgspec.structs.replace(config, sandbox=sandbox)
        self._has_tests = config.training.tests is not None or has_source(config.generation)
        self._judging: _JudgeThread | None = None
        self._scoring: ScorerThread | None = None
        self._lock = threading.Lock()

    def score(self, response: str, ground_truth: Any, extra_info: Mapping[str, Any] | None) -> float:
        """Return the reward where `extra_info` has a prompt and the settings say where tests come from, else
        whether the ground truth's tests pass.

        Raises:
            InputError: there is no reward, and nothing in the ground truth can be run.
        """
        if not self._has_tests:
            return self._truth(response, ground_truth)
        fields = {"extra_info": extra_info or {}, "reward_model": {"ground_truth": ground_truth}}
        try:
            sample = sample_from_fields(fields, response)
        except InputError:
            return self._truth(response, ground_truth)
        with self._lock:
            if self._scoring is None:
                self._scoring = ScorerThread(self._config)
                atexit.register(self._scoring.close)
        (output,) = self._scoring.submit([sample]).result()
        return output.score

    def _truth(self, response: str, ground_truth: Any) -> float:
        with self._lock:
            if self._judging is None:
                self._judging = _JudgeThread(self._config)
                atexit.register(self._judging.close)
        passed = self._judging.judge(response, ground_truth)
        if passed is None:
            raise InputError(
                "A row has neither a prompt in extra_info nor a ground truth with tests of a function that "
                "can be run, so nothing can be said of its response; prepare the data with "
                "scripts/prepare_data.py, or use `coderm-reward score` on the dump."
            )
        return float(passed)


class _JudgeThread:
    """The dataset's own tests, in a sandbox that lives in a thread of its own."""

    def __init__(self, config: RewardConfig) -> None:
        self._process = os.getpid()
        self._config = config
        self._stack = AsyncExitStack()
        self._thread = LoopThread("coderm-truth")
        try:
            self._judge = self._thread.submit(self._open()).result()
        except BaseException:
            self._thread.stop()
            raise

    async def _open(self) -> TruthJudge:
        pool = await self._stack.enter_async_context(started(make_pool(self._config.sandbox)))
        return TruthJudge(make_executor(pool, self._config, None))

    def judge(self, response: str, ground_truth: Any) -> bool | None:
        """Whether a response passes; None where that cannot be known."""
        group = RolloutGroup("", Problem("", ""), (Rollout(0, response),), "")
        problem, solutions = problem_and_solutions(group)
        (passed,) = self._thread.submit(self._judge.judge(problem, solutions, ground_truth)).result()
        return passed

    def close(self) -> None:
        """End the sandbox; does nothing in a fork."""
        if os.getpid() == self._process:
            self._thread.submit(self._stack.aclose()).result()
            self._thread.stop()
