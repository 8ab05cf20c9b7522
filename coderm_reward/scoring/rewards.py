"""From one group's matrix to its rewards: the evidence rules and shapes of DESIGN sections 4 and 8.

Each rollout with code and evidence is scored by the aggregator, shaped, and, where the settings say so,
shrunk towards the mean of those scores by the group's reliability. Three rules give 0.0 without asking the
votes: no code, a program where a function was asked for, and tampering. Everyone else (unsupported format, no
usable test, no evidence) gets the neutral reward. Verdicts of excluded judges, or of excluded own tests, are
no evidence; a rollout left with none is neutral, but only missing verdicts are an infrastructure error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from coderm_reward.config import ScoringConfig
from coderm_reward.errors import ConfigError
from coderm_reward.scoring.aggregators import AGGREGATORS
from coderm_reward.scoring.judges import judge_share, without_judges
from coderm_reward.scoring.own_tests import without_own_tests
from coderm_reward.scoring.reliability import group_reliability, kelley
from coderm_reward.scoring.votes import Ballots, BoolArray, FloatArray, count_votes, unit_verdicts
from coderm_reward.types import CodeStatus, ExecutionMatrix, Judge, RewardOutput, Verdict

__all__ = ["GroupRewards", "group_rewards", "shape_scores"]


@dataclass(frozen=True)
class GroupRewards:
    """One reward per rollout, in order, and one sentence per thing that a user should know."""

    rewards: tuple[RewardOutput, ...]
    warnings: tuple[str, ...] = ()


def group_rewards(
    statuses: Sequence[CodeStatus],
    matrix: ExecutionMatrix | None,
    config: ScoringConfig,
    *,
    difficulty: float,
    gen_seconds: float,
    generation_failed: bool,
    identities: Sequence[str] = (),
) -> GroupRewards:
    """Return the rewards of R rollouts; `matrix` None means that nothing was run.

    `identities` [R] of the rollouts' code (source.normalised_id) are needed where `config.exclude_own_tests`.

    `generation_failed` (for infrastructure reasons) turns a lack of evidence into `infra_error`; tests
    that arrived all the same are used. All outputs are finite, and reordering the rollouts reorders them.

    The neutral reward is the mean over all siblings that have a score of their own, the 0.0 of a rollout
    without code or with tampering included. So adding the neutral rollouts leaves the group's mean as it
    is, and their group-relative advantage is exactly zero: a rollout that could choose to be neutral (a
    program that reads stdin) never beats its group's mean. Without the zeros it would: among six siblings
    without code and one perfect one, neutral would be 1.0. A fixed number (`config.neutral`) has no
    such guarantee; it is the user's choice.

    Raises:
        ConfigError: `config.neutral` is not finite.
        ValueError: statuses and matrix are of different groups.
    """
    if config.neutral != "group_mean" and not math.isfinite(config.neutral):
        raise ConfigError(f"The setting neutral must be group_mean or a finite number, not {config.neutral}.")
    has_code = np.array([status is CodeStatus.OK for status in statuses], dtype=np.bool_)
    if matrix is None:
        matrix = _nothing_run(has_code)
    if not np.array_equal(matrix.has_code, has_code):
        raise ValueError("Statuses and matrix disagree on which rollouts have code.")

    silent = count_votes(matrix, config.vote_unit, config.duplicates).without_evidence
    judge_handle, judge_inline = (judge_share(matrix, judge) for judge in (Judge.HANDLE, Judge.INLINE))
    matrix = without_judges(matrix, config.exclude_judges)
    matrix = without_own_tests(matrix, identities, config)
    ballots = count_votes(matrix, config.vote_unit, config.duplicates)
    aggregated = AGGREGATORS[config.aggregator](ballots)
    reliability = group_reliability(ballots)
    trust = _trust(reliability, config)
    shaped = kelley(shape_scores(aggregated.score, config), trust)
    wrong = (CodeStatus.NO_CODE, CodeStatus.WRONG_FORMAT)
    ruled_out = ballots.tampered | np.array([status in wrong for status in statuses], dtype=np.bool_)
    own = np.where(ruled_out, 0.0, shaped)
    scored = ~np.isnan(own)
    neutral = _neutral(own[scored], config)
    warnings: tuple[str, ...] = ()
    if config.neutral == "group_mean" and not scored.all() and not ballots.eligible.any():
        excluded = bool((has_code & ~scored & ~silent).any())
        reason = _why_unscored(has_code & ~scored, excluded, ballots.votes.planned, generation_failed)
        warnings = (
            f"No rollout of the group could be scored from evidence ({reason}), "
            f"so {int((~scored).sum())} of {len(statuses)} got the neutral reward 0.0.",
        )
    score = np.where(scored, own, neutral)
    p_correct = aggregated.score if aggregated.p_correct is None else aggregated.p_correct
    p_correct = np.clip(np.where(ruled_out | ~scored, score, p_correct), 0.0, 1.0)

    votes = ballots.votes
    planned = votes.planned
    filtered = float(config.reliability_rule == "filter" and trust < 1.0)
    infra_error = silent & (planned > 0 or generation_failed)
    timeout_rate = _timeout_rate(matrix, ballots)
    pass_fraction = _or_zero(votes.fraction())
    tests_run = votes.votes_run()
    rewards = tuple(
        RewardOutput(
            score=float(score[i]),
            acc=float(score[i] >= config.acc_threshold),
            p_correct=float(p_correct[i]),
            pass_fraction=float(pass_fraction[i]),
            tests_run=float(tests_run[i]),
            tests_planned=planned,
            difficulty=float(difficulty),
            no_code=float(status is CodeStatus.NO_CODE),
            unsupported_format=float(status in (CodeStatus.UNSUPPORTED_FORMAT, CodeStatus.WRONG_FORMAT)),
            tampered=float(ballots.tampered[i]),
            neutral=float(not scored[i]),
            timeout_rate=float(timeout_rate[i]),
            reliability=reliability,
            judge_handle=float(judge_handle[i]),
            judge_inline=float(judge_inline[i]),
            infra_error=float(infra_error[i]),
            gen_seconds=float(gen_seconds),
            exec_seconds=float(matrix.exec_seconds[i]),
            filtered=filtered,
        )
        for i, status in enumerate(statuses)
    )
    return GroupRewards(rewards, warnings)


def shape_scores(score: FloatArray, config: ScoringConfig) -> FloatArray:
    """Return [R] shaped scores; NaN stays NaN.

    `fraction`: as aggregated. `binary`: 1.0 if score >= threshold, else 0.0. `vote_share`: score over
    the group's best, 0.0 if that is 0; for `majority` these are passed votes over the group's best, but
    taken relative to the evidence, so that an UNKNOWN vote does not act as a fail.
    """
    if config.shape == "fraction":
        return score
    if config.shape == "binary":
        return np.where(np.isnan(score), np.nan, (score >= config.threshold).astype(np.float64))
    best = float(np.max(score, initial=0.0, where=~np.isnan(score)))
    return score / best if best > 0.0 else score


def _trust(reliability: float, config: ScoringConfig) -> float:
    """How much of a score's distance from the group's mean is kept (see `kelley`)."""
    if config.reliability_rule == "none":
        return 1.0
    if config.reliability_rule == "shrink":
        return reliability
    return 1.0 if reliability >= config.min_reliability else 0.0


def _nothing_run(has_code: BoolArray) -> ExecutionMatrix:
    rollouts = has_code.size
    return ExecutionMatrix(
        tests=(),
        class_verdicts=np.zeros((rollouts, 0), dtype=np.uint8),
        method_verdicts=np.zeros((rollouts, 0), dtype=np.uint8),
        method_test=np.zeros(0, dtype=np.intp),
        has_code=has_code,
        solution_index=np.full(rollouts, -1, dtype=np.intp),
        judges=np.zeros((rollouts, 0), dtype=np.uint8),
        exec_seconds=np.zeros(rollouts),
        assertion_verdicts=np.zeros((rollouts, 0), dtype=np.uint8),
        assertion_method=np.zeros(0, dtype=np.intp),
    )


def _neutral(own: FloatArray, config: ScoringConfig) -> float:
    """Return the neutral reward, given the scores of the rollouts that have one of their own."""
    if config.neutral != "group_mean":
        return float(config.neutral)
    return math.fsum(own) / own.size if own.size else 0.0


def _why_unscored(unscored_code: BoolArray, excluded: bool, planned: float, generation_failed: bool) -> str:
    if not unscored_code.any():
        return "programs that read stdin are not in the function format that the tests need"
    if excluded:
        return "all their verdicts are such as exclude_judges or exclude_own_tests leaves out"
    if planned > 0:
        return "the sandbox gave no evidence on any of them"
    return "the tests could not be generated" if generation_failed else "the prompt has no usable test"


def _timeout_rate(matrix: ExecutionMatrix, ballots: Ballots) -> FloatArray:
    verdicts = unit_verdicts(matrix, ballots.unit)
    return _or_zero(ballots.votes.share_of(verdicts == Verdict.TIMEOUT))


def _or_zero(share: FloatArray) -> FloatArray:
    return np.where(np.isnan(share), 0.0, share)
