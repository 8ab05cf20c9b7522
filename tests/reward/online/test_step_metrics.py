"""The metrics of a step: figures worked out by hand, properties, and the page that explains them."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_groups import made_group

from coderm_reward.config import RewardConfig
from coderm_reward.online.metric_names import MEANINGS, TRAIN, VALIDATION, metrics_page_table
from coderm_reward.online.sample import GroupOutcome
from coderm_reward.online.step_metrics import step_metrics
from coderm_reward.types import ExecutionStats


@pytest.fixture(scope="module")
def step() -> dict[str, float]:
    """Two groups of training and one of validation."""
    return step_metrics(
        [
            made_group(
                ["PPPP", "PPFF", "PPFF", ""],
                truth=[1, 0, 0, 0],
                siblings=6,
                waited=[3.0, 2.0, 1.0, 0.0],
                answered=[5.0, 4.0, 3.0, 2.0],
                pass_rate=0.25,
            ),
            made_group(["PPI", "PPI"], group="h", truth=[0, None], pass_rate=0.75, late=1),
            made_group(["UUTX", "PPFE"], group="v", validation=True, judges=["AAHI", "AAAA"]),
        ]
    )


def test_rewards_and_accuracy(step: dict[str, float]) -> None:
    rewards = [1.0, 0.5, 0.5, 0.0, 1.0, 1.0]
    assert step["coderm/reward/mean"] == pytest.approx(sum(rewards) / 6)
    assert (step["coderm/reward/min"], step["coderm/reward/max"]) == (0.0, 1.0)
    assert step["coderm/reward/p50"] == 0.75
    assert step["coderm/reward/generated"] == step["coderm/reward/mean"]
    assert step["coderm/reward/no_gradient"] == 0.5
    assert step["coderm/acc"] == pytest.approx(5 / 6)
    assert step["coderm/no_code"] == pytest.approx(1 / 6)
    assert (step["coderm/groups"], step["coderm/rollouts"]) == (2.0, 6.0)


def test_agreement_with_the_truth(step: dict[str, float]) -> None:
    """Known: 1.0 right, 0.5 0.5 0.0 wrong; 1.0 wrong. The one without code has no votes to judge."""
    assert step["coderm/has_truth"] == pytest.approx(5 / 6)
    assert step["coderm/acc_true"] == pytest.approx(1 / 5)
    assert step["coderm/agreement/auc_within"] == 1.0
    assert step["coderm/agreement/auc"] == pytest.approx((3 + 0.5) / 4)
    assert step["coderm/agreement/far"] == 1.0
    assert step["coderm/agreement/frr"] == 0.0
    assert step["coderm/agreement/acc"] == pytest.approx(1 / 4)
    assert not any(key.startswith("coderm_val/agreement") for key in step)
    assert "coderm_val/acc_true" not in step


def test_tests_budgets_and_programs(step: dict[str, float]) -> None:
    assert step["coderm/tests/valid"] == (4 + 2) / 2
    assert step["coderm/tests/invalid"] == 0.5
    assert (step["coderm/responses/planned"], step["coderm/responses/spent"]) == (5 + 4, 4 + 3)
    assert (step["coderm/tokens/prompt"], step["coderm/tokens/completion"]) == (200, 80)
    assert step["coderm/difficulty/mean"] == 0.5
    assert step["coderm/difficulty/p95"] == pytest.approx(0.725)
    assert step["coderm/programs/per_group"] == (3 + 1) / 2
    assert step["coderm/programs/share"] == pytest.approx(4 / 6)
    assert step["coderm/pairs/saved"] == 0.5
    assert step["coderm/pairs/cache_hits"] == 0.25


def test_siblings_and_seconds(step: dict[str, float]) -> None:
    assert step["coderm/missing_siblings"] == 2
    assert step["coderm/late_siblings"] == 1
    assert step["coderm/wait_seconds/mean"] == 1.5
    assert step["coderm/answer_seconds/max"] == 5.0
    assert step["coderm/gen_seconds/mean"] == 1.5
    assert step["coderm/exec_seconds/p95"] == 2.0
    assert "coderm_val/wait_seconds/mean" not in step


def test_verdicts_and_judges_of_validation_stand_apart(step: dict[str, float]) -> None:
    assert step["coderm_val/verdict/unknown/count"] == 2
    assert step["coderm_val/verdict/timeout/share"] == pytest.approx(1 / 8)
    assert step["coderm_val/tampered"] == 0.5
    assert step["coderm_val/judge_handle"] == pytest.approx(0.25)
    assert step["coderm_val/judge_inline"] == pytest.approx(0.25)
    assert step["coderm/verdict/pass/count"] == 4 + 2 + 2 + 2 + 2


def test_a_share_of_truth_in_the_reward_is_no_agreement() -> None:
    """Votes call the wrong one right and the right one wrong; a reward of truth alone hides that."""
    groups = [made_group(["PP", "FF"], truth=[0, 1], settings={"ground_truth_weight": 1.0})]
    found = step_metrics(groups)
    assert found["coderm/agreement/auc"] == 0.0
    assert (found["coderm/agreement/far"], found["coderm/agreement/frr"]) == (1.0, 1.0)
    assert [r.reward.score for r in groups[0].record.rollouts] == [0.0, 1.0]
    assert found["coderm/reward/generated"] == 0.5


def test_a_group_that_late_siblings_joined_counts_once() -> None:
    first = made_group(["PP", "FF"], siblings=3)
    whole = made_group(["PP", "FF", "PF"], siblings=3, late=1)
    alone = made_group(["PF"], siblings=3, late=1, first_row=2)
    for later in (whole, alone):
        found = step_metrics([first, later])
        assert (found["coderm/groups"], found["coderm/rollouts"]) == (1.0, 3.0)
        assert (found["coderm/missing_siblings"], found["coderm/late_siblings"]) == (0.0, 1.0)
        assert found["coderm/reward/mean"] == 0.5


def test_a_late_sibling_recorded_by_itself_counts_as_a_rollout_and_not_as_a_group() -> None:
    first = made_group(["PPP", "FFF", "PPF"], group="g", siblings=4, truth=[1, 0, None], pass_rate=0.2)
    late = made_group(["PFF"], group="of its own", siblings=4, late=1, first_row=3, pass_rate=0.2)
    same = {"prompt_hash": first.record.prompt_hash, "uid": first.record.uid}
    late = msgspec.structs.replace(late, record=msgspec.structs.replace(late.record, **same))
    alone, both = step_metrics([first]), step_metrics([first, late])
    assert (alone["coderm/missing_siblings"], both["coderm/missing_siblings"]) == (1.0, 0.0)
    assert both["coderm/late_siblings"] == 1.0
    assert (both["coderm/groups"], both["coderm/rollouts"]) == (1.0, 4.0)
    assert both["coderm/reward/mean"] == pytest.approx((1 + 0 + 2 / 3 + 1 / 3) / 4)
    of_groups = ("programs/per_group", "tests/valid", "responses/spent", "difficulty/mean", "reliability")
    assert {name: both[f"coderm/{name}"] for name in of_groups} == {
        name: alone[f"coderm/{name}"] for name in of_groups
    }
    only = step_metrics([late])
    assert (only["coderm/groups"], only["coderm/rollouts"]) == (0.0, 1.0)
    assert "coderm/tests/valid" not in only


def test_a_group_that_could_not_be_scored_says_nothing_about_tests_and_programs() -> None:
    scored = made_group(["PPP", "FFF"])
    failed = made_group(["", ""], group="failed")
    rewards = [
        msgspec.structs.replace(
            r, reward=msgspec.structs.replace(r.reward, infra_error=1.0, neutral=1.0, no_code=0.0)
        )
        for r in failed.record.rollouts
    ]
    record = msgspec.structs.replace(failed.record, settings="", rollouts=tuple(rewards))
    found = step_metrics([scored, msgspec.structs.replace(failed, record=record)])
    assert (found["coderm/groups"], found["coderm/infra_errors"], found["coderm/neutral"]) == (2.0, 2.0, 0.5)
    assert (found["coderm/programs/per_group"], found["coderm/tests/none"]) == (2.0, 0.0)
    assert found["coderm/no_code"] == 0.0


def test_validation_rewards_have_no_truth_in_them_whatever_the_settings_say() -> None:
    votes, weight = ["PP", "FF"], {"ground_truth_weight": 0.5}
    group = made_group(votes, truth=[0, 1], validation=True)
    config = made_group(votes, settings=weight).record.config
    group = msgspec.structs.replace(group, record=msgspec.structs.replace(group.record, config=config))
    assert step_metrics([group])["coderm_val/reward/generated"] == 0.5
    assert step_metrics([group])["coderm_val/agreement/auc"] == 0.0


def test_nothing_gives_nothing() -> None:
    assert step_metrics([]) == {}
    assert step_metrics([made_group([])]) == {}


outcomes = st.lists(
    st.builds(
        lambda votes, number, validation, truth, weight, siblings, seconds, pairs: made_group(
            [letters if letters is None or not letters else letters.ljust(3, "P") for letters in votes],
            group=f"g{number}",
            validation=validation,
            truth=[truth[i % len(truth)] for i in range(len(votes))] if truth else (),
            settings={"ground_truth_weight": weight, "vote_unit": "class"},
            siblings=siblings,
            waited=[seconds] * len(votes),
            stats=ExecutionStats(pairs=pairs, pairs_run=pairs // 2, seconds=seconds),
        ),
        st.lists(st.text("PFETMOXU", max_size=3), max_size=6),
        st.integers(0, 4),
        st.booleans(),
        st.lists(st.sampled_from([None, 0, 1]), max_size=3),
        st.sampled_from([0.0, 0.5]),
        st.one_of(st.none(), st.integers(0, 9)),
        st.floats(0, 1e6),
        st.integers(0, 10**6),
    ),
    max_size=6,
)


@settings(max_examples=60)
@given(outcomes)
def test_every_key_is_explained_and_every_value_finite(step: list[GroupOutcome]) -> None:
    found = step_metrics(step)
    explained = {prefix + key for key in MEANINGS for prefix in (TRAIN, VALIDATION)}
    assert found.keys() <= explained
    assert all(isinstance(value, float) and math.isfinite(value) for value in found.values())
    shares = ("acc", "programs/share", "pairs/saved", "agreement/far", "reward/no_gradient")
    assert all(0.0 <= found.get(f"coderm/{name}", 0.0) <= 1.0 for name in shares)


@settings(max_examples=30)
@given(outcomes, st.randoms())
def test_the_order_of_different_groups_does_not_matter(step: list[GroupOutcome], random: object) -> None:
    step = list({outcome.record.group: outcome for outcome in step}.values())
    shuffled = list(step)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert step_metrics(shuffled) == pytest.approx(step_metrics(step))


def test_every_key_can_be_had() -> None:
    """The page explains no key that never comes."""
    votes = ["PPPP", "PPFF", ""]
    groups = [
        made_group(votes, group=f"{v}", validation=v, truth=[1, 0, 0], waited=[1.0], answered=[1.0])
        for v in (False, True)
    ]
    assert step_metrics(groups).keys() == {p + key for key in MEANINGS for p in (TRAIN, VALIDATION)}


def test_the_page_holds_the_table_of_every_key() -> None:
    page = Path(__file__).parents[3] / "docs" / "metrics.md"
    assert metrics_page_table() in page.read_text("utf-8")


def test_recorded_rewards_are_those_that_the_settings_give() -> None:
    record = made_group(["PF", "PP"]).record
    assert record.config == RewardConfig()
    assert [rollout.reward.score for rollout in record.rollouts] == [0.5, 1.0]
