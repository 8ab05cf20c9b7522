"""The rule by which siblings meet: which group a rollout belongs to, and when nobody else is waited for.

Siblings share run, step, validation, prompt and, where the training loop has one, the uid. A group closes
when as many different members have come as were announced, or when nobody came for a while. Who comes after
that:

- with a uid, or with fewer members than announced: late, to the latest group of that kind;
- without a uid, to a group that is full: the first of the next one, as a prompt may stand twice in a batch;
- with neither uid nor step, to a group that is closed: the first of the next group, as nothing tells a slow
  sibling from another epoch.

A member that comes again (the same id; without ids nobody is known again) is the same member, in an open
group and in a closed one. Closed groups are forgotten after a while, the oldest first.

Times are seconds of any clock that never goes back. Pure: it knows no tasks and reads no clock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, NamedTuple, TypeVar

from coderm_reward.data.chat import prompt_hash
from coderm_reward.data.grouping import group_uid
from coderm_reward.online.sample import Sample

__all__ = ["Arrival", "Gathered", "Gathering", "Key", "Standing", "key_of"]

T = TypeVar("T")


class Key(NamedTuple):
    """What siblings share."""

    run: str
    step: str | None
    validation: bool
    prompt: str
    uid: str | None


def key_of(sample: Sample) -> Key:
    """Return what this rollout shares with its siblings."""
    uid = None if sample.uid is None else group_uid(sample.uid)
    return Key(sample.run, sample.step, sample.validation, prompt_hash(sample.messages), uid)


class Standing(Enum):
    """What a rollout is to its group."""

    MEMBER = "member"
    AGAIN = "again"
    """A member that was there already; the arrival says under which number."""
    LATE = "late"


@dataclass(eq=False)
class Gathered(Generic[T]):
    """A group and those who came."""

    key: Key
    value: T
    expected: int | None = None
    came: int = 0
    """Members in time and late, each counted once."""
    last: float = 0.0
    """When the last of them came."""
    closed: bool = False
    known: dict[str, int] = field(default_factory=dict)
    """Member id -> number of the member in the group, from 0."""

    @property
    def full(self) -> bool:
        """Whether as many came as were announced."""
        return self.expected is not None and self.came >= self.expected


class Arrival(NamedTuple, Generic[T]):
    """Where a rollout went."""

    group: Gathered[T]
    standing: Standing
    member: int


class Gathering(Generic[T]):
    """Open groups, and the closed ones that are remembered.

    Args:
        quiet_seconds: a group of which nobody came for so long closes.
        open_group: makes the value of a new group from its key and its first sample.
        remembered: closed groups to remember at most.
    """

    def __init__(
        self, quiet_seconds: float, open_group: Callable[[Key, Sample], T], *, remembered: int = 512
    ) -> None:
        self._quiet = quiet_seconds
        self._make = open_group
        self._remembered = remembered
        self._known: dict[Key, list[Gathered[T]]] = {}
        self._open: dict[Gathered[T], None] = {}
        self._closed: OrderedDict[Gathered[T], None] = OrderedDict()

    def arrive(self, sample: Sample, now: float) -> Arrival[T]:
        """Take a rollout in; the group that it completes is closed when this returns."""
        key = key_of(sample)
        hint = sample.siblings if sample.siblings and sample.siblings > 0 else None
        known = self._known.get(key, [])
        for group in reversed(known):
            if (again := _again(group, sample)) is not None:
                return Arrival(group, Standing.AGAIN, again)
        group = self._begin(key, sample) if not known or _is_over(known[-1], hint) else known[-1]
        if hint is not None and not group.closed:
            group.expected = max(hint, group.expected or 0)
        member, standing = group.came, Standing.LATE if group.closed else Standing.MEMBER
        group.came += 1
        group.last = now
        if sample.member is not None:
            group.known[sample.member] = member
        if group.full and not group.closed:
            self.close(group)
        return Arrival(group, standing, member)

    def due(self, now: float) -> list[Gathered[T]]:
        """Close the groups that have been quiet for long enough, and return them."""
        quiet = [group for group in self._open if now >= group.last + self._quiet]
        for group in quiet:
            self.close(group)
        return quiet

    def next_due(self) -> float | None:
        """Return when the next group will have been quiet for long enough; None without an open one."""
        return min((group.last + self._quiet for group in self._open), default=None)

    def close(self, group: Gathered[T]) -> None:
        """Wait for nobody else."""
        group.closed = True
        self._open.pop(group, None)
        self._closed[group] = None
        while len(self._closed) > self._remembered:
            self.forget(next(iter(self._closed)))

    def forget(self, group: Gathered[T]) -> None:
        """Remember nothing of a group: who comes late opens another."""
        self._open.pop(group, None)
        self._closed.pop(group, None)
        known = self._known.get(group.key, [])
        if group in known:
            known.remove(group)
        if not known:
            self._known.pop(group.key, None)

    def _begin(self, key: Key, sample: Sample) -> Gathered[T]:
        group = Gathered(key, self._make(key, sample))
        self._known.setdefault(key, []).append(group)
        self._open[group] = None
        return group


def _is_over(group: Gathered[T], hint: int | None) -> bool:
    """Whether who is new belongs to another group than the latest of this kind."""
    if not group.closed or group.key.uid is not None:
        return False
    return group.key.step is None or group.came >= (hint or group.expected or group.came + 1)


def _again(group: Gathered[T], sample: Sample) -> int | None:
    """The number of the member that this is once more."""
    if sample.member is None or (group.closed and group.key.uid is None and group.key.step is None):
        return None
    return group.known.get(sample.member)
