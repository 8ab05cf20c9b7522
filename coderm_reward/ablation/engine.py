"""The ablation: every rule, every scoring, every budget, on the same draws, with paired intervals."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import numpy as np

from coderm_reward.ablation.bench import Bench
from coderm_reward.ablation.bootstrap import Interval, budget_ratio, interpolate, interval, resamples
from coderm_reward.ablation.groups import AblationGroup, default_rollouts
from coderm_reward.ablation.measure import FIGURES, SUMS, figures
from coderm_reward.ablation.plan import plan
from coderm_reward.ablation.results import AblationResult, Cell, QuintilePoint, Ratio
from coderm_reward.ablation.settings import UNIFORM, AblationSettings, Policy
from coderm_reward.ablation.weights import group_weights
from coderm_reward.config import ScoringConfig
from coderm_reward.errors import InputError
from coderm_reward.scoring.metrics import expected_any_correct
from coderm_reward.scoring.votes import FloatArray

__all__ = ["run_ablation", "steps"]

_QUINTILES = 5
_AXIS = FIGURES.index("spent")
_RATIO_FIGURES = ("best_of_n", "auc")

Progress = Callable[[int], None]


def steps(settings: AblationSettings) -> int:
    """Return how many steps `run_ablation` tells its progress of."""
    curves = (len(settings.policies) - 1) * len(settings.budgets) + len(_uniform_budgets(settings))
    return curves * settings.draws * len(settings.scorings)


def run_ablation(
    groups: Sequence[AblationGroup],
    settings: AblationSettings,
    progress: Progress = lambda done: None,
) -> AblationResult:
    """Return what each rule and each scoring is worth; `progress` is told how many steps were done, as they
    are.

    The same groups and settings give the same result.

    Raises:
        InputError: there are no groups, or no response in any of them.
    """
    if not groups or not any(group.responses for group in groups):
        raise InputError("There is nothing to ablate: no group with known truth has a recorded response.")
    rollouts = settings.rollouts or default_rollouts(groups)
    truths = [group.truth for group in groups]
    weighed = group_weights([float(truth.mean()) for truth in truths], settings.pass_rate)
    weights = resamples(len(groups), settings.draws, settings.replicates, settings.seed)
    weights *= np.repeat(weighed, settings.draws)
    cells: list[Cell] = []
    ratios: list[Ratio] = []
    quintiles: list[QuintilePoint] = []
    allocations: dict[str, tuple[float, ...]] = {}
    first: dict[tuple[str, str, int], FloatArray] = {}
    middle = settings.budgets[len(settings.budgets) // 2]
    for scoring in settings.scorings:
        runs = _Runs(groups, settings, scoring, rollouts, weights, progress)
        reference = runs.curve(UNIFORM, _uniform_budgets(settings))
        for policy in settings.policies:
            curve = runs.curve(policy, settings.budgets)
            for k, budget in enumerate(settings.budgets):
                own = curve[:, k]
                place = (scoring.vote_unit, policy.label, budget)
                base = first.setdefault(place, own)
                cells.append(
                    Cell(
                        scoring.vote_unit,
                        scoring.aggregator,
                        policy.label,
                        budget,
                        _intervals(own),
                        {} if policy == UNIFORM else _intervals(own - _matched(own, reference)),
                        {} if base is own else _intervals(own - base),
                    )
                )
            ratios += [] if policy == UNIFORM else _ratios(scoring, policy, curve, reference)
            if policy.label not in allocations and not policy.independent:
                allocations[policy.label] = runs.allocation(policy, middle)
        quintiles += _quintiles(groups, settings, scoring, runs)
    return AblationResult(
        settings=settings,
        rollouts=rollouts,
        groups=len(groups),
        mixed_groups=sum(bool(t.any() and not t.all()) for t in truths),
        all_wrong_groups=sum(not t.any() for t in truths),
        pass_rate=float(np.average([t.mean() for t in truths], weights=weighed)),
        oracle=float(
            np.average([expected_any_correct(t, min(rollouts, t.size)) for t in truths], weights=weighed)
        ),
        responses=float(np.mean([len(group.responses) for group in groups])),
        cells=tuple(cells),
        ratios=tuple(ratios),
        quintiles=tuple(quintiles),
        pass_rates=tuple(float(t.mean()) for t in truths),
        allocations=allocations,
        allocation_budget=middle,
    )


def _uniform_budgets(settings: AblationSettings) -> tuple[int, ...]:
    """The budgets, and one below and one above them, as rules may spend less or more than uniform."""
    first, last = settings.budgets[0], settings.budgets[-1]
    return tuple(dict.fromkeys((max(1, first // 2), *settings.budgets, 2 * last)))


class _Runs:
    """What one scoring makes of each rule, as sums of every draw."""

    def __init__(
        self,
        groups: Sequence[AblationGroup],
        settings: AblationSettings,
        scoring: ScoringConfig,
        rollouts: int,
        weights: FloatArray,
        progress: Progress,
    ) -> None:
        self.settings = settings
        self.weights = weights
        self._progress = progress
        self._bench, self._other = (
            Bench.drawn(groups, scoring, rollouts=rollouts, draws=settings.draws, seed=seed)
            for seed in (settings.seed, zlib.crc32(b"other draws", settings.seed))
        )
        self._plans: dict[tuple[Policy, int], list[list[int]]] = {}

    def curve(self, policy: Policy, budgets: Sequence[int]) -> FloatArray:
        """Return [1 + B, K, FIGURES] a rule's figures at each budget."""
        return np.stack([figures(self.weights @ self.sums(policy, budget)) for budget in budgets], axis=1)

    def sums(self, policy: Policy, budget: int) -> FloatArray:
        """Return [G * D, SUMS] what each draw of each group comes to."""
        bench = self._other if policy.independent else self._bench
        plans = self._planned(policy, budget)
        table = np.empty((len(bench.groups), self.settings.draws, len(SUMS)))
        for number, planned in enumerate(plans):
            for group, responses in enumerate(planned):
                table[group, number] = bench.sums(number, group, responses)
        return table.reshape(-1, len(SUMS))

    def allocation(self, policy: Policy, budget: int) -> tuple[float, ...]:
        """Return [G] the mean over draws of what a rule spends on each group."""
        spent = [
            [self._bench.spent(group, responses) for group, responses in enumerate(planned)]
            for planned in self._planned(policy, budget)
        ]
        return tuple(np.mean(spent, axis=0).tolist())

    def _planned(self, policy: Policy, budget: int) -> list[list[int]]:
        if (policy, budget) not in self._plans:
            bench = self._other if policy.independent else self._bench
            plans = []
            for number in range(self.settings.draws):
                planned = plan(policy, bench, budget, number, self.settings)
                for group, responses in enumerate(planned):
                    bench.sums(number, group, responses)
                plans.append(planned)
                self._progress(1)
            self._plans[policy, budget] = plans
        return self._plans[policy, budget]


