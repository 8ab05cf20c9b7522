"""Draws, scored on demand: what a rule for budgets may look at, and what its choices are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from coderm_reward.ablation.groups import AblationGroup, Draw, make_draw, take
from coderm_reward.ablation.measure import measure
from coderm_reward.config import ScoringConfig
from coderm_reward.protocols import Evidence
from coderm_reward.scoring.evidence import group_evidence
from coderm_reward.scoring.rewards import group_rewards
from coderm_reward.scoring.votes import FloatArray, IntArray
from coderm_reward.types import ExecutionMatrix, RewardOutput

__all__ = ["Bench"]


@dataclass(eq=False)
class Bench:
    """All draws of all groups, under one way to score; equal questions are answered once.

    Args:
        groups: G groups.
        draws: [D] of [G] draws: everything of one number belongs to one pretended step.
    """

    groups: Sequence[AblationGroup]
    draws: Sequence[Sequence[Draw]]
    scoring: ScoringConfig
    _sums: dict[tuple[int, int, int], FloatArray] = field(default_factory=dict)
    _evidence: dict[tuple[int, int, int, bool], Evidence] = field(default_factory=dict)

    @classmethod
    def drawn(
        cls, groups: Sequence[AblationGroup], scoring: ScoringConfig, *, rollouts: int, draws: int, seed: int
    ) -> Bench:
        """Return a bench with new draws; the same arguments give the same."""
        return cls(
            groups, [[make_draw(group, rollouts, seed, d) for group in groups] for d in range(draws)], scoring
        )

    def spent(self, group: int, budget: int) -> int:
        """Return what a budget comes to: a group has no more responses than were recorded."""
        return min(budget, len(self.groups[group].responses))

    def sums(self, number: int, group: int, budget: int) -> FloatArray:
        """Return the sums (see `measure`) of one draw with the first `budget` responses."""
        spent = self.spent(group, budget)
        key = (number, group, spent)
        if key not in self._sums:
            draw = self.draws[number][group]
            _, rewards = self._score(group, draw.rows, draw.order[:spent])
            self._sums[key] = measure(rewards, self.groups[group].truth[draw.rows], spent)
        return self._sums[key]

    def evidence(self, number: int, group: int, budget: int, *, others: bool = False) -> Evidence:
        """Return what a draw's rollouts (or the others) show on the first `budget` responses, truth apart."""
        spent = self.spent(group, budget)
        key = (number, group, spent, others)
        if key not in self._evidence:
            draw = self.draws[number][group]
            rows = draw.others if others else draw.rows
            matrix, rewards = self._score(group, rows, draw.order[:spent])
            self._evidence[key] = group_evidence(matrix, rewards, self.scoring, spent)
        return self._evidence[key]

    def programs(self, number: int, group: int) -> int:
        """Return how many distinct programs a draw has: rollouts that tests could tell apart."""
        rows = self.draws[number][group].rows
        numbers = self.groups[group].matrix.solution_index[rows]
        return len(set(numbers[numbers >= 0].tolist())) + int((numbers < 0).any())

    def _score(
        self, group: int, rows: IntArray, responses: IntArray
    ) -> tuple[ExecutionMatrix, tuple[RewardOutput, ...]]:
        statuses, matrix = take(self.groups[group], rows, responses)
        rewards = group_rewards(
            statuses,
            matrix,
            self.scoring,
            difficulty=0.0,
            gen_seconds=0.0,
            generation_failed=False,
            identities=[self.groups[group].identities[row] for row in rows],
        ).rewards
        return matrix, rewards
