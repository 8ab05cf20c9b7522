"""What one group has found out: every pair runs once, also what hangs, in however many steps a suite comes.

The verdict cache keeps what is true on another day. A group keeps more, for as long as it lasts: timeouts,
and what took all memory. Only missing evidence is looked for again. So tests may run while others are
still being written and rollouts are still coming, and the matrix is the one that a single run of everything
gives, with one exception made up for here: a pool gives up on a solution whose first votes all hang, and what
comes first is known only when the suite is whole. Votes that a single run would not have reached are taken
for timeouts then, as it would have done.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from coderm_reward.activity import Activity
from coderm_reward.execution.cache import Pair
from coderm_sandbox import Outcome, Test, TestResult, class_outcome

__all__ = ["GroupMemory", "given_up"]

_NOT_RUN = "not run: the solution hung on every vote before"


class GroupMemory:
    """The results of one group; its tasks share it."""

    def __init__(self) -> None:
        self._results: dict[Pair, TestResult] = {}
        self._inline: set[str] = set()
        self._ran: set[Pair] = set()
        self.retried = 0
        """Tests that ran again after a worker died or the machine starved them."""
        self.activity = Activity()
        """How long it was "executing"."""

    def add(self, fresh: Mapping[Pair, TestResult]) -> None:
        """Keep what ran; what is known already stays as it is."""
        for pair, result in fresh.items():
            self._ran.add(pair)
            self.retried += result.retried
            known = self._results.get(pair)
            if result.outcome is not Outcome.UNKNOWN and (known is None or known.assumed):
                self._results[pair] = result
            if result.judge == "inline":
                self._inline.add(pair[1])

    def ran(self, pair: Pair) -> bool:
        """Whether this group ran it, and did not find it in the cache."""
        return pair in self._ran

    def known(self, solution: str, tests: Mapping[str, Test], limit: int) -> dict[str, TestResult]:
        """Return what is known of a solution on tests (by key), in their order.

        That is all of them once it has hung on so many of the first that the pool would give it up. What
        the pool took for granted in another order is not known.
        """
        found = {key: self._results.get((solution, key)) for key in tests}
        if given_up(list(found.values()), limit) is not None:
            return self.as_one_run(tests, {key: r for key, r in found.items() if r is not None}, limit)
        return {key: result for key, result in found.items() if result is not None and not result.assumed}

    def as_one_run(
        self, tests: Mapping[str, Test], results: Mapping[str, TestResult], limit: int
    ) -> dict[str, TestResult]:
        """Return the results as one run of these tests in their order would give them."""
        place = given_up([results.get(key) for key in tests], limit)
        if place is None:
            return dict(results)
        keys = list(tests)
        whole = {key: results[key] for key in keys[:place]}
        whole.update((key, self._assumed(key, tests[key], results.get(key))) for key in keys[place:])
        return whole

    def _assumed(self, key: str, test: Test, result: TestResult | None) -> TestResult:
        methods = {n: Outcome.INVALID_TEST if n in test.skipped else Outcome.TIMEOUT for n in test.methods}
        if result is not None and result.methods == methods:
            return result
        votes = {name: (methods[name],) * n for name, n in zip(test.methods, test.votes, strict=False)}
        if result is not None:
            changed = sum(result.methods[name] is not outcome for name, outcome in methods.items())
            outcome = class_outcome(list(methods.values()))
            return dataclasses.replace(
                result, outcome=outcome, methods=methods, detail=_NOT_RUN, assumed=changed, votes=votes
            )
        return TestResult(
            class_outcome(list(methods.values())),
            methods,
            judge="inline" if key in self._inline else "apart",
            detail=_NOT_RUN,
            assumed=len(methods) - len(test.skipped),
            votes=votes,
        )


def given_up(results: Sequence[TestResult | None], limit: int) -> int | None:
    """Return the first test at which a pool stops running a solution, given its results in order.

    It does so once every vote was a timeout, at least `limit` of them (0: never) and in more than one test
    (Limits.hang_limit). None: it goes on, or a result is missing before that can be told.
    """
    votes = tests = 0
    for index, result in enumerate(results):
        if result is None or not limit:
            return None
        outcomes = [outcome for outcome in result.methods.values() if outcome is not Outcome.INVALID_TEST]
        tests += bool(outcomes)
        for outcome in outcomes:
            if outcome is not Outcome.TIMEOUT:
                return None
            votes += 1
            if votes >= limit and tests > 1:
                return index
    return None
