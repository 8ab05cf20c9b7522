"""What a reward step takes in verl's real reward loop: against the bare sandbox, and a plain reward function.

    scripts/verl-cpu                                             (once: makes .venv-verl)
    .venv-verl/bin/python scripts/bench/verl_step.py [--json] [--prompts 64] [--skip-streaming]

64 prompts x 8 rollouts (CodeGen-16B's first eight of a HumanEval problem, as they come) with up to ten of its
test classes each, through verl's own RewardLoopManager with two reward workers, on the cores there are:

  step       compute_rm_score over the whole batch with CodeRMRewardManager: wall seconds, and where they went
  pool       the same distinct (rollout, test) pairs through a bare SandboxPool of as many workers
  plain      verl's own manager with a plain custom function, as users write them: each test class of each
             rollout in a fresh interpreter (`fresh`), or in a forked process of an interpreter per rollout
             (`process`); walled in by bubblewrap, as this is model output
  streaming  every rollout sent by itself to one of the reward workers, over 60 seconds: seconds from the
             last one's arrival to the last reward

Nothing is cached between the parts, and starting Ray, verl and our actors is not timed: a group of
another problem goes first, and a part begins when the machine has come to rest (Ray goes on starting idle
workers for a while).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts" / "bench"), str(ROOT / "tests" / "reward" / "integrations" / "verl")]

from executors import BenchError, run_baseline  # noqa: E402
from machine import hardware  # noqa: E402
from verl_world import Row, make_batch, make_config, make_tokenizer  # noqa: E402
from workload import DataError, Problem, questions, raw_texts  # noqa: E402

from coderm_reward.data.records import GroupRecord, read_records  # noqa: E402
from coderm_sandbox import Job, Limits, SandboxPool, Test  # noqa: E402

TESTS = 10
LIMIT = 1.0
WORKERS = 2


def busy_and_all() -> tuple[int, int]:
    """(ticks that the cores worked, all of their ticks) since the machine started."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def settle(patience: float = 30.0) -> None:
    """Return when the cores have been idle for a second, or were not for too long."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        busy, every = busy_and_all()
        time.sleep(1.0)
        busy_now, every_now = busy_and_all()
        if busy_now - busy < 0.1 * (every_now - every):
            return
    say(f"the machine did not come to rest within {patience:.0f} s: something else runs on it")


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def plain_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: Any, kind: str = ""
) -> float:
    """What verl calls in the plain runs: the share of the test classes that a rollout passes."""
    tests = tuple(json.loads(ground_truth))
    code = solution_str.removeprefix("```python\n").removesuffix("\n```")
    verdicts = run_baseline(kind, [Problem(data_source, (code,), tests)], LIMIT).verdicts
    return sum(verdict == "pass" for verdict in verdicts) / len(tests)


def chosen(prompts: int, rollouts: int) -> list[Problem]:
    """The first problems, their first rollouts and tests, as they come."""
    problems = [
        Problem(name, tuple(solutions[:rollouts]), tuple(dict.fromkeys(tests))[:TESTS])
        for name, (solutions, tests) in raw_texts().items()
        if tests
    ]
    if len(problems) < prompts:
        raise DataError(f"The data hold {len(problems)} problems with tests; ask for no more with --prompts.")
    return problems[:prompts]


def tests_file(problems: Sequence[Problem], questions: Mapping[str, str], path: Path) -> Path:
    """The tests as a file for the reward."""
    with path.open("w") as file:
        for problem in problems:
            row = {"prompt": questions[problem.name], "unit_tests": list(problem.tests)}
            file.write(json.dumps(row) + "\n")
    return path


async def bare_pool(records: Sequence[GroupRecord]) -> tuple[float, int]:
    """(wall seconds, pairs) of what a step ran, in a pool alone: its distinct programs and tests."""
    async with SandboxPool(workers=WORKERS, limits=Limits(timeout=LIMIT)) as pool:
        settle()
        began = time.perf_counter()

        async def group(record: GroupRecord) -> int:
            found = await pool.inspect([Test(test.source, test.class_name) for test in record.tests])
            tests = tuple(
                Test(test.source, test.class_name, one.methods, one.skipped)
                for test, one in zip(record.tests, found, strict=True)
                if one.valid
            )
            codes = {rollout.solution: rollout.code for rollout in record.rollouts if rollout.solution >= 0}
            if tests:
                await asyncio.gather(*(pool.run(Job(code, tests)) for code in codes.values()))
            return len(codes) * len(tests)

        pairs = sum(await asyncio.gather(*map(group, records)))
        return time.perf_counter() - began, pairs


class Loop:
    """verl's real reward loop over a configuration of its own, with the batch it is to score."""

    def __init__(
        self, folder: Path, rows: Sequence[Row], warm_up: Sequence[Row], overrides: Sequence[str]
    ) -> None:
        from verl.experimental.reward_loop import RewardLoopManager
        from verl.utils import hf_tokenizer

        tokenizer = make_tokenizer(folder / "tokenizer")
        self.config = make_config(tokenizer, folder, overrides)
        self.tokenizer = hf_tokenizer(str(tokenizer))
        self.rows = rows
        self.manager = RewardLoopManager(self.config)
        self.step(warm_up)  # workers and actors start while it waits; nothing of it is met again

    def step(self, rows: Sequence[Row] = ()) -> tuple[float, list[float]]:
        """(wall seconds, rewards) of the whole batch, or of these rows, at once."""
        batch = make_batch(self.tokenizer, rows or self.rows)
        settle()
        began = time.perf_counter()
        scored = self.manager.compute_rm_score(batch)
        seconds = time.perf_counter() - began
        return seconds, scored.batch["rm_scores"].sum(dim=1).tolist()

    async def stream(self, seconds: float, seed: int = 0) -> tuple[float, list[float], list[float]]:
        """Seconds from the last arrival to the last reward, each rollout's own, and the rewards."""
        draw = random.Random(seed)
        batches = [make_batch(self.tokenizer, [row]) for row in self.rows]
        arrivals = [draw.uniform(0.0, seconds) for _ in self.rows]
        arrivals[draw.randrange(len(arrivals))] = seconds
        began = time.perf_counter()

        async def one(batch: Any, arrival: float) -> tuple[float, float, float]:
            await asyncio.sleep(arrival - (time.perf_counter() - began))
            sent = time.perf_counter()
            worker = draw.choice(self.manager.reward_loop_workers)
            answer = await worker.compute_score.remote(batch)
            return sent, time.perf_counter(), answer["reward_score"]

        done = await asyncio.gather(*map(one, batches, arrivals))
        tail = max(end for _, end, _ in done) - max(sent for sent, _, _ in done)
        return tail, [end - sent for sent, end, _ in done], [reward for _, _, reward in done]

    def close(self) -> None:
        """End its workers, and with them the actors that they made."""
        import ray

        for worker in self.manager.reward_loop_workers:
            ray.kill(worker)
        self.manager.reward_loop_workers.clear()


