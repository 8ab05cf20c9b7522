"""The table of steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from coderm_reward.data.records import GroupRecord
from coderm_reward.report.html import render_report
from coderm_reward.report.numbers import report_numbers
from coderm_reward.report.steps import step_numbers
from coderm_reward.report.views import ReportLimits


@pytest.fixture
def records(record: GroupRecord, edit: Callable[..., Any]) -> list[GroupRecord]:
    """Steps 10 and 9, the latter twice; in step 10 the truth of one rollout is known."""
    first = record.rollouts[0]
    known = edit(first, reward=edit(first.reward, has_truth=1.0, acc_true=1.0, tampered=1.0))
    return [
        edit(record, group="c", step="10", rollouts=(known, *record.rollouts[1:])),
        edit(record, group="a", step="9"),
        edit(record, group="b", step="9", rollouts=record.rollouts[:2]),
    ]


def test_steps_come_in_the_order_of_their_numbers(records: list[GroupRecord]) -> None:
    nine, ten = step_numbers(records, report_numbers(records).groups)
    assert (nine.step, nine.groups, nine.rollouts, nine.acc_true) == ("9", 2, 6, None)
    assert nine.mean_reward == pytest.approx((1 + 1 + 0.5 + 0 + 1 + 1) / 6)
    assert (nine.zero_spread, nine.tampered) == (1, 0)
    assert (ten.step, ten.acc_true, ten.tampered) == ("10", 1.0, 1)


def test_one_step_is_no_table(records: list[GroupRecord]) -> None:
    assert step_numbers(records[1:], report_numbers(records[1:]).groups) == ()


def test_the_page_shows_the_last_steps(records: list[GroupRecord]) -> None:
    page = {
        limit: render_report(
            records, title="t", settings={}, generated_at="now", limits=ReportLimits(max_steps=limit)
        )
        for limit in (1, 5)
    }
    assert "The last 1 of 2 steps." in page[1]
    assert '<td class="fixed">9</td>' not in page[1]
    assert '<td class="fixed">9</td>' in page[5]
    assert "mean acc_true" in page[5]
