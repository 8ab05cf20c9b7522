"""The one table from what the sandbox saw (Outcome) to what it means for a vote (Verdict)."""

from __future__ import annotations

from coderm_reward.types import Judge, Verdict
from coderm_sandbox import Outcome

__all__ = ["JUDGE_OF_LABEL", "VERDICT_OF_OUTCOME"]

VERDICT_OF_OUTCOME: dict[Outcome, Verdict] = {
    Outcome.PASS: Verdict.PASS,
    Outcome.FAIL: Verdict.FAIL,
    Outcome.ERROR: Verdict.ERROR,
    Outcome.TIMEOUT: Verdict.TIMEOUT,
    Outcome.MEMORY: Verdict.MEMORY,
    Outcome.OUTPUT: Verdict.OUTPUT,
    Outcome.TAMPERED: Verdict.TAMPERED,
    Outcome.INVALID_TEST: Verdict.INVALID_TEST,
    Outcome.UNKNOWN: Verdict.UNKNOWN,
}

JUDGE_OF_LABEL: dict[str, Judge] = {judge.name.lower(): judge for judge in Judge}
