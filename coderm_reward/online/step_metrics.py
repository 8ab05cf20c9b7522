"""The metrics of one training step, out of its scored groups: a flat dict of finite floats. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from coderm_reward.online.group_figures import GroupFigures, group_figures
from coderm_reward.online.metric_names import PERCENTILES, TRAIN, VALIDATION
from coderm_reward.online.sample import GroupOutcome
from coderm_reward.scoring.metrics import Confusion, ensemble_quality, within_group_auc
from coderm_reward.types import RewardOutput, Verdict

__all__ = ["figures_metrics", "step_metrics"]

_EQUAL = 1e-9
"""Rewards with a smaller standard deviation are equal, as in the report."""


def step_metrics(outcomes: Iterable[GroupOutcome]) -> dict[str, float]:
    """Return the metrics of these groups of one step; each key is explained in docs/metrics.md.

    What is undefined (agreement with a truth that nobody knows) has no key; without groups there are none.
    """
    return figures_metrics([group_figures(outcome) for outcome in outcomes])


def figures_metrics(figures: Sequence[GroupFigures]) -> dict[str, float]:
    """Return the same from what is kept of the groups; one that a later one holds completely is left out."""
    last: dict[str, list[GroupFigures]] = {}
    for group in figures:
        parts = last.setdefault(group.group, [])
        parts[:] = [*(part for part in parts if not part.members <= group.members), group]
    metrics: dict[str, float] = {}
    for prefix, validation in ((TRAIN, False), (VALIDATION, True)):
        chosen = [part for parts in last.values() for part in parts if part.validation is validation]
        chosen = [group for group in chosen if group.rewards]
        if chosen:
            metrics |= {prefix + name: float(value) for name, value in _metrics(chosen).items()}
    return metrics


def _metrics(groups: Sequence[GroupFigures]) -> dict[str, float]:
    rewards = [reward for group in groups for reward in group.rewards]
    whole = [group for group in groups if group.whole]
    return {
        "groups": len({group.group for group in groups if group.late < len(group.rewards)}),
        "rollouts": len(rewards),
        "late_siblings": sum(group.late for group in groups),
        "missing_siblings": _missing(groups),
        **_reward(groups, rewards),
        **_agreement(groups),
        **({"reliability": _mean([group.rewards[0].reliability for group in whole])} if whole else {}),
        **{name: _share(rewards, name) for name in ("filtered", "neutral", "infra_error", "no_code")},
        "infra_errors": sum(reward.infra_error for reward in rewards),
        **{name: _share(rewards, name) for name in ("unsupported_format", "tampered")},
        "timeouts": _share(rewards, "timeout_rate"),
        **{name: _share(rewards, name) for name in ("judge_handle", "judge_inline")},
        **_verdicts(groups),
        "tests/votes_planned": _share(rewards, "tests_planned"),
        "tests/votes_run": _share(rewards, "tests_run"),
        **(_tests(whole) if whole else {}),
        **_execution(groups),
        **_times(groups),
    }


def _missing(groups: Sequence[GroupFigures]) -> int:
    """Late siblings are here by themselves, or with all of their group once more."""
    came: Counter[tuple[str, str]] = Counter()
    expected: Counter[tuple[str, str]] = Counter()
    for group in groups:
        came[group.prompt, group.uid] += len(group.rewards)
        expected[group.prompt, group.uid] += group.siblings
    return (expected - came).total()


def _reward(groups: Sequence[GroupFigures], rewards: Sequence[RewardOutput]) -> dict[str, float]:
    scores = np.array([reward.score for reward in rewards], dtype=np.float64)
    spreads = [_std([r.score for r in group.rewards]) for group in groups if len(group.rewards) > 1]
    known = [reward for reward in rewards if reward.has_truth > 0]
    return {
        "reward/mean": scores.mean(),
        "reward/generated": np.concatenate([group.generated for group in groups]).mean(),
        "reward/std": _std(scores.tolist()),
        "reward/min": scores.min(),
        "reward/max": scores.max(),
        **_percentiles("reward", scores.tolist()),
        **({"reward/spread": _mean(spreads)} if spreads else {}),
        **({"reward/no_gradient": _mean([std < _EQUAL for std in spreads])} if spreads else {}),
        **{name: _share(rewards, name) for name in ("acc", "p_correct", "pass_fraction", "has_truth")},
        **({"acc_true": _share(known, "acc_true")} if known else {}),
    }


def _agreement(groups: Sequence[GroupFigures]) -> dict[str, float]:
    """How votes alone agree with the dataset's own tests, over the rollouts that have such."""
    within: list[float] = []
    scores, truths = [np.zeros(0)], [np.zeros(0, dtype=np.bool_)]
    decided = Confusion()
    for group in groups:
        known = np.array([reward.has_truth > 0 for reward in group.rewards], dtype=np.bool_)
        truth = np.array([reward.acc_true > 0 for reward in group.rewards], dtype=np.bool_)[known]
        judged = np.array([reward.tests_run > 0 for reward in group.rewards], dtype=np.bool_)[known]
        score, accepted = group.generated[known], group.accepted[known]
        auc = within_group_auc(score, truth)
        within += [] if auc is None else [auc]
        scores.append(score)
        truths.append(truth)
        decided += ensemble_quality(accepted[judged], truth[judged])
    quality = decided.metrics()
    found = {
        "agreement/auc_within": _mean(within) if within else None,
        "agreement/auc": within_group_auc(np.concatenate(scores), np.concatenate(truths)),
        "agreement/acc": quality.acc,
        "agreement/far": quality.far,
        "agreement/frr": quality.frr,
    }
    return {name: value for name, value in found.items() if value is not None}


