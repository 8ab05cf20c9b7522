"""The whole way through a real vLLM with a real model on the CPU: what is promised, kill -9, and `score`.

The model is tiny and writes mostly junk, so counts and invariants are asserted, never quality.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import backend_contract
import pyarrow.parquet as pq
import pytest
from real_vllm import MODEL, MODEL_FOLDER, ROOT, VENV_PYTHON, RealServer, make_ready

from coderm_reward.config import GenerationConfig
from coderm_reward.errors import GenerationError
from coderm_reward.generation.completions import Completion, CompletionBackend, CompletionRequest, Sampling
from coderm_reward.generation.model_generator import ModelGenerator
from coderm_reward.generation.openai_backend import OpenAIBackend
from coderm_reward.generation.store import SuiteStore
from coderm_reward.types import CodeStatus, Problem, Solution, TestSuite, content_hash

pytestmark = pytest.mark.slow

T = TypeVar("T")
HANG = 900.0
"""Seconds after which a test that waits is taken for one that hangs; the machine may be busy."""
RECIPE = ROOT / "recipes" / "offline_scoring"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    make_ready()
    server = RealServer(tmp_path_factory.mktemp("vllm"))
    try:
        server.start()
        yield server
    finally:
        server.kill()
        server.wait_until_gone()


def run(server: RealServer, work: Callable[[OpenAIBackend], Awaitable[T]], **options: Any) -> T:
    async def guarded() -> T:
        async with OpenAIBackend(server.url, MODEL, **{"deadline": HANG, **options}) as backend:
            return await asyncio.wait_for(work(backend), HANG)

    return asyncio.run(guarded())


@pytest.mark.parametrize("promise", backend_contract.CONTRACT, ids=lambda promise: promise.__name__)
def test_the_client_keeps_its_promises_on_it(
    server: RealServer, promise: Callable[[CompletionBackend], Awaitable[None]]
) -> None:
    run(server, promise)


def test_a_prompt_too_long_for_its_context_fails_alone(server: RealServer) -> None:
    run(server, lambda backend: backend_contract.too_long_prompts_fail_alone(backend, 3000))


def test_what_is_unfinished_at_the_end_comes_out_as_cancelled(server: RealServer) -> None:
    run(server, backend_contract.unfinished_work_is_cancelled)


def test_a_wrong_model_is_named(server: RealServer) -> None:
    async def work() -> None:
        async with OpenAIBackend(server.url, "nobody") as backend:
            with pytest.raises(GenerationError, match=f"serves {MODEL}, but not 'nobody'"):
                await backend.check()

    asyncio.run(work())


# Killed in the middle


class Listening:
    """A backend that writes down what it is asked."""

    def __init__(self, backend: CompletionBackend) -> None:
        self._backend = backend
        self.asked: list[CompletionRequest] = []
        self.model = backend.model

    async def check(self) -> None:
        await self._backend.check()

    def complete(
        self, requests: Sequence[CompletionRequest], sampling: Sampling
    ) -> AsyncIterator[Completion]:
        self.asked += requests
        return self._backend.complete(requests, sampling)

    async def aclose(self) -> None:
        await self._backend.aclose()


def two_problems() -> list[tuple[Problem, Solution]]:
    rows = [json.loads(line) for line in (RECIPE / "problems.jsonl").read_text("utf-8").splitlines()[:2]]
    return [
        (
            Problem(content_hash(row["prompt"]), row["prompt"], row["entry_point"]),
            Solution(CodeStatus.OK, row["reference_solution"]),
        )
        for row in rows
    ]


def test_killed_in_the_middle_of_a_batch_it_loses_nothing_that_had_arrived(
    server: RealServer, tmp_path: Path
) -> None:
    config = GenerationConfig(model=MODEL, responses=8, max_tokens=48, context=2048)
    problems = two_problems()
    owed, before_the_kill = 8 * len(problems), 5

    def stored() -> dict[str, dict[int, Any]]:
        with SuiteStore.open(tmp_path / "suites.db") as store:
            identity = ModelGenerator(None, store, config).identity
            return {
                problem.prompt_hash: {
                    one.slot: one for one in store.responses(problem.prompt_hash, identity, 8)
                }
                for problem, _ in problems
            }

    async def generate(
        backend: CompletionBackend, on_completion: Callable[[Completion], None] | None = None
    ) -> list[TestSuite | BaseException]:
        with SuiteStore.open(tmp_path / "suites.db") as store:
            generator = ModelGenerator(backend, store, config, on_completion=on_completion)
            return await asyncio.gather(
                *(generator.generate(problem, [solution], None) for problem, solution in problems),
                return_exceptions=True,
            )

    arrived = 0

    def kill_at_the_fifth(completion: Completion) -> None:
        nonlocal arrived
        if completion.failure is None:
            arrived += 1
            if arrived == before_the_kill:
                server.kill()

    # Three at a time, so that some have arrived, some are being written and some wait when it dies.
    cut = run(server, lambda backend: generate(backend, kill_at_the_fifth), max_concurrency=3)
    server.wait_until_gone()
    kept = stored()
    assert arrived == sum(map(len, kept.values()))
    assert before_the_kill <= arrived < owed
    for (problem, _), suite in zip(problems, cut, strict=True):
        missing = 8 - len(kept[problem.prompt_hash])
        if isinstance(suite, TestSuite):
            assert suite.responses == 8 - missing
            assert suite.dropped.get("failed_connection", 0) == missing
        else:
            assert isinstance(suite, GenerationError)
            assert missing == 8

    with pytest.raises(GenerationError, match=server.url):
        run(server, lambda backend: backend.check())
    server.start()

    async def finish(backend: OpenAIBackend) -> tuple[list[TestSuite | BaseException], Listening]:
        listening = Listening(backend)
        return await generate(listening), listening

    whole, listening = run(server, finish)
    finished = stored()
    for (problem, _), suite in zip(problems, whole, strict=True):
        assert isinstance(suite, TestSuite)
        assert suite.responses == 8
        assert not any(reason.startswith("failed") for reason in suite.dropped)
        before, after = kept[problem.prompt_hash], finished[problem.prompt_hash]
        assert sorted(after) == list(range(8))
        assert {slot: after[slot] for slot in before} == before  # not one byte of what had arrived changed
        asked = {int(one.key) for one in listening.asked if problem.question in one.messages[0].content}
        assert asked == set(after) - set(before)
        assert all(after[slot].completion_tokens > 0 for slot in after)
    assert len(listening.asked) == owed - arrived
    assert server.finished_requests() == owed - arrived  # the server itself says so


# The engine in a process


def test_the_engine_in_a_process_is_asked_like_the_server(server: RealServer, tmp_path: Path) -> None:
    conversations = [[{"role": "user", "content": problem.question}] for problem, _ in two_problems()] + [
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Späße? 你好 <|im_end|>"}]
    ]
    reference: list[dict[str, Any]] = []
    for messages in conversations:
        for temperature, seed in ((0.0, 0), (0.8, 7)):
            sampling = {"temperature": temperature, "top_p": 0.95, "max_tokens": 24, "seed": seed}
            rendered = server.post("/v1/chat/completions/render", {"messages": messages, **sampling})
            answer = server.post("/v1/chat/completions", {"messages": messages, **sampling})
            tokens = server.post("/tokenize", {"messages": messages})
            assert tokens["tokens"] == rendered["token_ids"]
            reference.append(
                {
                    "messages": messages,
                    "sampling": sampling,
                    "token_ids": rendered["token_ids"],
                    "sampling_params": rendered["sampling_params"],
                    "text": answer["choices"][0]["message"]["content"],
                    "finish_reason": answer["choices"][0]["finish_reason"],
                }
            )
    file = tmp_path / "reference.json"
    file.write_text(json.dumps(reference))
    checks = Path(__file__).with_name("vllm_engine_checks.py")
    environment = {
        **os.environ,
        "CODERM_VLLM_REFERENCE": str(file),
        "CODERM_VLLM_MODEL": str(MODEL_FOLDER),
        "VLLM_CPU_KVCACHE_SPACE": "2",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
    }
    subprocess.run(
        [str(VENV_PYTHON), "-m", "pytest", "-q", "-p", "no:cacheprovider", str(checks)],
        cwd=ROOT,
        env=environment,
        check=True,
        timeout=1800,
    )


# From prompts to rewards


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from coderm_reward.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        timeout=HANG,
    )


def test_score_goes_from_prompts_to_rewards_and_does_without_the_server_afterwards(
    server: RealServer, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in (RECIPE / "dump" / "1.jsonl").read_text("utf-8").splitlines()]
    prompts = sorted({row["input"] for row in rows})[:2]
    dump = [row for row in rows if row["input"] in prompts]
    (tmp_path / "1.jsonl").write_text("".join(json.dumps(row) + "\n" for row in dump))
    store, config = tmp_path / "suites.db", tmp_path / "config.yaml"
    config.write_text("generation: {context: 2048}\n")

    def score(name: str, *more: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]], str]:
        options = ["--model", MODEL, "--n", "3", "--max-tokens", "160", "--config", str(config)]
        out = tmp_path / f"{name}.parquet"
        done = command(
            "score", str(tmp_path / "1.jsonl"), "--store", str(store), "--out", str(out), *options, *more
        )
        assert done.returncode == 0, done.stdout + done.stderr
        records = (tmp_path / f"{name}.groups.jsonl").read_text("utf-8").splitlines()
        return pq.read_table(out).to_pylist(), [json.loads(line) for line in records], done.stdout

    before = server.finished_requests()
    scored, groups, printed = score(
        "live", "--base-url", server.url, "--report", str(tmp_path / "report.html")
    )
    assert "Scored" in printed
    assert server.finished_requests() - before == 3 * len(prompts)
    assert len(scored) == len(dump)
    for row in scored:
        assert 0.0 <= row["coderm_score"] <= 1.0
        assert row["coderm_infra_error"] == 0.0
        assert row["coderm_neutral"] == 1.0 or row["coderm_no_code"] == 1.0 or row["coderm_tests_run"] > 0
    assert len(groups) == len(prompts)
    assert (tmp_path / "report.html").stat().st_size > 0

    server.kill()
    server.wait_until_gone()
    again, groups_again, _ = score("kept")
    assert [row["coderm_score"] for row in again] == [row["coderm_score"] for row in scored]
    assert [group["tests"] for group in groups_again] == [group["tests"] for group in groups]
    missing = command(
        "score", str(tmp_path / "1.jsonl"), "--store", str(store), "--base-url", server.url, "--n", "4"
    )
    assert missing.returncode != 0
    assert server.url in missing.stderr
