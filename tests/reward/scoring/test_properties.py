"""Laws that hold for every group: bounds, order, weights, missing evidence."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from coderm_reward.config import ScoringConfig
from coderm_reward.scoring.aggregators import AGGREGATORS
from coderm_reward.scoring.clusters import cluster_ids, cluster_shares
from coderm_reward.scoring.rewards import group_rewards
from coderm_reward.scoring.votes import count_votes
from coderm_reward.types import Verdict

UNITS = st.sampled_from(["method", "class"])
DUPLICATES = st.sampled_from(["weight", "drop"])
AGGREGATOR_NAMES = st.sampled_from(sorted(AGGREGATORS))
CONFIGS = st.builds(
    ScoringConfig,
    aggregator=AGGREGATOR_NAMES,
    vote_unit=UNITS,
    shape=st.sampled_from(["fraction", "binary", "vote_share"]),
    threshold=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    duplicates=DUPLICATES,
)


@st.composite
def groups(draw, letters="PPPFFUETX", special=True, max_copies=4, distinct=False):
    """Keyword arguments of `build`: up to 6 rollouts on up to 4 classes of up to 3 methods.

    `special` adds invalid methods, rollouts without code and programs that read stdin.
    """

    def sized(elements, size):
        return draw(st.lists(elements, min_size=size, max_size=size))

    widths = draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    ends = list(itertools.accumulate(widths))
    invalid = sized(st.integers(0, 9).map(lambda x: special and x == 0), ends[-1])
    rows = []
    for _ in range(draw(st.integers(1, 6))):
        cells = sized(st.sampled_from(letters), ends[-1])
        marked = ["I" if bad else cell for bad, cell in zip(invalid, cells, strict=True)]
        words = ["".join(marked[end - width : end]) for end, width in zip(ends, widths, strict=True)]
        kind = draw(st.sampled_from(["code"] * 5 + ["-", "?"])) if special else "code"
        rows.append(" ".join(words) if kind == "code" else kind)
    return {
        "rows": rows,
        "copies": sized(st.integers(1, max_copies), len(widths)),
        "solutions": list(range(len(rows))) if distinct else sized(st.integers(0, 2), len(rows)),
    }


def rewards_of(statuses, matrix, config):
    return group_rewards(
        statuses, matrix, config, difficulty=0.5, gen_seconds=0.0, generation_failed=False
    ).rewards


def take(matrix, order):
    return replace(
        matrix,
        **{
            name: getattr(matrix, name)[order]
            for name in (
                "class_verdicts",
                "method_verdicts",
                "has_code",
                "solution_index",
                "judges",
                "exec_seconds",
            )
        },
    )


@given(groups(), CONFIGS)
def test_rewards_are_always_finite_in_bounds_and_of_one_schema(build, spec, config):
    statuses, matrix = build(**spec)
    for reward in rewards_of(statuses, matrix, config):
        values = reward.as_dict()
        assert all(type(value) is float and math.isfinite(value) for value in values.values())
        counts = {"tests_run", "tests_planned", "gen_seconds", "exec_seconds"}
        assert all(0.0 <= value <= 1.0 for name, value in values.items() if name not in counts)
        assert reward.tests_run <= reward.tests_planned
        assert reward.acc == float(reward.score >= config.acc_threshold)


@given(groups(), CONFIGS, st.randoms(use_true_random=False))
def test_reordering_rollouts_reorders_rewards(build, spec, config, random):
    statuses, matrix = build(**spec)
    order = list(range(len(statuses)))
    random.shuffle(order)
    straight = rewards_of(statuses, matrix, config)
    shuffled = rewards_of([statuses[i] for i in order], take(matrix, order), config)
    for position, i in enumerate(order):
        ours, theirs = shuffled[position].as_dict(), straight[i].as_dict()
        assert ours.pop("reliability") == pytest.approx(theirs.pop("reliability"), abs=1e-9)
        assert ours == theirs


@given(groups(), CONFIGS)
def test_neutral_rollouts_leave_the_groups_mean_as_it_is(build, spec, config):
    statuses, matrix = build(**spec)
    rewards = rewards_of(statuses, matrix, config)
    scored = [reward.score for reward in rewards if not reward.neutral]
    assume(scored)
    assert np.mean([reward.score for reward in rewards]) == pytest.approx(np.mean(scored))


@given(groups(), AGGREGATOR_NAMES, UNITS, DUPLICATES)
def test_aggregators_score_exactly_the_eligible_and_stay_in_bounds(build, spec, name, unit, duplicates):
    ballots = count_votes(build(**spec)[1], unit, duplicates)
    score = AGGREGATORS[name](ballots).score
    assert (np.isnan(score) == ~ballots.eligible).all()
    assert ((score[ballots.eligible] >= 0.0) & (score[ballots.eligible] <= 1.0)).all()


@given(groups(max_copies=1, distinct=True), CONFIGS)
def test_weight_and_drop_agree_when_there_are_no_duplicates(build, spec, config):
    statuses, matrix = build(**spec)
    from_weight, from_drop = (
        rewards_of(statuses, matrix, msgspec.structs.replace(config, duplicates=duplicates))
        for duplicates in ("weight", "drop")
    )
    assert from_weight == from_drop


@given(groups(), UNITS, DUPLICATES)
def test_consensus_refines_majority_and_never_reverses_it(build, spec, unit, duplicates):
    ballots = count_votes(build(**spec)[1], unit, duplicates)
    plain = AGGREGATORS["majority"](ballots).score
    fine = AGGREGATORS["majority_consensus"](ballots).score
    share = cluster_shares(cluster_ids(ballots.votes, ballots.eligible), ballots.rollout_weight)
    members = np.flatnonzero(ballots.eligible)
    for i in members:
        for j in members:
            if plain[i] < plain[j] or (plain[i] == plain[j] and 0 < plain[i] < 1 and share[i] < share[j]):
                assert fine[i] < fine[j]
            if plain[i] == plain[j] and share[i] == share[j]:
                assert fine[i] == fine[j]


@given(groups(), UNITS, st.data())
def test_a_lost_verdict_changes_no_other_majority_score(build, spec, unit, data):
    _, matrix = build(**spec)
    assume(matrix.method_verdicts.size)
    victim = data.draw(st.integers(0, len(spec["rows"]) - 1))
    column = data.draw(st.integers(0, matrix.method_verdicts.shape[1] - 1))
    assume(matrix.method_verdicts[victim, column] != Verdict.INVALID_TEST)
    methods, classes = matrix.method_verdicts.copy(), matrix.class_verdicts.copy()
    methods[victim, column] = Verdict.UNKNOWN
    if classes[victim, matrix.method_test[column]] != Verdict.INVALID_TEST:
        classes[victim, matrix.method_test[column]] = Verdict.UNKNOWN
    lossy = replace(matrix, method_verdicts=methods, class_verdicts=classes)
    before, after = (AGGREGATORS["majority"](count_votes(m, unit, "weight")).score for m in (matrix, lossy))
    others = np.arange(before.size) != victim
    np.testing.assert_array_equal(before[others], after[others])


@given(groups(letters="PF", special=False), UNITS, st.data())
def test_lost_verdicts_never_split_a_cluster(build, spec, unit, data):
    _, matrix = build(**spec)
    whole = count_votes(matrix, unit, "weight")
    shape = whole.votes.known.shape
    lost = np.array(
        data.draw(st.lists(st.booleans(), min_size=math.prod(shape), max_size=math.prod(shape))),
        dtype=np.bool_,
    ).reshape(shape)
    lossy = replace(whole.votes, known=~lost, passed=whole.votes.passed & ~lost)
    still_there = lossy.known.any(axis=1)
    before = cluster_ids(whole.votes, whole.eligible)
    after = cluster_ids(lossy, still_there)
    for i in np.flatnonzero(still_there):
        for j in np.flatnonzero(still_there):
            assert before[i] != before[j] or after[i] == after[j]


@settings(max_examples=50)
@given(groups(special=False, letters="PFE"), CONFIGS)
def test_passing_one_more_test_never_lowers_the_majority_score(build, spec, config):
    statuses, matrix = build(**spec)
    failed = np.argwhere(matrix.method_verdicts[:1] != Verdict.PASS)
    assume(failed.size)
    methods = matrix.method_verdicts.copy()
    methods[0, failed[0][1]] = Verdict.PASS
    better = replace(matrix, method_verdicts=methods)
    plain = ScoringConfig(shape=config.shape, threshold=config.threshold)
    before, after = (rewards_of(statuses, m, plain)[0].score for m in (matrix, better))
    assert after >= before
