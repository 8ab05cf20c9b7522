"""What a group's section shows, and what it says it leaves out."""

from __future__ import annotations

import pytest

from coderm_reward.report.drilldown import group_title, group_view
from coderm_reward.report.groups import group_numbers
from coderm_reward.report.views import ReportLimits
from coderm_reward.types import UnitTest, Verdict


def view(record, text_bytes=100_000, **limits):
    return group_view(record, group_numbers(0, record), ReportLimits(**limits), text_bytes)


@pytest.fixture
def many(record, make_rollout, edit):
    """Nine different rollouts on one test, best first in the input."""
    tests = (UnitTest(id="a", source="s" * 50, class_name="TestA", methods=("test_a",)),)
    rollouts = tuple(make_rollout(20 + i, i, "P", "P", score=1 - i / 10) for i in range(9))
    return edit(record, tests=tests, invalid={}, rollouts=rollouts)


def test_rollouts_that_look_the_same_are_shown_once(record):
    assert [entry.rows for entry in view(record).entries] == [(10, 11), (12,), (13,)]
    assert view(record).entry_of_rollout == (0, 0, 1, 2)


def test_same_code_with_another_reward_is_shown_apart(record, edit):
    other = edit(record.rollouts[1], reward=edit(record.rollouts[1].reward, score=0.9))
    shown = view(edit(record, rollouts=(record.rollouts[0], other)))
    assert [entry.rows for entry in shown.entries] == [(10,), (11,)]


def test_of_too_many_rollouts_those_shown_are_spread_over_the_ranking(many):
    shown = view(many, max_rollouts_per_group=3)
    assert [entry.rows for entry in shown.entries] == [(20,), (24,), (28,)]
    assert [rows for rows, _ in shown.others] == [(21,), (22,), (23,), (25,), (26,), (27,)]
    assert shown.entry_of_rollout == (0, None, None, None, 4, None, None, None, 8)


@pytest.mark.parametrize("limit", [0, 1])
def test_small_limits(many, limit):
    shown = view(many, max_rollouts_per_group=limit)
    assert (len(shown.entries), len(shown.others)) == (limit, 9 - limit)


def test_failures_name_the_methods_and_the_recorded_line(record):
    failure = view(record).entries[1].failures[0]
    assert (failure.number, failure.class_name, failure.verdict) == (1, "TestA", Verdict.FAIL)
    assert failure.methods == ((Verdict.FAIL, ("test_a2",)),)
    assert failure.detail == "test_a2: AssertionError: 1 != 2"


def test_what_is_unknown_is_listed_after_failures_with_a_line_and_invalid_tests_never(record):
    entry = view(record).entries[1]
    assert [f.verdict for f in entry.failures] == [Verdict.FAIL, Verdict.UNKNOWN]
    assert entry.failed == 2


def test_failures_are_bounded_and_counted(record):
    entry = view(record, max_failures_per_rollout=1).entries[1]
    assert (len(entry.failures), entry.failed) == (1, 2)


def test_strip_has_a_letter_for_every_method(record):
    assert view(record).entries[1].strip == (
        '<i>1</i>·<b class="vF">F</b> <i>2</i><b class="vU">U</b> <i>3</i><b class="vI">I</b>'
    )
    assert view(record).entries[2].failures == ()


def test_test_views_carry_pass_rates_and_reasons(record):
    tests = view(record).tests
    assert [t.invalid for t in tests] == [None, None, "it has no test method"]
    assert tests[0].methods == (("test_a1", 1.0), ("test_a2", pytest.approx(2 / 3)))
    assert [str(t.source.html) for t in tests] == [f"class Test{c}: ..." for c in "ABC"]


def test_texts_stay_within_their_bytes(many):
    shown = view(many, text_bytes=60)
    blocks = [shown.question, *(e.code for e in shown.entries), *(t.source for t in shown.tests)]
    assert sum(len(block.html.encode()) for block in blocks) <= 60
    assert any(block.shown < block.total for block in blocks)


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({}, "add/1 · step 3"),
        ({"step": None}, "add/1"),
        ({"step": None, "task_id": None}, "f"),
        ({"step": None, "task_id": None, "entry_point": None}, "prompt prompt-1"),
    ],
)
def test_title(record, edit, changes, title):
    assert group_title(edit(record, **changes)) == title
