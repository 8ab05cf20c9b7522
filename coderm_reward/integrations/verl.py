"""The reward inside verl's PPO and GRPO loops (0.8 and 0.9); an adapter without any scoring of its own.

Two lines of configuration load it, wherever verl runs its reward model or none (docs/verl.md):

    reward.reward_manager.source=importlib
    reward.reward_manager.name=CodeRMRewardManager
    reward.reward_manager.module.path=pkg://coderm_reward.integrations.verl
    reward.custom_reward_function.path=pkg://coderm_reward.integrations.verl

and our settings follow as `+reward.custom_reward_function.reward_kwargs.config_path=reward.yaml`, or one by
one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from coderm_reward.integrations.ray_groups import RayScorer
from coderm_reward.integrations.ray_log import WAVE
from coderm_reward.integrations.verl_process import OfflineProcess, TrainingProcess, shared
from coderm_reward.integrations.verl_samples import sample_from_fields
from coderm_reward.integrations.verl_settings import check_version, group_settings, is_batched
from coderm_reward.online.guard import RewardGuard
from coderm_reward.online.sample import Sample
from coderm_reward.types import RewardOutput

__all__ = ["CodeRMRewardManager", "compute_score", "compute_score_sync"]

_START_SECONDS = 300.0
_log = logging.getLogger("coderm_reward")

_Base: Any = object
with contextlib.suppress(ImportError):  # what is missing is told by whoever needs it
    from verl.experimental.reward_loop.reward_manager.base import (  # type: ignore[no-redef]
        RewardManagerBase as _Base,
    )

_LET_IN = 1000
"""Calls that Ray lets into an asynchronous actor at a time, where its owner says nothing of it, as verl."""
_CROWDED = (
    "%d rollouts wait in this reward worker, and Ray lets no more in: others meet their siblings late, "
    "and groups may be scored in parts; raise reward.num_workers until each has well below as many of the "
    "rollouts of a step"
)


class CodeRMRewardManager(_Base):  # type: ignore[misc]
    """verl's reward manager: one in each of its reward workers, all of them clients of the same group actors.

    Needs of a row no more than its prompt (`raw_prompt`, or the prompt's tokens) and its response, and uses
    `uid`, `extra_info` and `reward_model` where verl hands them over. Rewards are never missing: what fails
    of ours is the neutral reward with `infra_error`.

    Raises:
        CodermError: at the start, for settings, files or a sandbox that cannot be used, or an old verl.
    """

    def __init__(
        self,
        config: Any,
        tokenizer: Any,
        compute_score: Any = None,
        reward_router_address: str | None = None,
        reward_model_tokenizer: Any = None,
        **_unused: Any,
    ) -> None:
        check_version()
        super().__init__(config, tokenizer, compute_score)
        settings = group_settings(config, reward_router_address)
        self._run = settings.run
        self._guard = RewardGuard(settings.config)
        self._batched = is_batched(config)
        self._wave = self._in_flight = 0
        self._wave_is_over = True
        self._crowded = False
        self._scorer = RayScorer(settings)
        self._scorer.start(_START_SECONDS)

    async def run_single(self, data: Any) -> dict[str, Any]:
        """Return `reward_score` and, in `reward_extra_info`, the flat schema of RewardOutput.

        Raises:
            TooManyFailuresError: see training.failure_share.
        """
        if self._wave_is_over:
            self._wave += 1
            self._wave_is_over = False
        self._in_flight += 1
        if self._in_flight == _LET_IN and not (self._batched or self._crowded):
            self._crowded = True
            _log.warning(_CROWDED, _LET_IN)
        try:
            output = await self._guard.reward(partial(self._score, data[-1:]))
        finally:
            self._in_flight -= 1
            if self._in_flight == 0:  # rows that fail at once must not make a wave each
                asyncio.get_running_loop().call_soon(self._end_wave)
        # A colocated batch of the older trainer holds the dataset's columns, and verl merges ours into it.
        taken = data.non_tensor_batch.keys()
        extra = {f"coderm_{key}" if key in taken else key: value for key, value in output.as_dict().items()}
        return {"reward_score": output.score, "reward_extra_info": extra}

    def _end_wave(self) -> None:
        self._wave_is_over = self._in_flight == 0

    async def _score(self, data: Any) -> RewardOutput:
        return await self._scorer.score(self._sample(data))

    def _sample(self, data: Any) -> Sample:
        """What the last row of `data` is, for us."""
        row = data[0]
        fields = row.non_tensor_batch
        mask, responses = row.batch["attention_mask"], row.batch["responses"]
        width = responses.shape[-1]
        response = self._decoded(responses[: int(mask[-width:].sum())])
        prompt_text = None
        if fields.get("raw_prompt") is None and "prompts" in row.batch:
            prompt = row.batch["prompts"]
            prompt_text = self.tokenizer.decode(
                prompt[mask[: prompt.shape[-1]].bool()].tolist(), skip_special_tokens=False
            )
        # A batch names no step: all rows that are in flight here at a time are of one.
        return sample_from_fields(
            fields,
            response,
            prompt_text=prompt_text,
            meta=data.meta_info,
            step=f"{WAVE}{self._wave}" if self._batched else None,
            run=self._run,
        )

    def _decoded(self, tokens: Any) -> str:
        return str(self.tokenizer.decode(tokens.tolist(), skip_special_tokens=True))


async def compute_score(
    data_source: Any = None,
    solution_str: str = "",
    ground_truth: Any = None,
    extra_info: Mapping[str, Any] | None = None,
    reward_router_address: str | None = None,
    reward_model_tokenizer: Any = None,
    **settings: Any,
) -> dict[str, float]:
    """The reward as a plain function, for verl's own reward managers; siblings meet all the same.

    Those hand over no prompt, so it has to stand in `extra_info` (`prompt` or `question`), where
    scripts/prepare_data.py puts it. With CodeRMRewardManager verl only wants to know that there is such a
    function, and never calls it.

    Raises:
        ConfigError: unknown or contradicting settings, at the first call.
        TooManyFailuresError: see training.failure_share.
    """
    process = await asyncio.to_thread(shared, TrainingProcess, settings, reward_router_address)
    output = await process.guard.reward(partial(process.score, solution_str, ground_truth, extra_info))
    return output.as_dict()


def compute_score_sync(
    data_source: Any = None,
    solution_str: str = "",
    ground_truth: Any = None,
    extra_info: Mapping[str, Any] | None = None,
    **settings: Any,
) -> float:
    """The score alone and at once, for verl's offline evaluation (`verl.trainer.main_eval`).

    That hands over neither prompt nor siblings, but the ground truth: where it is executable tests, the score
    is whether the response passes them. With a prompt in `extra_info` and settings that name tests, or who
    writes them, it is the reward.

    Raises:
        CodermError: there is neither; unknown settings; no sandbox.
    """
    return shared(OfflineProcess, settings).score(solution_str, ground_truth, extra_info)
