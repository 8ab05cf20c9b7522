"""What we say to vLLM, told by a module in its place; the real one: vllm_engine_checks.py."""

from __future__ import annotations

import asyncio
import sys
import types
from collections.abc import AsyncIterator
from typing import Any

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderm_reward.errors import GenerationError
from coderm_reward.generation.completions import Sampling
from coderm_reward.generation.vllm_process import EngineError, EngineSettings, sampling_arguments, start_vllm
from coderm_reward.types import Message

SETTINGS = EngineSettings(
    model="some/model",
    max_model_len=100,
    gpu_memory_utilization=0.3,
    tensor_parallel_size=2,
    max_concurrency=7,
    sleep=True,
    options={"dtype": "float16"},
)


class Dead(Exception):
    pass


class Failed(Exception):
    pass


class Refused(Exception):
    """Not a ValueError, as in newer versions."""


class Tokenizer:
    def apply_chat_template(self, chat: list[dict[str, str]], **options: Any) -> list[int]:
        assert options == {"add_generation_prompt": True, "tokenize": True, "return_dict": False}
        if chat[0]["role"] == "tool":
            raise jinja2.TemplateError("no tools")
        return [1, *(len(message["content"]) for message in chat), 2]


class AsyncLLM:
    """What vLLM's class of this name is to us."""

    raises: Exception | None = None
    finish_reason = "stop"

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.arguments = arguments
        self.calls: list[Any] = []
        self.model_config = types.SimpleNamespace(
            max_model_len=arguments["max_model_len"],
            get_diff_sampling_param=lambda: {"top_k": 20, "temperature": 0.6, "max_tokens": 9},
        )

    def get_tokenizer(self) -> Tokenizer:
        return Tokenizer()

    async def generate(self, prompt: Any, params: Any, request_id: str) -> AsyncIterator[Any]:
        self.calls.append((prompt, params, request_id))
        if self.raises is not None:
            raise self.raises
        for text in ("unfinished", "whole"):
            output = types.SimpleNamespace(text=text, finish_reason=self.finish_reason, token_ids=[5, 6, 7])
            yield types.SimpleNamespace(outputs=[output])

    async def sleep(self, level: int = 1) -> None:
        self.calls.append(("sleep", level))
        if self.raises is not None:
            raise self.raises

    async def wake_up(self, tags: list[str] | None = None) -> None:
        self.calls.append(("wake_up", tags))
        if self.raises is not None:
            raise self.raises

    def shutdown(self, timeout: float | None = None) -> None:
        self.calls.append(("shutdown", timeout))


class Installed:
    """The module in vLLM's place."""

    def __init__(self) -> None:
        self.engine: Any = None
        self.fails: Exception | None = None
        self.tokenizer = Tokenizer
        self.cpu = False

    def start(self, arguments: dict[str, Any]) -> AsyncLLM:
        if self.fails is not None:
            raise self.fails
        self.engine = AsyncLLM(arguments)
        self.engine.get_tokenizer = self.tokenizer
        return self.engine


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> Installed:
    installed = Installed()
    contents: dict[str, dict[str, Any]] = {
        "vllm": {
            "AsyncEngineArgs": dict,
            "AsyncLLMEngine": types.SimpleNamespace(from_engine_args=installed.start),
            "SamplingParams": dict,
        },
        "vllm.platforms": {"current_platform": types.SimpleNamespace(is_cpu=lambda: installed.cpu)},
        "vllm.inputs": {"TokensPrompt": dict},
        "vllm.sampling_params": {"RequestOutputKind": types.SimpleNamespace(FINAL_ONLY="final")},
        "vllm.exceptions": {"VLLMError": Refused},
        "vllm.v1": {},
        "vllm.v1.engine": {},
        "vllm.v1.engine.exceptions": {"EngineDeadError": Dead, "EngineGenerateError": Failed},
    }
    for name, names in contents.items():
        module = types.ModuleType(name)
        vars(module).update(names)
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("VLLM_LOGGING_LEVEL", "VLLM_WORKER_MULTIPROC_METHOD"):
        monkeypatch.setenv(name, "set")
    return installed


def answer(vllm: Installed, **about: Any) -> Any:
    async def work() -> Any:
        engine = await start_vllm(SETTINGS)
        for name, value in about.items():
            setattr(vllm.engine, name, value)
        return await engine.answer([1, 2, 3], Sampling(0.5, 0.9, 40), 11, "id")

    return asyncio.run(work())


def test_the_engine_is_started_with_prefix_caching_and_our_settings(vllm: Installed) -> None:
    asyncio.run(start_vllm(SETTINGS))
    assert vllm.engine.arguments == {
        "model": "some/model",
        "max_model_len": 100,
        "gpu_memory_utilization": 0.3,
        "tensor_parallel_size": 2,
        "max_num_seqs": 7,
        "enable_prefix_caching": True,
        "enable_sleep_mode": True,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        "dtype": "float16",
    }


