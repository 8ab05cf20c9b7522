"""Every number of the report against hand-worked examples."""

from __future__ import annotations

import pytest

from coderm_reward.data.records import GroupRecord
from coderm_reward.errors import InputError
from coderm_reward.report.groups import group_numbers
from coderm_reward.report.numbers import report_numbers, summarise
from coderm_reward.report.summary import summary_rows
from coderm_reward.types import ExecutionStats, UnitTest, Verdict


def present(counts):
    return {verdict.name: n for verdict, n in counts.items() if n}


def test_scores_of_a_group(record):
    numbers = group_numbers(0, record)
    assert numbers.mean == pytest.approx(0.625)
    assert numbers.std == pytest.approx(0.171875**0.5)
    assert not numbers.zero_spread
    assert numbers.reliability == 0.6


def test_disagreement_is_the_mean_over_rollouts_with_evidence(record):
    assert group_numbers(0, record).disagreement == pytest.approx((0 + 0 + 1) / 3)


def test_execution_seconds_count_each_distinct_solution_once(record):
    numbers = group_numbers(0, record)
    assert numbers.exec_seconds == pytest.approx(0.8)
    assert numbers.distinct_solutions == 2


def test_verdicts_are_counted_over_rollouts_with_code(record):
    verdicts = group_numbers(0, record).verdicts
    assert present(verdicts.classes) == {"PASS": 4, "FAIL": 1, "UNKNOWN": 1, "INVALID_TEST": 3}
    assert present(verdicts.methods) == {"PASS": 7, "FAIL": 1, "UNKNOWN": 1, "INVALID_TEST": 3}


def test_pass_rates_leave_out_what_is_no_evidence(record):
    numbers = group_numbers(0, record)
    assert [t.pass_rate for t in numbers.tests] == [pytest.approx(2 / 3), 1.0, None]
    assert [t.evidence for t in numbers.tests] == [3, 2, 0]
    assert numbers.method_pass_rates == (1.0, pytest.approx(2 / 3), 1.0, None)
    assert numbers.valid_tests == 2


def test_matrix_is_ordered_by_score_and_pass_rate(record):
    numbers = group_numbers(0, record)
    assert numbers.rollout_order == (0, 1, 2, 3)
    assert numbers.test_order == (1, 0, 2)


def test_item_rest_correlation_exposes_the_test_that_votes_against_the_others(record, make_rollout, edit):
    tests = tuple(UnitTest(id=name, source="", class_name=name, methods=("test",)) for name in "abcd")
    rows = ["PPPF", "PPPF", "FFFP", "FFFP"]
    rollouts = tuple(make_rollout(i, i, row, row) for i, row in enumerate(rows))
    numbers = group_numbers(0, edit(record, tests=tests, rollouts=rollouts, invalid={}))
    assert [t.item_rest for t in numbers.tests] == [pytest.approx(v) for v in (1, 1, 1, -1)]


def test_item_rest_correlation_is_undefined_without_variance(record):
    assert [t.item_rest for t in group_numbers(0, record).tests] == [None, None, None]


def test_a_group_of_equal_scores_has_no_spread(record, edit):
    assert group_numbers(0, edit(record, rollouts=record.rollouts[:2])).zero_spread


def test_a_single_rollout_is_not_counted_as_lack_of_spread(record, edit):
    one = edit(record, rollouts=record.rollouts[:1])
    assert not group_numbers(0, one).zero_spread
    assert summarise([one]).comparable_groups == 0


def test_a_record_that_does_not_fit_together_is_an_input_error(record, edit):
    broken = edit(record, rollouts=(edit(record.rollouts[0], methods="PPP"),))
    with pytest.raises(InputError, match="group-1"):
        group_numbers(0, broken)


def test_summary_counts_a_prompts_tests_once_over_its_groups(record, edit):
    again = edit(record, group="group-2", step="4", dropped={"truncated": 1, "duplicate": 5})
    summary = summarise([record, again])
    assert (summary.groups, summary.prompts, summary.rollouts) == (2, 1, 8)
    assert (summary.tests_parsed, summary.tests_invalid, summary.responses) == (3, 1, 4)
    assert list(summary.tests_dropped.items()) == [("duplicate", 5), ("truncated", 2)]


