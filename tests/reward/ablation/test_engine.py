"""The whole ablation, on groups where the answer is known."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from coderm_reward.ablation import AblationSettings, policies, run_ablation, steps
from coderm_reward.ablation.bench import Bench
from coderm_reward.ablation.plan import difficulties, plan
from coderm_reward.ablation.settings import INDEPENDENT, UNIFORM, Policy
from coderm_reward.ablation.table import SAME, aggregator_rows, markdown, policy_rows, ratio_rows, to_csv
from coderm_reward.config import ScoringConfig
from coderm_reward.errors import ConfigError, InputError

ALL = policies(
    ("constant", "oracle", "recorded", "history", "pilot"),
    ("uniform", "greedy", "price", "sequential"),
    ("best_of_n", "advantage"),
)
SOME = policies(("oracle", "pilot"), ("greedy", "price", "sequential"), ("best_of_n", "advantage"))
SMALL = AblationSettings(draws=4, replicates=60, budgets=(2, 4), rollouts=6)


def cells(result, **wanted):
    return [c for c in result.cells if all(getattr(c, k) == v for k, v in wanted.items())]


@pytest.fixture(scope="module")
def result(many):
    settings = msgspec.structs.replace(
        SMALL, policies=SOME, aggregators=("majority", "bayes"), vote_units=("method", "class")
    )
    done = []
    found = run_ablation(many, settings, done.append)
    assert sum(done) == steps(settings)
    return found


def test_every_rule_and_scoring_and_budget_has_a_cell(result):
    assert len(result.cells) == 2 * 2 * len(SOME) * 2
    assert (len(SOME), len(ALL)) == (2 + 2 * 2 * 2 + 1, 2 + 5 * 2 * 2 + 1)
    assert {c.policy for c in result.cells} == {p.label for p in SOME}


def test_uniform_against_itself_is_no_difference(many):
    """On other draws of the same groups; of 95 % intervals one in twenty may say otherwise."""
    settings = AblationSettings(draws=6, replicates=200, budgets=(2, 4), rollouts=6)
    wrong = []
    for seed in range(10):
        found = run_ablation(many, msgspec.structs.replace(settings, seed=seed))
        for cell in cells(found, policy="uniform, other draws"):
            wrong += [cell.gain[figure].excludes(0.0) for figure in ("best_of_n", "auc", "correlation")]
        wrong += [r.ratio.excludes(1.0) for r in found.ratios]
    assert len(wrong) == 10 * 8
    assert sum(wrong) <= 6


def test_a_rule_that_does_what_uniform_does_is_exactly_uniform(many):
    same = Policy("greedy", "constant")  # equal difficulties, equal shares
    found = run_ablation(many, msgspec.structs.replace(SMALL, policies=(UNIFORM, same)))
    for cell in cells(found, policy="constant:greedy"):
        assert {abs(i.value) + abs(i.low) + abs(i.high) for i in cell.gain.values()} == {0.0}
    assert [r.ratio.value for r in found.ratios] == [1.0, 1.0]


def test_more_tests_are_better_and_a_better_score_is_seen(many):
    settings = AblationSettings(draws=10, replicates=200, budgets=(1, 12), rollouts=8)
    few, lots = cells(run_ablation(many, settings), policy="uniform")
    assert lots.figures["auc"].low > few.figures["auc"].high
    assert lots.figures["correlation"].value > few.figures["correlation"].value


def test_the_same_question_gets_the_same_answer_and_another_seed_another(many):
    settings = msgspec.structs.replace(SMALL, policies=policies(("pilot",), ("price",), ("advantage",)))
    first, again = run_ablation(many, settings), run_ablation(many, settings)
    assert to_csv(first) == to_csv(again)
    assert to_csv(run_ablation(many, msgspec.structs.replace(settings, seed=1))) != to_csv(first)


def test_no_rule_spends_more_than_it_may(many):
    for policy in ALL:
        bench = Bench.drawn(many, ScoringConfig(), rollouts=6, draws=2, seed=0)
        for budget in (1, 3):
            planned = plan(policy, bench, budget, 0, SMALL)
            assert sum(planned) <= budget * len(many), policy
            assert min(planned) >= 1


def test_the_oracle_knows_and_the_pilot_only_looks(many):
    bench = Bench.drawn(many, ScoringConfig(), rollouts=6, draws=1, seed=0)

    def means(source):
        known = difficulties(Policy("greedy", source), bench, 4, 0, SMALL)
        return [d.pass_rate for d in known]

    truth = [g.truth.mean() for g in many]
    assert np.corrcoef(means("oracle"), truth)[0, 1] > 0.99
    assert means("recorded") == [g.difficulty.pass_rate for g in many]
    before = means("pilot"), means("history")
    blind = Bench([replace(g, truth=~g.truth) for g in many], bench.draws, ScoringConfig())
    bench = blind
    assert (means("pilot"), means("history")) == before  # no truth reaches them
    assert np.corrcoef(before[0], truth)[0, 1] > 0.5
    assert np.corrcoef(before[1], truth)[0, 1] > 0.5


def test_weighing_groups_changes_the_pass_rate(many):
    found = run_ablation(many, msgspec.structs.replace(SMALL, pass_rate=0.7))
    assert found.pass_rate == pytest.approx(0.7)
    plain = run_ablation(many, SMALL)
    name = "best_of_n"
    assert found.cells[0].figures[name].value > plain.cells[0].figures[name].value


def test_filtering_unreliable_groups_takes_gradients_from_all_wrong_groups(group):
    hopeless = [group(f"h{i}", 0.0, noise=0.4) for i in range(6)]

    def share(rule):
        settings = msgspec.structs.replace(SMALL, scoring=ScoringConfig(reliability_rule=rule))
        return run_ablation(hopeless, settings).cells[0].figures["gradient"].value

    assert share("none") > 0.9
    assert share("filter") <= share("shrink") <= share("none")
    assert share("filter") < 0.8 * share("none")


def test_quintiles_go_from_hard_to_easy(result):
    rates = [p.pass_rate for p in result.quintiles if (p.vote_unit, p.aggregator) == ("method", "majority")]
    assert rates == sorted(rates)
    assert {p.quintile for p in result.quintiles} == {1, 2, 3, 4, 5}


def test_allocations_are_per_group_and_the_oracle_gives_hard_prompts_more(result):
    assert set(result.allocations) == {p.label for p in SOME if p is not INDEPENDENT}
    oracle = np.array(result.allocations["oracle:greedy"])
    rates = np.array(result.pass_rates)
    assert oracle[(rates > 0) & (rates < 0.4)].mean() > oracle[rates > 0.6].mean()


def test_tables_and_csv_say_no_difference_where_the_interval_includes_zero(result):
    rows = policy_rows(result)
    assert len(rows) == len(result.cells)
    placed = {(c.vote_unit, c.aggregator, str(c.budget), c.policy): c for c in result.cells}
    for row in rows:
        gain = placed[row[:4]].gain
        for text, figure in zip(row[-2:], ("best_of_n", "auc"), strict=True):
            assert text == "" if not gain else text.startswith(SAME) != gain[figure].excludes(0.0)
    assert markdown(("a",), [("b",)]).splitlines()[1] == "| - |"
    parsed = list(csv.DictReader(io.StringIO(to_csv(result))))
    assert len(parsed) == len(result.cells)
    assert parsed[0]["rule"] == "uniform"
    assert parsed[0]["gain_auc"] == ""
    assert float(parsed[0]["auc_low"]) <= float(parsed[0]["auc"]) <= float(parsed[0]["auc_high"])
    assert len(aggregator_rows(result)) == 8
    assert len(ratio_rows(result)) == len(result.ratios)


def test_one_rollout_empty_groups_and_groups_without_tests_are_neutral(group):
    lone = [group("a", 1.0, rollouts=1), group("b", 0.0, rollouts=1), group("c", 0.5, responses=0)]
    found = run_ablation(lone, msgspec.structs.replace(SMALL, policies=ALL))
    assert len(found.cells) == 2 * len(ALL)
    with pytest.raises(InputError, match="nothing to ablate"):
        run_ablation([], SMALL)
    with pytest.raises(InputError, match="nothing to ablate"):
        run_ablation(lone[2:], SMALL)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"budgets": ()}, "budgets must be"),
        ({"budgets": (0, 2)}, "budgets must be"),
        ({"budgets": (4, 2)}, "ascending"),
        ({"draws": 0}, "draws must be at least 1"),
        ({"replicates": 5}, "replicates must be at least 10"),
        ({"rollouts": 0}, "rollouts must be at least 1"),
        ({"policies": (INDEPENDENT,)}, "must be uniform"),
        ({"aggregators": ()}, "at least one of aggregators"),
    ],
)
def test_settings_that_make_no_ablation_are_said(changes, words):
    with pytest.raises(ConfigError, match=words):
        AblationSettings(**changes)
