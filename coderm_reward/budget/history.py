"""The estimator that remembers: a Beta posterior per prompt over the epochs in which it was seen.

The file is SQLite, safe for several processes of one machine and against a kill at any moment; it takes about
100 bytes for each group that was scored.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from pathlib import Path

from coderm_reward.budget.beta import check_prior, posterior
from coderm_reward.errors import ConfigError
from coderm_reward.protocols import Evidence
from coderm_reward.sqlite_file import FileKind, open_file, transaction
from coderm_reward.types import Difficulty, Problem

__all__ = ["HistoryEstimator"]

_KIND = FileKind(
    name="difficulty history",
    option="--history",
    application=0x43524D48,  # CRMH
    version=1,
    schema=(
        """CREATE TABLE outcomes (
    number INTEGER PRIMARY KEY, prompt TEXT NOT NULL, observation TEXT NOT NULL,
    rollouts INTEGER NOT NULL, right_rollouts REAL NOT NULL, tests INTEGER NOT NULL,
    UNIQUE (prompt, observation)
)""",
    ),
    checked_bytes=256 << 20,
)
_LATEST = """SELECT rollouts, right_rollouts, tests FROM outcomes
    WHERE prompt = ? ORDER BY number DESC LIMIT ?"""
_KEEP = """INSERT INTO outcomes (prompt, observation, rollouts, right_rollouts, tests)
    VALUES (?, ?, ?, ?, ?) ON CONFLICT (prompt, observation) DO UPDATE SET rollouts = excluded.rollouts,
    right_rollouts = excluded.right_rollouts, tests = excluded.tests"""
_VISITS = 64
"""Visits of a prompt that are looked at, the latest first."""
_log = logging.getLogger("coderm_reward")


class HistoryEstimator:
    """Learns each prompt's pass rate from the groups scored so far (LearningEstimator).

    What it learns from a group is how many of its rollouts have `acc` 1 (a score of at least
    `acc_threshold`): there is no ground truth in training, and `acc` is the grade that the rest of the
    system acts on. So it is the pass rate as the tests see it, and tests that accept wrong code make a
    prompt look easy. A group is worth `Evidence.trials` observations, as siblings share the mistakes of
    their tests.

    An epoch is a visit of the prompt. Each later visit multiplies the weight of the earlier ones by
    `decay`: the policy has changed since. A group seen again (a resumed run, a dump scored twice) replaces
    its earlier outcome and is no new visit. A prompt never seen has the prior.

    A file that fails later on (disk full, damaged, locked for half a minute) costs one warning in the log and
    is left alone from then on: the run goes on with what it learns itself.

    Args:
        place: memory, for the life of this object, or the file that runs and processes share.
        decay: in [0, 1]; 1 forgets nothing, 0 knows only the last visit.
        prior_mean, prior_strength: what is known before; 0.5 and 2 are the uniform distribution.

    Raises:
        ConfigError: a setting out of range.
        OutputError: the file cannot be used; it is left as it was.
    """

    def __init__(
        self,
        place: str | Path = "memory",
        *,
        decay: float = 0.5,
        prior_mean: float = 0.5,
        prior_strength: float = 2.0,
    ) -> None:
        check_prior(prior_mean, prior_strength)
        if not 0.0 <= decay <= 1.0:
            raise ConfigError(f"The setting history_decay must lie in [0, 1], not be {decay}.")
        self._place = place
        self._decay = decay
        self._prior = (prior_mean, prior_strength)
        self._lock = threading.Lock()
        self._connection = _in_memory() if place == "memory" else open_file(_KIND, Path(place))

    def estimate(self, problem: Problem) -> Difficulty:
        """Return the posterior of this prompt's pass rate, whoever's rollouts it was learnt from."""
        with self._lock:
            try:
                visits = self._visits(problem.prompt_hash)
            except sqlite3.Error as error:
                self._give_up(error)
                visits = []
        weighted = [(self._decay**age, visit) for age, visit in enumerate(visits)]
        return posterior(weighted, *self._prior, "history")

    def observe(self, problem: Problem, observation: str, evidence: Evidence) -> None:
        """Keep what a group showed, on disk before this returns; what showed nothing is not kept."""
        if evidence.trials == 0.0:
            return
        with self._lock:
            try:
                self._keep(problem.prompt_hash, observation, evidence)
            except sqlite3.Error as error:
                self._give_up(error)
                self._keep(problem.prompt_hash, observation, evidence)

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""
        with self._lock:
            self._connection.close()

    def _visits(self, prompt: str) -> list[Evidence]:
        """The latest first."""
        rows = self._connection.execute(_LATEST, (prompt, _VISITS))
        return [Evidence(rollouts=rollouts, right=right, tests=tests) for rollouts, right, tests in rows]

    def _keep(self, prompt: str, observation: str, evidence: Evidence) -> None:
        with transaction(self._connection):
            row = (prompt, observation, evidence.rollouts, evidence.right, evidence.tests)
            self._connection.execute(_KEEP, row)

    def _give_up(self, error: sqlite3.Error) -> None:
        _log.warning("the difficulty history %s failed (%s); going on without it", self._place, error)
        self._connection.close()
        self._connection = _in_memory()


def _in_memory() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    for statement in _KIND.schema:
        connection.execute(statement)
    return connection