def ours(folder: Path, tests: Path, rollouts: int) -> list[str]:
    """The overrides of our runs."""
    settings = {"tests": tests, "timeout": LIMIT, "workers": WORKERS, "loggers": "[]"}
    ours = [f"+reward.custom_reward_function.reward_kwargs.{key}={value}" for key, value in settings.items()]
    return [*ours, f"actor_rollout_ref.rollout.n={rollouts}"]


def plain(kind: str) -> list[str]:
    """The overrides of a run with a plain function and verl's own manager."""
    here = Path(__file__).resolve()
    return [
        "reward.reward_manager.source=register",
        "reward.reward_manager.name=naive",
        f"reward.custom_reward_function.path={here}",
        "reward.custom_reward_function.name=plain_score",
        "~reward.custom_reward_function.reward_kwargs",
        f"+reward.custom_reward_function.reward_kwargs={{kind: {kind}}}",
    ]


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All parts, one after the other, in one Ray cluster."""
    import ray

    *problems, spare = chosen(options.prompts + 1, options.rollouts)
    texts = questions()

    def row(problem: Problem, solution: str) -> Row:
        return Row(
            [{"role": "user", "content": texts[problem.name]}],
            f"```python\n{solution}\n```",
            uid=problem.name,
            ground_truth=json.dumps(problem.tests),
        )

    rows = [row(problem, solution) for problem in problems for solution in problem.solutions]
    warm_up = [row(spare, solution) for solution in spare.solutions]
    tests = tests_file([*problems, spare], texts, folder / "tests.jsonl")
    result: dict[str, Any] = {"hardware": hardware(), "rollouts": len(rows), "prompts": len(problems)}
    ray.init(
        address="local",
        num_cpus=8,
        include_dashboard=False,
        object_store_memory=200_000_000,
        log_to_driver=options.verbose,
    )
    try:
        steps = []
        rewards: list[float] = []
        records: list[GroupRecord] = []
        pools = []
        for number in range(options.repeat):
            place = folder / f"step{number}"
            loop = Loop(place, rows, warm_up, ours(place, tests, options.rollouts))
            seconds, rewards = loop.step()
            steps.append(seconds)
            records = wait_for_records(place / "records" / "groups.jsonl", len(problems) + 1)
            loop.close()
            records = [record for record in records if record.uid != spare.name]
            alone, pairs = asyncio.run(bare_pool(records))
            pools.append(alone)
            say(f"step {seconds:.1f} s, the pool alone {alone:.1f} s, {pairs} distinct pairs")
        result |= {
            "step_s": round(statistics.median(steps), 2),
            "pool_s": round(statistics.median(pools), 2),
            "pairs": pairs,
            "overhead_vs_pool": round(
                statistics.median(a / b for a, b in zip(steps, pools, strict=True)) - 1, 3
            ),
            "infra_errors": sum(r.reward.infra_error for record in records for r in record.rollouts),
            **stages(records),
        }
        if not options.skip_streaming:
            place = folder / "streaming"
            loop = Loop(place, rows, warm_up, ours(place, tests, options.rollouts))
            tail, waited, streamed = asyncio.run(loop.stream(options.seconds))
            loop.close()
            different = sum(abs(a - b) > 1e-6 for a, b in zip(rewards, streamed, strict=True))
            result |= {
                "tail_s": round(tail, 2),
                "answer_s_median": round(statistics.median(waited), 2),
                "streamed_over_s": options.seconds,
                "rewards_different": different,
            }
            say(f"streaming: last reward {tail:.2f} s after the last rollout, {different} rewards differ")
        for kind in options.plain:
            loop = Loop(folder / kind, rows, warm_up, plain(kind))
            seconds, scores = loop.step()
            loop.close()
            result[f"plain_{kind}_s"] = round(seconds, 1)
            result["ratio_vs_plain_function" if kind == "fresh" else f"ratio_vs_plain_{kind}"] = round(
                seconds / result["step_s"], 2
            )
            say(f"plain function, {kind}: {seconds:.1f} s (mean score {statistics.fmean(scores):.3f})")
    finally:
        ray.shutdown()
    return result


def wait_for_records(path: Path, groups: int, patience: float = 60.0) -> list[GroupRecord]:
    """The records of a step, once the log has written them all."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        found = list(read_records(path)) if path.exists() else []
        if len(found) >= groups:
            return found
        time.sleep(0.2)
    raise BenchError(
        f"{path} did not get {groups} records within {patience:.0f} s; see the log with --verbose."
    )