def _intervals(values: FloatArray) -> dict[str, Interval]:
    """By figure, from [1 + B, FIGURES]."""
    return {name: interval(values[:, i]) for i, name in enumerate(FIGURES)}


def _matched(own: FloatArray, reference: FloatArray) -> FloatArray:
    """[1 + B, FIGURES] uniform's figures where it spends as much as a rule did."""
    spent, curve_spent = own[:, None, _AXIS], reference[:, :, _AXIS]
    return np.concatenate(
        [interpolate(spent, curve_spent, reference[:, :, i]) for i in range(len(FIGURES))], axis=1
    )


def _ratios(scoring: ScoringConfig, policy: Policy, curve: FloatArray, reference: FloatArray) -> list[Ratio]:
    found = []
    for name in _RATIO_FIGURES:
        at = FIGURES.index(name)
        ratio = budget_ratio(curve[:, :, _AXIS], curve[:, :, at], reference[:, :, _AXIS], reference[:, :, at])
        found.append(Ratio(scoring.vote_unit, scoring.aggregator, policy.label, name, interval(ratio)))
    return found


def _quintiles(
    groups: Sequence[AblationGroup], settings: AblationSettings, scoring: ScoringConfig, runs: _Runs
) -> list[QuintilePoint]:
    """Uniform by difficulty; fewer parts where there are fewer groups."""
    rates = np.array([group.truth.mean() for group in groups])
    parts = np.array_split(np.argsort(rates, kind="stable"), min(_QUINTILES, len(groups)))
    points = []
    for number, part in enumerate(parts, 1):
        weights = resamples(len(part), settings.draws, settings.replicates, settings.seed)
        for budget in settings.budgets:
            table = runs.sums(UNIFORM, budget).reshape(len(groups), settings.draws, len(SUMS))[part]
            values = figures(weights @ table.reshape(-1, len(SUMS)))
            rate = float(rates[part].mean())
            points.append(
                QuintilePoint(scoring.vote_unit, scoring.aggregator, number, rate, budget, _intervals(values))
            )
    return points
