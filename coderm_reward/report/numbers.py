"""Group records -> every number that the report and the command line's final table show (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np

from coderm_reward.data.records import GroupRecord
from coderm_reward.generation.parsing import REPAIRED
from coderm_reward.generation.screening import SCREENED
from coderm_reward.report.groups import GroupNumbers, JudgeCounts, VerdictCounts, group_numbers
from coderm_reward.types import FAILED, Judge, Verdict

__all__ = ["Histogram", "ReportNumbers", "Summary", "report_numbers", "summarise"]


class Summary(msgspec.Struct, frozen=True):
    """The totals of a scored set. Tests are counted once per prompt, not once per group of it."""

    runs: tuple[str, ...]
    rollouts: int
    groups: int
    prompts: int
    responses: int
    """Generator responses spent."""
    tests_parsed: int
    """Distinct test classes."""
    tests_dropped: dict[str, int]
    """Reason -> count of what parsing threw away, most frequent first."""
    tests_repaired: dict[str, int]
    """Reason -> count of responses whose tests parsing kept but changed, most frequent first."""
    tests_screened: dict[str, int]
    """Reason -> count of tests thrown away unrun, most frequent first (see generation.screening)."""
    tests_marked: int
    """Of those that ran, without a vote."""
    responses_failed: dict[str, int]
    """Kind -> count of responses that the infrastructure failed to give, most frequent first."""
    prompt_tokens: int
    completion_tokens: int
    tests_invalid: int
    """Of those parsed, found invalid by the sandbox."""
    groups_without_tests: int
    """Groups left without one valid test."""
    mean_reward: float | None
    mean_acc: float | None
    known_truth: int
    """Rollouts of which the dataset's own tests say whether they are right."""
    acc_true: float | None
    """Share of these that are."""
    zero_spread_groups: int
    """Groups of two or more rollouts that all have the same score."""
    comparable_groups: int
    """Groups of two or more rollouts."""
    verdicts: VerdictCounts
    judges: JudgeCounts
    assumed_timeouts: int
    """Votes given TIMEOUT unrun because their solution kept hanging."""
    timeout_rollouts: int
    """Rollouts with at least one TIMEOUT."""
    no_code: int
    unsupported_format: int
    tampered: int
    neutral: int
    infra_errors: int
    pairs: int
    """(rollout with code) x (valid test, each copy counted): what was asked for."""
    pairs_distinct: int
    """Of these, those left once identical solutions and tests are taken together."""
    cache_hits: int
    """Of the distinct pairs, those whose verdict the cache knew."""
    pairs_run: int
    retried: int
    exec_seconds: float
    """Sum of the groups' wall seconds; groups overlap in time."""
    gen_seconds: float

    @property
    def dedupe_rate(self) -> float:
        """Share of the pairs asked for that equal another one; 0.0 without pairs."""
        return 1.0 - self.pairs_distinct / self.pairs if self.pairs else 0.0

    @property
    def hit_rate(self) -> float:
        """Share of the distinct pairs whose verdict the cache knew; 0.0 without pairs."""
        return self.cache_hits / self.pairs_distinct if self.pairs_distinct else 0.0


