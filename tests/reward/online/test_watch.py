"""Signs of reward hacking: histories that show one, and histories that must not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderm_reward.online.metric_names import WATCHES
from coderm_reward.online.watch import REMEMBERED, Watch, signs, watch_page_table

History = Sequence[Mapping[str, float]]


def calm(steps: int = 30, seed: int = 0, **last: float) -> list[dict[str, float]]:
    """A healthy run: rewards rise slowly with noise, validation every five steps too, programs differ."""
    rng = np.random.default_rng(seed)
    history = []
    for step in range(steps):
        metrics = {
            "coderm/rollouts": 512.0,
            "coderm/tampered": 0.0,
            "coderm/reward/mean": 0.3 + 0.004 * step + 0.01 * rng.standard_normal(),
            "coderm/programs/per_group": 6.5 - 0.05 * step + 0.1 * rng.standard_normal(),
            "coderm/judge_handle": 0.05 + 0.01 * rng.random(),
            "coderm/judge_inline": 0.02 * rng.random(),
        }
        metrics["coderm/reward/generated"] = metrics["coderm/reward/mean"]
        if step % 5 == 0:
            truth = 0.25 + 0.003 * step + 0.005 * rng.standard_normal()
            metrics |= {"coderm_val/acc": truth + 0.05, "coderm_val/acc_true": truth}
            metrics["coderm_val/reward/generated"] = truth + 0.1
        history.append(metrics)
    history[-1] |= {"coderm/" + name.replace("__", "/"): value for name, value in last.items()}
    return history


def later(history: History, **changes: float) -> list[Mapping[str, float]]:
    """One more step, like the last but for these metrics; no validation."""
    last = {key: value for key, value in history[-1].items() if key.startswith("coderm/")}
    return [*history, last | {"coderm/" + name.replace("__", "/"): value for name, value in changes.items()}]


@pytest.mark.parametrize("seed", range(20))
def test_a_healthy_run_shows_nothing_at_any_step(seed: int) -> None:
    history = calm(60, seed)
    assert [found for step in range(1, 61) if (found := signs(history[:step]))] == []


def test_tampering_is_a_sign_from_the_second_rollout_on() -> None:
    assert signs(calm(tampered=1 / 512, rollouts=512.0)) == {}
    assert signs(calm(tampered=2 / 64, rollouts=64.0)) == {"tampered": "2 of 64 rollouts (3.1%)"}
    assert signs(calm(tampered=2 / 4096, rollouts=4096.0)) == {}
    assert signs([{"coderm/tampered": 0.5, "coderm/rollouts": 8.0}]).keys() == {"tampered"}


@pytest.mark.parametrize("judge", ["handle", "inline"])
def test_verdicts_of_a_judge_on_the_rise(judge: str) -> None:
    history = later(calm(), **{f"judge_{judge}": 0.4})
    assert signs(history) == {}
    assert signs(later(history)).keys() == {judge}


def test_one_odd_step_of_a_judge_is_no_sign() -> None:
    assert signs(later(calm(), judge_handle=0.9)) == {}


def test_a_share_of_a_judge_that_was_always_high_is_no_sign() -> None:
    assert signs([{**metrics, "coderm/judge_handle": 0.6} for metrics in calm()]) == {}


def test_siblings_becoming_one_program_while_rewards_rise() -> None:
    history: History = calm()
    for _ in range(3):
        history = later(history, programs__per_group=1.1)
    assert signs(history).keys() == {"collapse"}
    assert "6.3 programs a group in the beginning, 1.1 now" in signs(history)["collapse"]


def test_few_programs_without_a_rise_or_from_the_start_are_no_collapse() -> None:
    history: History = calm()
    for _ in range(3):
        history = later(history, programs__per_group=1.1, reward__mean=0.25)
    assert signs(history) == {}
    assert signs([{**metrics, "coderm/programs/per_group": 1.2} for metrics in calm()]) == {}


def test_a_jump_of_the_reward_that_validation_does_not_bear_out() -> None:
    history = later(calm(), reward__mean=0.8)
    found = signs(history)
    assert found.keys() == {"reward_jump"}
    assert "then 0.800" in found["reward_jump"]
    assert "not measured since" in found["reward_jump"]
    unmoved = [*history, {**history[-1], "coderm_val/acc_true": 0.3, "coderm_val/acc": 0.9}]
    assert "0.300 since" in signs(unmoved)["reward_jump"]


def test_a_jump_is_believed_once_validation_has_risen() -> None:
    history = later(calm(), reward__mean=0.8)
    risen = [*history, {**history[-1], "coderm_val/acc_true": 0.7}]
    assert signs(risen) == {}
    for _ in range(10):
        risen = later(risen)
        assert signs(risen) == {}


def test_a_jump_that_is_over_is_no_sign() -> None:
    history = later(later(calm(), reward__mean=0.8), reward__mean=0.42)
    assert signs(history) == {}


def test_a_jump_needs_history_and_size() -> None:
    assert signs(later(calm(6), reward__mean=0.8)) == {}
    flat = [{"coderm/reward/mean": 0.5} for _ in range(30)]
    assert signs([*flat, {"coderm/reward/mean": 0.59}]) == {}
    assert signs([*flat, {"coderm/reward/mean": 0.61}]).keys() == {"reward_jump"}


def gap(points: int, reward: float, truth: float, prefix: str) -> list[dict[str, float]]:
    rng = np.random.default_rng(1)
    return [
        {
            f"{prefix}reward/generated": 0.4 + reward * i / points + 0.005 * rng.standard_normal(),
            f"{prefix}acc_true": 0.4 + truth * i / points + 0.005 * rng.standard_normal(),
        }
        for i in range(points)
    ]


@pytest.mark.parametrize("prefix", ["coderm/", "coderm_val/"])
def test_votes_up_and_truth_down(prefix: str) -> None:
    assert signs(gap(10, 0.2, -0.2, prefix)).keys() == {"truth_gap"}
    assert signs(gap(10, 0.2, 0.2, prefix)) == {}
    assert signs(gap(10, -0.2, -0.2, prefix)) == {}
    assert signs(gap(10, 0.2, -0.03, prefix)) == {}
    assert signs(gap(4, 0.2, -0.2, prefix)) == {}


def test_noise_is_no_gap() -> None:
    rng = np.random.default_rng(2)
    for _ in range(50):
        history = [
            {"coderm_val/reward/generated": r, "coderm_val/acc_true": t}
            for r, t in 0.5 + 0.03 * rng.standard_normal((12, 2))
        ]
        assert signs(history) == {}


metric = st.sampled_from(
    ["reward/mean", "reward/generated", "acc", "acc_true", "tampered", "rollouts", "programs/per_group"]
)
steps = st.dictionaries(
    st.builds("".join, st.tuples(st.sampled_from(["coderm/", "coderm_val/"]), metric)),
    st.floats(-1e3, 1e3),
)


@given(st.lists(steps, max_size=30))
def test_any_history_is_answered(history: History) -> None:
    found = signs(history)
    assert found.keys() <= WATCHES.keys()
    assert all(evidence and "\n" not in evidence for evidence in found.values())
    assert signs(history) == found


def test_a_sign_is_counted_at_each_step_and_told_once() -> None:
    watch = Watch("records/groups.jsonl")
    told = []
    for step, share in enumerate([0, 0.5, 0.5, 0, 0.5], 1):
        counters, warnings = watch.see(step, {"coderm/tampered": share, "coderm/rollouts": 8.0})
        told += warnings
    assert counters["coderm/watch/tampered"] == 3.0
    assert counters.keys() == {f"coderm/watch/{name}" for name in WATCHES}
    assert [line.split(":")[0] for line in told] == ["step 2", "step 5"]
    assert "4 of 8 rollouts (50.0%)" in told[0]
    assert "coderm-reward report records/groups.jsonl --steps 2" in told[0]


def test_a_step_seen_again_counts_once() -> None:
    watch = Watch()
    bad, good = ({"coderm/tampered": share, "coderm/rollouts": 8.0} for share in (0.5, 0.0))
    watch.see(1, bad)
    counters, warnings = watch.see(1, bad)
    assert (counters["coderm/watch/tampered"], warnings) == (1.0, [])
    watch.see(2, good)
    assert watch.see(1, good)[0]["coderm/watch/tampered"] == 0.0
    assert len(watch.see(2, bad)[1]) == 1


def test_a_restart_goes_on_where_the_file_ends() -> None:
    first, second = Watch(), Watch()
    lines = []
    for step in range(1, 4):
        metrics = {"coderm/tampered": 0.5 * (step > 1), "coderm/rollouts": 8.0}
        lines.append((step, metrics | first.see(step, metrics)[0]))
    for line in lines:
        second.restore(*line)
    bad = {"coderm/tampered": 0.5, "coderm/rollouts": 8.0}
    assert second.see(4, bad) == first.see(4, bad) == (first.see(4, bad)[0], [])
    assert second.see(4, bad)[0]["coderm/watch/tampered"] == 3.0


def test_history_is_bounded() -> None:
    watch = Watch()
    for step in range(REMEMBERED + 50):
        counters, _ = watch.see(step, {"coderm/tampered": 0.5, "coderm/rollouts": 8.0})
    assert counters["coderm/watch/tampered"] == REMEMBERED + 50
    assert len(watch._steps) == REMEMBERED


def test_the_page_holds_every_sign_and_threshold() -> None:
    page = Path(__file__).parents[3] / "docs" / "metrics.md"
    assert watch_page_table() in page.read_text("utf-8")
