"""`replay` and `report` on records that `score` made of recipes/offline_scoring, and on a training."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from coderm_reward.cli.app import app
from coderm_reward.config import load_config
from coderm_reward.data.records import GroupRecord, read_records
from coderm_reward.errors import CodermError, ConfigError, InputError, OutputError
from coderm_reward.online.run_log import RunLog
from coderm_reward.online.sample import GroupOutcome

RECIPE = Path(__file__).parents[3] / "recipes" / "offline_scoring"
COMMAND = [sys.executable, "-c", "from coderm_reward.cli import main; main()"]


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Step 2 of the recipe, scored by the command."""
    folder = tmp_path_factory.mktemp("replay")
    command = ["score", RECIPE / "dump" / "2.jsonl", "--tests", RECIPE / "unit_tests.jsonl"]
    limits = ["--timeout", "0.3", "--out", folder / "scored.jsonl"]
    done = subprocess.run(
        [*COMMAND, *map(str, command + limits)], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder / "scored.groups.jsonl"


@pytest.fixture(scope="module")
def training(scored: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of three steps that had these groups; the first lacked a sibling, who came late."""
    folder = tmp_path_factory.mktemp("training")
    log = RunLog(folder)
    records = list(read_records(scored))
    for step in (9, 10, 11):
        for number, record in enumerate(records[:4]):
            of_step = msgspec.structs.replace(
                record, step=str(step), uid=f"{step}.{number}", group=f"{step}.{number}"
            )
            early = msgspec.structs.replace(of_step, rollouts=of_step.rollouts[:-1])
            if (step, number) == (9, 0):
                log.add(GroupOutcome(record=early, validation=False, siblings=8))
            log.add(GroupOutcome(record=of_step, validation=False, siblings=8, late=(step, number) == (9, 0)))
    log.close()
    return folder


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What a command prints; its errors are raised."""
    app([str(argument) for argument in arguments], standalone_mode=False)
    return capsys.readouterr().out


def replayed(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """The JSON object of a replay."""
    found: dict[str, Any] = json.loads(run(capsys, "replay", *arguments, "--json").strip().splitlines()[-1])
    return found


def scores(record: GroupRecord) -> list[float]:
    return [rollout.reward.score for rollout in record.rollouts]


def test_the_same_settings_give_the_same_records(
    scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """To the bit: warnings, neutral rewards and all."""
    found = replayed(capsys, scored.with_name("scored.jsonl"), "--out", tmp_path / "groups.jsonl")
    assert (found["changed_share"], found["flips"], found["largest"]) == (0.0, 0, [])
    assert found["mean_reward_before"] == found["mean_reward_after"]
    assert found["rank_correlation"] == pytest.approx(1.0)
    assert list(read_records(tmp_path / "groups.jsonl")) == list(read_records(scored))


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (["--aggregator", "bayes"], {"aggregator": "bayes"}),
        (["--vote-unit", "class", "--duplicates", "drop"], {"vote_unit": "class", "duplicates": "drop"}),
        (["--shape", "binary", "--threshold", "0.7"], {"shape": "binary", "threshold": 0.7}),
        (["--reliability-rule", "filter", "--min-reliability", "0.9"], {"reliability_rule": "filter"}),
        (["--exclude-judge", "inline", "--neutral", "0.1"], {"neutral": 0.1}),
    ],
)
def test_the_figures_are_those_of_the_records_written(
    scored: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    settings: dict[str, Any],
) -> None:
    """Worked out again from both files; tests, verdicts and costs are untouched."""
    found = replayed(capsys, scored, *options, "--out", tmp_path / "new.groups.jsonl")
    old, new = list(read_records(scored)), list(read_records(tmp_path / "new.groups.jsonl"))
    for name, value in settings.items():
        assert {getattr(record.config.scoring, name) for record in new} == {value}
    assert [(r.group, r.tests, r.invalid, r.stats) for r in old] == [
        (r.group, r.tests, r.invalid, r.stats) for r in new
    ]
    assert all(a.settings != b.settings for a, b in zip(old, new, strict=True))
    before = np.concatenate([scores(record) for record in old])
    after = np.concatenate([scores(record) for record in new])
    assert found["mean_reward_after"] == pytest.approx(after.mean())
    assert found["changed_share"] == pytest.approx((np.abs(after - before) > 1e-9).mean())
    advantages = [
        np.concatenate([np.array(scores(r)) - np.mean(scores(r)) for r in records]) for records in (old, new)
    ]
    flips = (advantages[0] > 1e-9) & (advantages[1] < -1e-9) | (advantages[0] < -1e-9) & (
        advantages[1] > 1e-9
    )
    assert found["flips"] == flips.sum()
    assert found["largest"] or found["changed_share"] == 0.0


def test_scoring_anew_by_classes_agrees_with_replaying_by_classes(
    scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole path again, sandbox included: where it found the same verdicts, the same rewards."""
    run(capsys, "replay", scored, "--vote-unit", "class", "--out", tmp_path / "new.groups.jsonl")
    capsys.readouterr()
    command = ["score", RECIPE / "dump" / "2.jsonl", "--tests", RECIPE / "unit_tests.jsonl"]
    again = ["--vote-unit", "class", "--timeout", "0.3", "--out", tmp_path / "again.jsonl"]
    done = subprocess.run(
        [*COMMAND, *map(str, command + again)], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    new, anew = (
        {(r.group, *(rollout.classes for rollout in r.rollouts)): scores(r) for r in read_records(file)}
        for file in (tmp_path / "new.groups.jsonl", tmp_path / "again.groups.jsonl")
    )
    same = new.keys() & anew.keys()
    assert same  # nearly all; a busy machine may add a timeout
    assert [new[key] for key in same] == [anew[key] for key in same]


def test_a_config_file_stands_for_itself_and_what_it_cannot_change_is_named(
    scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "new.yaml").write_text(
        "scoring: {aggregator: combined, acc_threshold: 0.9}\nsandbox: {timeout: 5.0}\nbudget: {budget: 4}\n"
    )
    app(["replay", str(scored), "--config", str(tmp_path / "new.yaml"), "--json"], standalone_mode=False)
    told = capsys.readouterr()
    assert "unchanged, as tests and verdicts are the recorded ones" in told.err
    assert "budget.budget, sandbox.timeout" in told.err
    found = json.loads(told.out.strip().splitlines()[-1])
    assert found["changed_share"] > 0.5
    assert found["mean_acc_after"] < found["mean_acc_before"]


def test_the_table_names_the_groups_that_change_most(
    scored: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = run(capsys, "replay", scored, "--aggregator", "bayes")
    for text in ("mean reward", "mean acc", "rank correlation", "advantages with", "Groups that change most"):
        assert text in printed


def test_a_training_can_be_replayed_by_steps(
    training: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its folder, and a group that a late sibling joined once."""
    groups = {
        steps: replayed(capsys, training, "--steps", steps)["groups"] for steps in ("9", "9-10", "10-", "11")
    }
    assert groups == {"9": 4, "9-10": 8, "10-": 8, "11": 4}
    found = replayed(capsys, training, "--aggregator", "bayes", "--out", tmp_path / "new.groups.jsonl")
    records = list(read_records(tmp_path / "new.groups.jsonl"))
    assert found["groups"] == len(records) == len({record.group for record in records}) == 12
    assert found["rollouts"] == sum(len(record.rollouts) for record in records)


def test_truth_in_the_reward_can_be_replayed(
    scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def with_truth(record: GroupRecord) -> GroupRecord:
        rollouts = [
            msgspec.structs.replace(
                r, reward=msgspec.structs.replace(r.reward, has_truth=1.0, acc_true=i % 2)
            )
            for i, r in enumerate(record.rollouts)
        ]
        return msgspec.structs.replace(record, rollouts=tuple(rollouts))

    from coderm_reward.data.sidecar import write_records

    known = tmp_path / "known.groups.jsonl"
    write_records(known, (with_truth(record) for record in read_records(scored)))
    mixed, back = tmp_path / "mixed.groups.jsonl", tmp_path / "back.groups.jsonl"
    run(capsys, "replay", known, "--ground-truth-weight", "0.25", "--out", mixed)
    assert replayed(capsys, mixed)["changed_share"] == 0.0
    run(capsys, "replay", mixed, "--ground-truth-weight", "0", "--out", back)
    for before, after in zip(read_records(known), read_records(mixed), strict=True):
        expected = [0.75 * score + 0.25 * (i % 2) for i, score in enumerate(scores(before))]
        assert scores(after) == pytest.approx(expected)
        assert {r.reward.acc == (r.reward.score >= 0.5) for r in after.rollouts} == {True}
    assert [scores(r) for r in read_records(back)] == [scores(r) for r in read_records(known)]


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        (["nowhere.jsonl"], InputError, "There is no group record file"),
        (["SCORED", "--vote-unit", "assertion"], InputError, "score the rollouts again with --vote-unit"),
        (["SCORED", "--aggregator", "best"], ConfigError, "aggregator"),
        (["SCORED", "--steps", "20-10"], ConfigError, "names no steps; write 12, 10-20 or 10-."),
        (["SCORED", "--steps", "77"], InputError, "no group with rollouts of steps 77"),
        (["SCORED", "--steps", "77", "--out", "new.groups.jsonl"], InputError, "of steps 77"),
        (["SCORED", "--out", "new.jsonl"], OutputError, "let --out end in groups.jsonl"),
        (["SCORED", "--out", "SCORED"], OutputError, "would be written over"),
        (["SCORED", "--config", "nowhere.yaml"], ConfigError, "does not exist"),
    ],
)
def test_bad_input_is_one_sentence(
    scored: Path, arguments: list[str], kind: type[CodermError], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(scored.parent)
    with pytest.raises(kind, match=text):
        app(["replay", *(scored.name if a == "SCORED" else a for a in arguments)], standalone_mode=False)
    assert not list(scored.parent.glob("*new*"))


def test_settings_of_the_sandbox_are_no_options(scored: Path) -> None:
    command = [*COMMAND, "replay", str(scored), "--timeout", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "--timeout" in done.stderr


def test_report_reads_a_training(training: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pages = {}
    for name, options in {"all": [], "some": ["--steps", "9"]}.items():
        run(capsys, "report", training, "--out", tmp_path / f"{name}.html", *options)
        pages[name] = (tmp_path / f"{name}.html").read_text()
    run(capsys, "report", training / "groups.jsonl", "--out", tmp_path / "file.html")
    for uid in ("9.0", "10.3", "11.2"):
        assert f"uid <code>{uid}</code>" in pages["all"]
    assert pages["all"].count("uid <code>") == 12
    assert pages["some"].count("uid <code>") == 4
    assert "step 10" not in pages["some"]


def test_replayed_records_can_be_reported_and_scored_settings_are_shown(
    scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "replay", scored, "--aggregator", "bayes", "--out", tmp_path / "new.groups.jsonl")
    run(capsys, "report", tmp_path / "new.groups.jsonl", "--out", tmp_path / "new.html")
    assert "bayes" in (tmp_path / "new.html").read_text()
    assert load_config(None).scoring.aggregator == "majority"
