"""The real scorer's groups in a run log: late siblings, truth in the reward, validation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
from online_rig import Sandbox, sample

from coderm_reward.config import load_config
from coderm_reward.data.records import read_records
from coderm_reward.online.assembly import open_scorer
from coderm_reward.online.run_log import RunLog
from coderm_reward.online.sample import Sample
from coderm_reward.rescoring import rescored
from coderm_reward.types import Problem, Solution

BODIES = ["2 * x", "x + x", "x * x", "2", "None.x", "0 if x == 5 else 2 * x"]


class Doubles:
    """A TruthSource: right is what doubles, by its text."""

    async def judge(
        self, problem: Problem, solutions: Sequence[Solution], value: object
    ) -> list[bool | None]:
        return ["2 * x" in s.code or "x + x" in s.code for s in solutions]


def test_what_the_scorer_tells_is_recorded_measured_and_replayed(
    sandbox: Sandbox, tests_file: Path, tmp_path: Path
) -> None:
    config = load_config({"tests": str(tests_file), "quiet_seconds": 30.0, "ground_truth_weight": 0.5})

    def group(number: int, **more: object) -> list[Sample]:
        more = {"uid": f"u{number}", "siblings": len(BODIES), "ground_truth": "some", **more}
        return [sample(body, number, member=str(i), **more) for i, body in enumerate(BODIES)]

    async def work() -> None:
        log = RunLog(tmp_path)
        truth = Doubles()
        async with open_scorer(config, pool=sandbox.pool, sink=log, run="r", truth=truth) as scorer:
            for step in (1, 2):
                first, second = group(2 * step, step=str(step)), group(2 * step + 1, step=str(step))
                await scorer.score_all(first)
                in_time = [msgspec.structs.replace(s, siblings=len(BODIES) - 1) for s in second[:-1]]
                await asyncio.gather(*map(scorer.score, in_time))
                await scorer.score(second[-1])
            await scorer.score_all(group(9, step="2", validation=True))
        await asyncio.to_thread(log.close)

    sandbox.run(work())
    records = list(read_records(tmp_path / "groups.jsonl"))
    validation = list(read_records(tmp_path / "validation.groups.jsonl"))
    assert [len(record.rollouts) for record in records] == [6, 5, 1] * 2
    assert len(validation) == 1
    for record in [*records, *validation]:
        again = rescored(record, record.config)
        if len(record.rollouts) == 1:  # a late sibling, of whose siblings its record knows nothing
            assert again.rollouts[0].reward.score == record.rollouts[0].reward.score
        else:
            assert again.rollouts == record.rollouts
    one, two = (json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines())
    for step in (one, two):
        assert (step["coderm/groups"], step["coderm/rollouts"]) == (2, 12)
        assert (step["coderm/late_siblings"], step["coderm/missing_siblings"]) == (1, 0)
        assert step["coderm/acc_true"] == 0.5
        assert step["coderm/reward/generated"] != step["coderm/reward/mean"]
    assert "coderm_val/acc" not in one
    assert two["coderm_val/reward/generated"] == two["coderm_val/reward/mean"]