def _verdicts(groups: Sequence[GroupFigures]) -> dict[str, float]:
    counts = np.sum([group.verdicts for group in groups], axis=0)
    total = max(1, int(counts.sum()))
    found: dict[str, float] = {}
    for verdict in Verdict:
        found[f"verdict/{verdict.label}/share"] = counts[verdict] / total
        found[f"verdict/{verdict.label}/count"] = counts[verdict]
    return found


def _tests(groups: Sequence[GroupFigures]) -> dict[str, float]:
    """Of whole groups: a late sibling has the tests of its group."""
    tokens: dict[str, tuple[int, int]] = {}
    for group in groups:  # groups of a prompt share one suite, which may have grown between them
        now = (group.completion_tokens, group.prompt_tokens)
        tokens[group.prompt] = max(tokens.get(group.prompt, now), now)
    difficulty = [group.difficulty for group in groups]
    programs = [group.programs for group in groups]
    return {
        "tests/valid": _mean([group.valid for group in groups]),
        "tests/invalid": _mean([group.invalid for group in groups]),
        "tests/none": _mean([group.valid == 0 for group in groups]),
        "responses/planned": sum(group.planned for group in groups),
        "responses/spent": sum(group.spent for group in groups),
        "tokens/prompt": sum(read for _, read in tokens.values()),
        "tokens/completion": sum(written for written, _ in tokens.values()),
        "difficulty/mean": _mean(difficulty),
        **_percentiles("difficulty", difficulty),
        "programs/per_group": _mean(programs),
        "programs/share": sum(programs) / sum(len(group.rewards) for group in groups),
    }


def _execution(groups: Sequence[GroupFigures]) -> dict[str, float]:
    asked = sum(group.stats.pairs for group in groups)
    distinct = sum(group.stats.pairs_distinct for group in groups)
    hits = sum(group.stats.cache_hits for group in groups)
    return {
        "pairs/asked": asked,
        "pairs/run": sum(group.stats.pairs_run for group in groups),
        "pairs/saved": 1.0 - distinct / asked if asked else 0.0,
        "pairs/cache_hits": hits / distinct if distinct else 0.0,
    }


def _times(groups: Sequence[GroupFigures]) -> dict[str, float]:
    return {
        **_seconds("gen_seconds", [group.gen_seconds for group in groups if group.whole]),
        **_seconds("exec_seconds", [group.stats.seconds for group in groups if group.whole]),
        **_seconds("wait_seconds", [seconds for group in groups for seconds in group.waited]),
        **_seconds("answer_seconds", [seconds for group in groups for seconds in group.answered]),
    }


def _share(rewards: Sequence[RewardOutput], name: str) -> float:
    return _mean([getattr(reward, name) for reward in rewards])


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _std(values: Sequence[float]) -> float:
    """Population standard deviation, and exactly 0.0 of equal values."""
    return 0.0 if len(set(values)) == 1 else float(np.std(values))


def _percentiles(name: str, values: Sequence[float]) -> dict[str, float]:
    found = np.percentile(values, PERCENTILES).tolist()
    return {f"{name}/p{p:02}": value for p, value in zip(PERCENTILES, found, strict=True)}


def _seconds(name: str, values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    return {
        f"{name}/mean": _mean(values),
        f"{name}/p95": float(np.percentile(values, 95)),
        f"{name}/max": max(values),
    }