def test_summary_totals(record, edit):
    other = edit(record, prompt_hash="prompt-2", run="run-2", tests=(), invalid={}, dropped={}, rollouts=())
    summary = summarise([record, other])
    assert summary.runs == ("run-1", "run-2")
    assert summary.mean_reward == pytest.approx(0.625)
    assert summary.mean_acc == pytest.approx(0.5)
    assert summary.no_code == 1
    assert summary.groups_without_tests == 1
    assert (summary.pairs, summary.pairs_run, summary.retried, summary.assumed_timeouts) == (12, 8, 4, 2)
    assert summary.dedupe_rate == pytest.approx(1 / 3)
    assert (summary.exec_seconds, summary.gen_seconds) == (3.0, 4.0)


@pytest.mark.parametrize(
    ("field", "total"),
    [
        ("unsupported_format", "unsupported_format"),
        ("tampered", "tampered"),
        ("neutral", "neutral"),
        ("infra_error", "infra_errors"),
        ("timeout_rate", "timeout_rollouts"),
    ],
)
def test_summary_counts_flagged_rollouts(record, edit, field, total):
    first = edit(record.rollouts[0], reward=edit(record.rollouts[0].reward, **{field: 1.0}))
    assert getattr(summarise([edit(record, rollouts=(first, *record.rollouts[1:]))]), total) == 1


def test_summary_of_nothing():
    summary = summarise([])
    assert summary.mean_reward is None
    assert summary.dedupe_rate == 0.0
    assert dict(summary_rows(summary))["mean reward"] == "none"


def test_summary_rows_say_what_happened(record):
    rows = dict(summary_rows(summarise([record]), wall_seconds=2.0))
    assert rows["rollouts"] == "4"
    assert rows["groups"] == "1 (1 prompt)"
    assert rows["tests parsed"] == "3 (from 4 responses)"
    assert rows["dropped in parsing"] == "2: 2 truncated"
    assert rows["mean reward"] == "0.625"
    assert (
        rows["class verdicts"] == "pass 4 (44.4%), fail 1 (11.1%), invalid_test 3 (33.3%), unknown 1 (11.1%)"
    )
    assert rows["timeouts"] == "0 method votes in 0 rollouts, 1 assumed"
    assert rows["judges"] == "apart 5 (100.0%), handle 0 (0.0%), inline 0 (0.0%)"
    assert rows["pairs asked"] == "6, of which 4 distinct (33.3% saved)"
    assert rows["verdict cache"] == "0 hits (0.0% of the distinct pairs)"
    assert rows["pairs run"] == "4"
    assert rows["seconds"] == "2.0"
    assert rows["pairs run per second"] == "2"


def test_judged_pairs_are_counted_by_judge(record, edit):
    judges = ["AHI", "AII", "HAA", "III"]
    rollouts = tuple(edit(r, judges=j) for r, j in zip(record.rollouts, judges, strict=True))
    scoring = edit(record.config.scoring, exclude_judges=("inline",))
    config = edit(record.config, scoring=scoring)
    counted = summarise([edit(record, rollouts=rollouts, config=config)])
    assert {judge.name: n for judge, n in counted.judges.pairs.items()} == {
        "APART": 2,
        "HANDLE": 2,
        "INLINE": 1,
    }
    assert counted.judges.excluded == 1
    assert dict(summary_rows(counted))["judges"] == (
        "apart 2 (40.0%), handle 2 (40.0%), inline 1 (20.0%); 1 pair excluded"
    )


def test_a_tampering_verdict_of_an_excluded_judge_is_not_counted_as_excluded(record, edit):
    rollout = edit(record.rollouts[0], classes="XPI", methods="XXPI", judges="IIA")
    config = edit(record.config, scoring=edit(record.config.scoring, exclude_judges=("inline",)))
    assert summarise([edit(record, rollouts=(rollout,), config=config)]).judges.excluded == 1


