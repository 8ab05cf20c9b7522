"""The fast way for stateless solutions, held to account: which tests are run again, and what counts."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

from coderm_sandbox.types import Outcome, TestResult

__all__ = ["disagreements", "is_audited", "sample"]

_OF_THE_MACHINE = frozenset({Outcome.UNKNOWN, Outcome.TIMEOUT})
"""Outcomes that may differ from run to run for reasons that are not the program's."""


def is_audited(solution: str, share: float) -> bool:
    """Whether a solution belongs to the share that is run again; the same answer for the same text."""
    return _number(solution) < share * (1 << 32)


def sample(solution: str, indices: Sequence[int]) -> list[int]:
    """Return which tests of an audited solution run again, of those (in order) that went the fast way.

    The last, before which all others ran in the same process, and one more: many solutions with two tests
    each say more about the fast way than few with all of theirs, at the same cost.
    """
    *others, last = indices
    other = [others[_number("test" + solution) % len(others)]] if others else []
    return [*other, last]


def disagreements(fast: Mapping[int, TestResult], strict: Mapping[int, TestResult]) -> int:
    """How many methods and votes have another outcome in a process of their own than on the fast way."""
    return sum(
        one is not other and not {one, other} & _OF_THE_MACHINE
        for index, result in strict.items()
        for one, other in zip(_outcomes(result), _outcomes(fast[index]), strict=True)
    )


def _number(text: str) -> int:
    """Below 2**32, the same for the same text."""
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


def _outcomes(result: TestResult) -> list[Outcome]:
    return [*result.methods.values(), *(vote for votes in result.votes.values() for vote in votes)]
