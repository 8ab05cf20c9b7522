"""What a group's section of the report shows, ready for the template; and the limits on it."""

from __future__ import annotations

from typing import ClassVar

import msgspec
from markupsafe import Markup

from coderm_reward.data.records import GroupRecord, RolloutRecord
from coderm_reward.report.groups import GroupNumbers, TestNumbers
from coderm_reward.report.text import Block
from coderm_reward.types import RewardOutput, UnitTest, Verdict

__all__ = ["EntryView", "FailureView", "GroupView", "ReportLimits", "TestView"]


class ReportLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What bounds the size of the file. Whatever is left out is said where it is missing."""

    max_steps: int = 200
    """Lines of the table of steps; the last ones are shown."""
    max_groups: int = 100
    """Groups with a section; the slowest and the most disputed go first."""
    max_rollouts_per_group: int = 12
    """Distinct rollouts of a group shown with code and verdicts."""
    max_failures_per_rollout: int = 8
    max_text_chars: int = 20_000
    """Of one question, one rollout's code or one test."""
    max_text_bytes: int = 3_000_000
    """Of all questions, code and tests together, split evenly over the groups."""


class TestView(msgspec.Struct, frozen=True):
    """One test class of a group."""

    __test__: ClassVar[bool] = False  # not a pytest class
    number: int
    """Counted from 1, in the order of the suite."""
    test: UnitTest
    numbers: TestNumbers
    methods: tuple[tuple[str, float | None], ...]
    """(name, pass rate)."""
    invalid: str | None
    marked: str | None
    """Why it has no vote although it ran."""
    source: Block


class FailureView(msgspec.Struct, frozen=True):
    """One test class that a rollout does not pass."""

    number: int
    class_name: str
    verdict: Verdict
    judge: str
    methods: tuple[tuple[Verdict, tuple[str, ...]], ...]
    """Names of those that do not pass, by verdict."""
    detail: str
    listed: bool
    """Whether the test is in the group's table."""


class EntryView(msgspec.Struct, frozen=True):
    """Rollouts of a group that share code, verdicts and reward; shown once."""

    number: int
    """Position among all entries of the group, best score first, counted from 0."""
    rows: tuple[int, ...]
    status: str
    reward: RewardOutput
    code: Block
    failures: tuple[FailureView, ...]
    failed: int
    """Test classes not passed, listed in `failures` or not."""
    strip: Markup
    """Every method's verdict as a letter, test by test."""
    strip_left_out: int


class GroupView(msgspec.Struct, frozen=True):
    """Everything that a group's section shows."""

    record: GroupRecord
    numbers: GroupNumbers
    title: str
    question: Block
    entries: tuple[EntryView, ...]
    others: tuple[tuple[tuple[int, ...], RolloutRecord], ...]
    """(rows, one of them) of the entries that have no detail."""
    others_left_out: int
    tests: tuple[TestView, ...]
    tests_left_out: int
    entry_of_rollout: tuple[int | None, ...]
    """Position of a rollout -> number of the entry that details it."""
