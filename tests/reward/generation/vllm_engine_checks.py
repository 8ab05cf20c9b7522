"""The in-process backend on the real vLLM; test_real_vllm.py runs this with the interpreter of .venv-vllm.

CODERM_VLLM_MODEL names the model's folder, CODERM_VLLM_REFERENCE what a server said of the same requests.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import backend_contract
import msgspec
import pytest
from backend_contract import collect, request

from coderm_reward.errors import GenerationError
from coderm_reward.generation.completions import CompletionBackend, CompletionRequest, Sampling
from coderm_reward.generation.vllm_engine import VllmBackend
from coderm_reward.generation.vllm_process import sampling_arguments
from coderm_reward.types import Message

MODEL = os.environ["CODERM_VLLM_MODEL"]
REFERENCE: list[dict[str, Any]] = json.loads(Path(os.environ["CODERM_VLLM_REFERENCE"]).read_text())
CONTEXT = 2048


@pytest.fixture(scope="module")
def backend() -> Iterator[VllmBackend]:
    """Shared by event loops: every test has its own."""
    backend = VllmBackend(MODEL, max_model_len=CONTEXT)
    yield backend
    asyncio.run(backend.aclose())


@pytest.mark.parametrize("promise", backend_contract.CONTRACT, ids=lambda promise: promise.__name__)
def test_it_keeps_what_backends_promise(
    backend: VllmBackend, promise: Callable[[CompletionBackend], Awaitable[None]]
) -> None:
    asyncio.run(promise(backend))


def test_a_prompt_too_long_fails_alone(backend: VllmBackend) -> None:
    asyncio.run(backend_contract.too_long_prompts_fail_alone(backend, 3000))


def engine(backend: VllmBackend) -> Any:
    asyncio.run(backend.check())
    return backend._engine


def messages(one: dict[str, Any]) -> tuple[Message, ...]:
    return tuple(Message(message["role"], message["content"]) for message in one["messages"])


def sampling(one: dict[str, Any]) -> Sampling:
    return Sampling(**{name: value for name, value in one["sampling"].items() if name != "seed"})


@pytest.mark.parametrize("one", REFERENCE)
def test_the_prompts_token_ids_are_the_servers(backend: VllmBackend, one: dict[str, Any]) -> None:
    assert engine(backend).encode(messages(one)) == one["token_ids"]


@pytest.mark.parametrize("one", REFERENCE)
def test_the_sampling_parameters_are_the_servers(backend: VllmBackend, one: dict[str, Any]) -> None:
    from vllm import SamplingParams

    room = CONTEXT - len(one["token_ids"])
    ours = SamplingParams(
        **sampling_arguments(engine(backend)._defaults, sampling(one), one["sampling"]["seed"], room)
    )
    theirs = msgspec.convert(one["sampling_params"], SamplingParams)
    assert fields(ours) == fields(theirs)
    assert (ours.seed, ours.max_tokens) == (one["sampling"]["seed"], one["sampling"]["max_tokens"])


def fields(params: Any) -> dict[str, Any]:
    """All that decides a text; the others say how it is handed over."""
    found = msgspec.structs.asdict(params)
    return {name: found[name] for name in found if name not in ("output_kind", "skip_clone")}


@pytest.mark.parametrize("one", REFERENCE)
def test_equal_seeds_give_the_servers_texts(backend: VllmBackend, one: dict[str, Any]) -> None:
    asked = CompletionRequest("a", messages(one), one["sampling"]["seed"])
    (found,) = asyncio.run(collect(backend, [asked], sampling(one))).values()
    assert (found.text, found.finish_reason) == (one["text"], one["finish_reason"])
    assert found.prompt_tokens == len(one["token_ids"])


def test_vllm_can_be_told_to_sleep_and_wake_as_we_tell_it() -> None:
    """It has no sleep mode on the CPU, so only the calls are checked here."""
    from vllm import AsyncLLMEngine

    assert inspect.iscoroutinefunction(AsyncLLMEngine.sleep)
    inspect.signature(AsyncLLMEngine.sleep).bind(None, level=1)
    assert inspect.iscoroutinefunction(AsyncLLMEngine.wake_up)
    inspect.signature(AsyncLLMEngine.wake_up).bind(None)


def test_closing_early_aborts_in_the_engine(backend: VllmBackend) -> None:
    async def work() -> None:
        many = [request(str(i), "Count to a thousand.", n=4, seed=9 * i) for i in range(4)]
        completions = backend.complete(many, Sampling(max_tokens=CONTEXT))
        first = asyncio.ensure_future(completions.__anext__())
        while not engine_requests(backend):
            await asyncio.sleep(0.05)
        first.cancel()
        await asyncio.wait([first])
        assert engine_requests(backend) == 0

    asyncio.run(work())


def engine_requests(backend: VllmBackend) -> int:
    found = backend._engine
    return found._engine.get_num_unfinished_requests() if found is not None else 0  # type: ignore[attr-defined]


def children() -> dict[int, str]:
    """Ids and command lines of this process's live children and theirs."""
    parents: dict[int, int] = {}
    names: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            name = (folder / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        if state != "Z":
            parents[int(folder.name)], names[int(folder.name)] = int(parent), name
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return {pid: names[pid] for pid in found - {os.getpid()}}


def test_an_engine_killed_in_the_middle_fails_what_it_owed_and_says_so(backend: VllmBackend) -> None:
    """The last: afterwards the engine is dead."""
    kinds: list[str] = []

    async def work() -> None:
        many = [request(str(i), "Count to a thousand.", seed=i) for i in range(8)]
        completions = backend.complete([request("short"), *many], Sampling(max_tokens=CONTEXT))
        collecting = asyncio.ensure_future(everything(completions, kinds))
        while not engine_requests(backend):
            await asyncio.sleep(0.05)
        for pid, name in children().items():
            if "EngineCore" in name or "Worker" in name:
                os.kill(pid, signal.SIGKILL)
        await asyncio.wait_for(collecting, 300)
        with pytest.raises(GenerationError, match="died"):
            await backend.check()

    asyncio.run(work())
    assert len(kinds) == 9
    assert set(kinds) <= {"", "connection"}
    assert "connection" in kinds


async def everything(completions: Any, kinds: list[str]) -> None:
    async for completion in completions:
        kinds.append(completion.failure.kind if completion.failure else "")


def test_closing_leaves_no_process(backend: VllmBackend) -> None:
    asyncio.run(backend.aclose())
    assert not [name for name in children().values() if "VLLM" in name]


def test_a_model_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    async def work() -> None:
        missing = VllmBackend(str(tmp_path / "nothing"), max_model_len=CONTEXT)
        try:
            with pytest.raises(
                GenerationError, match=r"^vLLM could not start .*nothing \(.*\); check the name"
            ):
                await missing.check()
        finally:
            await missing.aclose()

    asyncio.run(work())
