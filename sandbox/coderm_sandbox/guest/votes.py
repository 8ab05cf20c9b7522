"""What the votes of a method are, given how the method came out and which of them were reached. Pure.

The hard verdict of a method never depends on its votes. A method that passed has passed all its votes; what
was never reached is what ended the method.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["after_hard", "after_soft", "wants_soft"]

_WHOLE = ("pass", "output", "tampered", "unknown")
"""Outcomes of a method that are those of all its votes."""

Votes = Sequence["str | None"]
"""The votes of one method in order; None for one that was not reached."""


def after_hard(outcome: str, votes: Votes) -> list[str | None]:
    """The votes of a method after its hard run; None is left where only a soft run can tell."""
    return [outcome] * len(votes) if outcome in _WHOLE else list(votes)


def wants_soft(outcome: str, votes: Votes) -> bool:
    """Whether going on after the failed assertion could tell more.

    `outcome` is what the method reported itself; one that was killed, or that ended between its
    assertions, would only do so again.
    """
    failed = any(vote not in (None, "pass") for vote in votes)
    return outcome in ("fail", "error", "memory") and failed and None in votes


def after_soft(outcome: str, hard: Votes, end: str, soft: Votes) -> list[str | None]:
    """All votes of a method whose hard run gave `outcome` and `hard`, and whose soft run `end` and `soft`."""
    if end in ("output", "tampered", "unknown"):
        soft = [end] * len(hard)
    rest = outcome if end == "pass" else end
    return [
        known if known is not None else (new if new is not None else rest)
        for known, new in zip(hard, soft, strict=True)
    ]