class Histogram(msgspec.Struct, frozen=True):
    """Equal bins; two stacked series of counts."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    marked: tuple[int, ...]
    """The part shown apart: neutral rewards, or groups without spread."""


class ReportNumbers(msgspec.Struct, frozen=True):
    """Everything the report shows, but for the texts."""

    summary: Summary
    groups: tuple[GroupNumbers, ...]
    scores: Histogram
    spreads: Histogram
    slowest: tuple[int, ...]
    """Indices of groups, most execution seconds first."""
    disputed: tuple[int, ...]
    """Indices of groups, highest disagreement first."""


def report_numbers(records: Sequence[GroupRecord], top: int = 10) -> ReportNumbers:
    """Return all numbers of `records`, in their order; `top` bounds the two lists of problems.

    Raises:
        InputError: a record whose verdicts do not match its tests.
    """
    groups = tuple(group_numbers(i, record) for i, record in enumerate(records))
    rewards = [rollout.reward for record in records for rollout in record.rollouts]
    comparable = [g for g, record in zip(groups, records, strict=True) if len(record.rollouts) > 1]
    slow = sorted((g for g in groups if g.exec_seconds > 0), key=lambda g: (-g.exec_seconds, g.index))
    split = sorted((g for g in groups if g.disagreement > 0), key=lambda g: (-g.disagreement, g.index))
    return ReportNumbers(
        summary=_summary(records, groups),
        groups=groups,
        scores=_histogram([r.score for r in rewards], [r.neutral > 0 for r in rewards], upper=1.0),
        spreads=_histogram([g.std for g in comparable], [g.zero_spread for g in comparable], upper=0.5),
        slowest=tuple(g.index for g in slow[:top]),
        disputed=tuple(g.index for g in split[:top]),
    )


def summarise(records: Sequence[GroupRecord]) -> Summary:
    """Return the totals of `records`. Raises InputError as `report_numbers` does."""
    return _summary(records, [group_numbers(i, record) for i, record in enumerate(records)])


def _histogram(values: Sequence[float], marked: Sequence[bool], upper: float, bins: int = 20) -> Histogram:
    """Bin `values` from 0 to `upper`, or further where a value lies outside."""
    array, mask = np.array(values, dtype=np.float64), np.array(marked, dtype=np.bool_)
    low, high = min(0.0, *values, 0.0), max(upper, *values, upper)
    edges = np.linspace(low, high, bins + 1)
    counts, apart = (np.histogram(array[m], bins=edges)[0] for m in (~mask, mask))
    return Histogram(tuple(edges.tolist()), tuple(counts.tolist()), tuple(apart.tolist()))


def _summary(records: Sequence[GroupRecord], groups: Sequence[GroupNumbers]) -> Summary:
    rollouts = [rollout for record in records for rollout in record.rollouts]
    rewards = [rollout.reward for rollout in rollouts]
    dropped: dict[str, Counter[str]] = {}
    spent: Counter[str] = Counter()
    tokens: dict[str, tuple[int, int]] = {}
    for record in records:  # a prompt's groups share one suite, which may have grown between them
        now = (record.completion_tokens, record.prompt_tokens)
        tokens[record.prompt_hash] = max(tokens.get(record.prompt_hash, now), now)
        dropped[record.prompt_hash] = dropped.get(record.prompt_hash, Counter()) | Counter(record.dropped)
        spent[record.prompt_hash] = max(spent[record.prompt_hash], record.budget.spent)
    truths = [reward.acc_true for reward in rewards if reward.has_truth > 0]
    reasons = sum(dropped.values(), Counter[str]())
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    comparable = [len(record.rollouts) > 1 for record in records]
    return Summary(
        runs=tuple(dict.fromkeys(record.run for record in records)),
        rollouts=len(rollouts),
        groups=len(records),
        prompts=len(dropped),
        responses=spent.total(),
        tests_parsed=len({(r.prompt_hash, test.id) for r in records for test in r.tests}),
        tests_dropped={r: n for r, n in ordered if not r.startswith((REPAIRED, SCREENED, FAILED))},
        tests_repaired={reason: n for reason, n in ordered if reason.startswith(REPAIRED)},
        tests_screened={reason: n for reason, n in ordered if reason.startswith(SCREENED)},
        tests_marked=len({(r.prompt_hash, test) for r in records for test in r.marked}),
        responses_failed={reason: n for reason, n in ordered if reason.startswith(FAILED)},
        prompt_tokens=sum(read for _, read in tokens.values()),
        completion_tokens=sum(written for written, _ in tokens.values()),
        tests_invalid=len({(r.prompt_hash, t.id) for r in records for t in r.tests if t.id in r.invalid}),
        groups_without_tests=sum(group.valid_tests == 0 for group in groups),
        mean_reward=float(np.mean([r.score for r in rewards])) if rewards else None,
        mean_acc=float(np.mean([r.acc for r in rewards])) if rewards else None,
        known_truth=len(truths),
        acc_true=float(np.mean(truths)) if truths else None,
        zero_spread_groups=sum(group.zero_spread for group in groups),
        comparable_groups=sum(comparable),
        verdicts=VerdictCounts(
            classes={v: sum(g.verdicts.classes[v] for g in groups) for v in Verdict},
            methods={v: sum(g.verdicts.methods[v] for g in groups) for v in Verdict},
            assertions={v: sum(g.verdicts.assertions.get(v, 0) for g in groups) for v in Verdict},
        ),
        judges=JudgeCounts(
            pairs={judge: sum(g.judges.pairs[judge] for g in groups) for judge in Judge},
            excluded=sum(g.judges.excluded for g in groups),
        ),
        assumed_timeouts=sum(r.stats.assumed_timeouts for r in records),
        timeout_rollouts=sum(r.timeout_rate > 0 for r in rewards),
        no_code=sum(r.no_code > 0 for r in rewards),
        unsupported_format=sum(r.unsupported_format > 0 for r in rewards),
        tampered=sum(r.tampered > 0 for r in rewards),
        neutral=sum(r.neutral > 0 for r in rewards),
        infra_errors=sum(r.infra_error > 0 for r in rewards),
        pairs=sum(r.stats.pairs for r in records),
        pairs_distinct=sum(r.stats.pairs_distinct for r in records),
        cache_hits=sum(r.stats.cache_hits for r in records),
        pairs_run=sum(r.stats.pairs_run for r in records),
        retried=sum(r.stats.retried for r in records),
        exec_seconds=sum(r.stats.seconds for r in records),
        gen_seconds=sum(r.gen_seconds for r in records),
    )