def stages(records: Sequence[GroupRecord]) -> dict[str, float]:
    """What groups spent, in seconds of a group: they overlap, so no sum of them is the step."""
    return {
        "group_gen_s_mean": round(statistics.fmean(record.gen_seconds for record in records), 3),
        "group_exec_s_mean": round(statistics.fmean(record.stats.seconds for record in records), 3),
        "sandbox_s_total": round(
            sum(r.reward.exec_seconds for record in records for r in record.rollouts), 1
        ),
        "dedupe": round(
            1 - sum(r.stats.pairs_distinct for r in records) / sum(r.stats.pairs for r in records), 3
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--rollouts", type=int, default=8, help="of each prompt")
    parser.add_argument("--repeat", type=int, default=3, help="of the step and the bare pool, in turn")
    parser.add_argument("--seconds", type=float, default=60.0, help="over which the streamed rollouts arrive")
    parser.add_argument("--skip-streaming", action="store_true")
    parser.add_argument("--plain", nargs="*", choices=["fresh", "process"], default=["fresh", "process"])
    parser.add_argument("--verbose", action="store_true", help="what the actors log")
    parser.add_argument("--json", action="store_true", help="print the figures as a last line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="verl-step-") as folder:
        try:
            result = measure(options, Path(folder))
        except (BenchError, DataError) as error:
            sys.exit(str(error))
    for name, value in result.items():
        say(f"{name:24} {value}")
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