def test_on_the_cpu_no_prompt_is_read_in_chunks_and_nothing_compiled(vllm: Installed) -> None:
    vllm.cpu = True
    asyncio.run(start_vllm(SETTINGS))
    assert vllm.engine.arguments["enable_chunked_prefill"] is False
    assert vllm.engine.arguments["enforce_eager"] is True


def test_a_text_is_the_last_output_for_the_token_ids(vllm: Installed) -> None:
    text = answer(vllm)
    assert (text.text, text.finish_reason, text.tokens) == ("whole", "stop", 3)
    params = {
        "top_k": 20,
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 40,
        "seed": 11,
        "output_kind": "final",
    }
    assert vllm.engine.calls == [({"prompt_token_ids": [1, 2, 3]}, params, "id")]


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (Dead("d"), "connection"),
        (Failed("f"), "server"),
        (Refused("r"), "rejected"),
        (ValueError("v"), "rejected"),
    ],
)
def test_failures_of_the_engine_have_kinds(vllm: Installed, raised: Exception, kind: str) -> None:
    with pytest.raises(EngineError, match=str(raised)) as error:
        answer(vllm, raises=raised)
    assert error.value.kind == kind


def test_a_text_that_the_engine_aborted_is_no_text(vllm: Installed) -> None:
    with pytest.raises(EngineError, match="'abort'") as error:
        answer(vllm, finish_reason="abort")
    assert error.value.kind == "server"


def test_sleep_offloads_the_weights_and_wake_takes_everything_back(vllm: Installed) -> None:
    async def work() -> None:
        engine = await start_vllm(SETTINGS)
        await engine.sleep()
        await engine.wake()
        stand_in = vllm.engine
        engine.close()
        assert stand_in.calls == [("sleep", 1), ("wake_up", None), ("shutdown", 30.0)]

    asyncio.run(work())


@pytest.mark.parametrize("change", ["sleep", "wake"])
def test_a_dead_engine_can_neither_sleep_nor_wake(vllm: Installed, change: str) -> None:
    async def work() -> None:
        engine = await start_vllm(SETTINGS)
        vllm.engine.raises = Dead("d")
        with pytest.raises(EngineError) as error:
            await getattr(engine, change)()
        assert error.value.kind == "connection"

    asyncio.run(work())


def test_the_template_sees_roles_and_contents(vllm: Installed) -> None:
    engine = asyncio.run(start_vllm(SETTINGS))
    assert engine.context == 100
    assert engine.encode([Message("system", "abc"), Message("user", "abcde")]) == [1, 3, 5, 2]
    with pytest.raises(EngineError, match="no tools") as error:
        engine.encode([Message("tool", "x")])
    assert error.value.kind == "rejected"


@pytest.mark.parametrize(
    "fails", [OSError("no such\n model"), RuntimeError("no such model"), Refused("no such model")]
)
def test_a_model_that_does_not_start_is_one_sentence(vllm: Installed, fails: Exception) -> None:
    vllm.fails = fails
    with pytest.raises(
        GenerationError, match=r"^vLLM could not start some/model \(no such model\); check the name"
    ):
        asyncio.run(start_vllm(SETTINGS))


def test_a_model_without_a_chat_template_is_one_sentence_and_leaves_no_engine(vllm: Installed) -> None:
    class Plain(Tokenizer):
        def apply_chat_template(self, chat: list[dict[str, str]], **options: Any) -> list[int]:
            raise ValueError("tokenizer.chat_template is not set")

    vllm.tokenizer = Plain
    with pytest.raises(
        GenerationError, match=r"^some/model cannot be asked as a chat .* choose an instruct model"
    ):
        asyncio.run(start_vllm(SETTINGS))
    assert vllm.engine.calls == [("shutdown", 30.0)]


def test_without_vllm_the_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(GenerationError, match=r"pip install 'coderm-reward\[vllm\]', or name a server"):
        asyncio.run(start_vllm(SETTINGS))


@given(
    st.integers(1, 5000), st.integers(1, 5000), st.floats(0, 2), st.floats(0.01, 1), st.integers(0, 2**63 - 1)
)
def test_our_sampling_wins_over_the_models_and_fits_its_room(
    room: int, max_tokens: int, temperature: float, top_p: float, seed: int
) -> None:
    model = {"temperature": 0.1, "top_p": 0.2, "top_k": 3, "repetition_penalty": 1.1, "max_tokens": 1}
    assert sampling_arguments(model, Sampling(temperature, top_p, max_tokens), seed, room) == {
        "temperature": temperature,
        "top_p": top_p,
        "top_k": 3,
        "repetition_penalty": 1.1,
        "max_tokens": min(max_tokens, room),
        "seed": seed,
    }
