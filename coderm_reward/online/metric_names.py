"""Every metric of a training step, and what it means: the table that docs/metrics.md shows."""

from __future__ import annotations

from coderm_reward.types import Verdict

__all__ = ["MEANINGS", "PERCENTILES", "TRAIN", "VALIDATION", "WATCHES", "metrics_page_table"]

TRAIN, VALIDATION = "coderm/", "coderm_val/"
"""Prefixes of the keys: groups that were trained on, and groups of validation."""

PERCENTILES = (5, 25, 50, 75, 95)

WATCHES = {
    "tampered": "rollouts were caught tampering with their judge",
    "handle": "more verdicts rest on a word of the solution's own process than when training began",
    "inline": "more verdicts were reached in the solution's own process than when training began",
    "collapse": "siblings became one and the same program while rewards rose",
    "reward_jump": "the training reward jumped, and validation has not risen since",
    "truth_gap": "the generated reward rises while `acc_true` falls",
}
"""Name -> what is seen (see online.watch)."""


def _percentiles(name: str, what: str) -> dict[str, str]:
    return {f"{name}/p{p:02}": f"{p}th percentile of {what}" for p in PERCENTILES}


def _seconds(name: str, what: str) -> dict[str, str]:
    return {
        f"{name}/mean": f"mean of {what}",
        f"{name}/p95": f"95th percentile of {what}",
        f"{name}/max": f"longest of {what}",
    }


MEANINGS: dict[str, str] = {
    "groups": "groups; a late sibling adds none",
    "rollouts": "rollouts in them",
    "late_siblings": "rollouts that came when their group had been answered, and were scored after it",
    "missing_siblings": "rollouts that a group was thought to have and that never came",
    "reward/mean": "mean reward",
    "reward/generated": "mean reward by the votes of generated tests alone: the same, unless "
    "`ground_truth_weight` mixes the dataset's own tests in",
    "reward/std": "standard deviation of all rewards",
    "reward/min": "lowest reward",
    "reward/max": "highest reward",
    **_percentiles("reward", "the rewards"),
    "reward/spread": "mean over groups of two or more of the standard deviation within the group",
    "reward/no_gradient": "share of groups of two or more whose rewards are all equal, so without gradient",
    "acc": "share of rollouts whose score is `acc_threshold` or more",
    "p_correct": "mean calibrated probability of being right, where the aggregator gives one, else the score",
    "pass_fraction": "mean share of votes passed",
    "acc_true": "share that passes the dataset's own tests, of the rollouts that have such; absent without",
    "has_truth": "share of rollouts with tests of the dataset that could be run",
    "agreement/auc_within": "mean over groups of the share of (right, wrong) pairs that votes rank right, "
    "ties half; absent where no group has both",
    "agreement/auc": "the same over all pairs of the step",
    "agreement/acc": "share of accept-or-reject decisions of the votes that the dataset's own tests confirm",
    "agreement/far": "false acceptance: share of the wrong rollouts that votes accept",
    "agreement/frr": "false rejection: share of the right rollouts that votes reject",
    "reliability": "mean over scored groups of Cronbach's alpha of the scores over test classes",
    "filtered": "share of rollouts in groups that `reliability_rule: filter` took the gradient from",
    "neutral": "share of rollouts with the neutral reward: no evidence about them",
    "infra_error": "share of rollouts that our own infrastructure gave no evidence on",
    "infra_errors": "how many these are",
    "no_code": "share of rollouts without code",
    "unsupported_format": "share of rollouts that are programs reading stdin",
    "tampered": "share of rollouts caught tampering with their judge",
    "timeouts": "mean share of a rollout's votes that are timeouts",
    "judge_handle": "mean share of a rollout's verdicts that rest on a word of the solution's own process",
    "judge_inline": "mean share of a rollout's verdicts that were reached in the solution's own process",
    **{
        f"verdict/{verdict.label}/{kind}": f"{text} of votes that are {verdict.label}"
        for verdict in Verdict
        for kind, text in (("share", "share"), ("count", "number"))
    },
    "tests/votes_planned": "mean votes that a rollout would get if nothing of ours failed",
    "tests/votes_run": "mean votes with evidence that it got",
    "tests/valid": "mean valid test classes of a group",
    "tests/invalid": "mean test classes that the sandbox found invalid by themselves",
    "tests/none": "share of groups left without one valid test",
    "responses/planned": "generator responses that budgets planned, all groups together",
    "responses/spent": "generator responses that came, all groups together",
    "tokens/prompt": "tokens that the generator read for the step's prompts, whenever it did",
    "tokens/completion": "tokens that it wrote for them",
    "difficulty/mean": "mean difficulty (one minus the expected pass rate) of the groups",
    **_percentiles("difficulty", "the groups' difficulty"),
    "programs/per_group": "mean distinct programs in a scored group; rollouts without code are one",
    "programs/share": "distinct programs over rollouts: what deduplication leaves to run",
    "pairs/asked": "(rollout, test) pairs that verdicts were wanted for",
    "pairs/run": "of these, pairs that were executed",
    "pairs/saved": "share of the pairs asked for that equal another one",
    "pairs/cache_hits": "share of the distinct pairs whose verdict the cache knew",
    **_seconds("gen_seconds", "the seconds that a group's suite took to be had"),
    **_seconds("exec_seconds", "the seconds that a group took to execute; groups overlap"),
    **_seconds("wait_seconds", "the seconds that a rollout waited for its last sibling"),
    **_seconds("answer_seconds", "the seconds from a rollout's arrival to its answer"),
}
"""Key without prefix -> meaning, in the order of the page; each exists for training and for validation."""


def metrics_page_table() -> str:
    """Return the Markdown table of every key, as docs/metrics.md holds it."""
    rows = [f"| `{key}` | {meaning} |" for key, meaning in MEANINGS.items()]
    watched = [
        f"| `{TRAIN}watch/{name}` | steps so far at which this was seen: {what} |"
        for name, what in WATCHES.items()
    ]
    return "\n".join(["| key | meaning |", "| --- | --- |", *rows, *watched])