def test_pairs_are_asked_then_distinct_then_known_then_run(record, edit):
    stats = ExecutionStats(pairs=10, pairs_run=3, cache_hits=5)
    summary = summarise([edit(record, stats=stats)])
    assert (summary.pairs, summary.pairs_distinct, summary.cache_hits, summary.pairs_run) == (10, 8, 5, 3)
    assert (summary.dedupe_rate, summary.hit_rate) == (pytest.approx(0.2), pytest.approx(5 / 8))
    rows = dict(summary_rows(summary))
    assert rows["pairs asked"] == "10, of which 8 distinct (20.0% saved)"
    assert rows["verdict cache"] == "5 hits (62.5% of the distinct pairs)"
    assert rows["pairs run"] == "3"


def test_without_wall_seconds_there_is_no_rate(record):
    assert "pairs run per second" not in dict(summary_rows(summarise([record])))


def test_histograms_set_neutral_rewards_and_lack_of_spread_apart(record, edit):
    neutral = edit(record.rollouts[3], reward=edit(record.rollouts[3].reward, neutral=1.0))
    flat = edit(record, group="group-2", rollouts=record.rollouts[:2])
    numbers = report_numbers([edit(record, rollouts=(*record.rollouts[:3], neutral)), flat])
    assert (numbers.scores.counts[-1], numbers.scores.counts[10], numbers.scores.marked[0]) == (4, 1, 1)
    assert sum(numbers.scores.counts) + sum(numbers.scores.marked) == 6
    assert (numbers.spreads.marked[0], sum(numbers.spreads.counts)) == (1, 1)


def test_histogram_reaches_rewards_outside_zero_to_one(record, edit):
    low = edit(record.rollouts[0], reward=edit(record.rollouts[0].reward, score=-2.0))
    scores = report_numbers([edit(record, rollouts=(low,))]).scores
    assert (scores.edges[0], scores.edges[-1], sum(scores.counts)) == (-2.0, 1.0, 1)


def test_slowest_and_most_disputed_come_first(record, edit):
    def scaled(name: str, seconds: float, fraction: float) -> GroupRecord:
        reward = edit(record.rollouts[0].reward, exec_seconds=seconds, pass_fraction=fraction)
        return edit(record, group=name, rollouts=(edit(record.rollouts[0], reward=reward),))

    numbers = report_numbers([scaled("x", 1, 0.9), scaled("y", 3, 1.0), scaled("z", 2, 0.6)], top=2)
    assert numbers.slowest == (1, 2)
    assert numbers.disputed == (2, 0)


def test_all_unknown_group_has_no_pass_rates_and_no_dispute(record, edit):
    unknown = [
        edit(r, classes="UUU", methods="UUUU", reward=edit(r.reward, tests_run=0.0, pass_fraction=0.0))
        for r in record.rollouts
    ]
    numbers = group_numbers(0, edit(record, rollouts=tuple(unknown), invalid={}))
    assert [t.pass_rate for t in numbers.tests] == [None, None, None]
    assert numbers.disagreement == 0.0
    assert present(numbers.verdicts.classes) == {Verdict.UNKNOWN.name: 9}


def test_empty_stats_give_no_dedupe_rate(record, edit):
    summary = summarise([edit(record, stats=ExecutionStats())])
    assert (summary.dedupe_rate, summary.hit_rate) == (0.0, 0.0)


def test_what_generation_and_screening_counted_is_told_apart(record, edit):
    dropped = {"screened_files": 2, "failed_timeout": 3, "no_code": 1, "repaired_import": 4}
    marked = edit(record, dropped=dropped, marked={"a": "why"}, prompt_tokens=7, completion_tokens=50)
    later = edit(marked, group="group-2", completion_tokens=90)
    summary = summarise([marked, later])
    assert summary.tests_screened == {"screened_files": 2}
    assert summary.responses_failed == {"failed_timeout": 3}
    assert summary.tests_dropped == {"no_code": 1}
    assert summary.tests_repaired == {"repaired_import": 4}
    assert (summary.tests_marked, summary.prompt_tokens, summary.completion_tokens) == (1, 7, 90)
    rows = dict(summary_rows(summary))
    assert rows["screened before running"] == "2: 2 screened_files"
    assert rows["responses missing"] == "3: 3 failed_timeout"
    assert rows["tests the reference fails"] == "1, without a vote"
    assert rows["tokens"] == "90 written by the model, 7 read"
    assert not rows.keys() & dict(summary_rows(summarise([record]))).keys() >= {"tokens"}
