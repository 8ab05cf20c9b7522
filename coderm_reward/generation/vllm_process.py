"""vLLM as an engine of this process: what of its interface we use, in one place.

Written for `AsyncLLMEngine` of vLLM's V1 engine and tested with 0.32.0 on the CPU. vLLM itself is imported
when an engine starts, never before.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Mapping, Sequence
from functools import partial
from inspect import signature
from typing import Any, Protocol

import jinja2
import msgspec

from coderm_reward.errors import GenerationError
from coderm_reward.generation.completions import FailureKind, Sampling
from coderm_reward.types import Message

__all__ = ["Engine", "EngineError", "EngineSettings", "EngineText", "sampling_arguments", "start_vllm"]


_START_ERRORS: tuple[type[Exception], ...] = (OSError, RuntimeError, TypeError, ValueError)


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine is started with."""

    model: str
    max_model_len: int
    gpu_memory_utilization: float
    tensor_parallel_size: int
    max_concurrency: int
    sleep: bool
    """Whether it must be able to sleep."""
    options: Mapping[str, Any] = {}
    """More arguments of vLLM's AsyncEngineArgs."""


class EngineText(msgspec.Struct, frozen=True):
    """One text of an engine, and how many tokens it has."""

    text: str
    finish_reason: str
    tokens: int


class EngineError(Exception):
    """Why there is no text: too_long, rejected, server (it failed at this one) or connection (it is dead)."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Engine(Protocol):
    """A model in this process, as VllmBackend uses it: from one event loop only."""

    @property
    def context(self) -> int:
        """Tokens that prompt and text may have together."""
        ...

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Return the prompt's token ids. Raises EngineError where the chat template refuses the messages."""
        ...

    async def answer(self, prompt: list[int], sampling: Sampling, seed: int, request_id: str) -> EngineText:
        """Return one text, or raise EngineError; cancelling this aborts the request in the engine."""
        ...

    async def sleep(self) -> None:
        """Give the accelerator's memory back, or raise EngineError."""
        ...

    async def wake(self) -> None:
        """Take the memory again, or raise EngineError."""
        ...

    def close(self) -> None:
        """End it and its processes."""
        ...


def sampling_arguments(
    defaults: Mapping[str, Any], sampling: Sampling, seed: int, room: int
) -> dict[str, Any]:
    """Return the arguments of vLLM's SamplingParams that its server makes of our request.

    `defaults` are those of the model's generation_config.json (top_k, repetition_penalty, ...), which the
    server applies where a request says nothing; `room` is the context less the prompt, in tokens.
    """
    return {
        **{name: value for name, value in defaults.items() if name != "max_tokens"},
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": min(sampling.max_tokens, room),
        "seed": seed,
    }


async def start_vllm(settings: EngineSettings) -> Engine:
    """Load the model; blocks the event loop while it does (up to minutes).

    Raises:
        GenerationError: vLLM is missing, or cannot start with this model, memory or template.
    """
    # What vLLM says below an error would bury a progress bar; and a fork of this process, with its threads
    # and the pipes of its sandbox, is no place for an engine.
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
    try:
        import vllm
        from vllm.platforms import current_platform
    except ImportError as error:
        raise GenerationError(
            f"The vllm engine cannot be imported ({error}); pip install 'coderm-reward[vllm]', or name a "
            "server with --base-url."
        ) from None
    arguments: dict[str, Any] = {
        "model": settings.model,
        "max_model_len": settings.max_model_len,
        "gpu_memory_utilization": settings.gpu_memory_utilization,
        "tensor_parallel_size": settings.tensor_parallel_size,
        "max_num_seqs": settings.max_concurrency,
        "enable_prefix_caching": True,
        "enable_sleep_mode": settings.sleep,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }
    if current_platform.is_cpu():
        # There 0.32.0 dies at a request with a seed whose prompt it reads in chunks; and compiling takes
        # longer than anybody stays.
        arguments |= {"enable_chunked_prefill": False, "enforce_eager": True}
    arguments |= settings.options
    try:
        started = _VllmEngine(vllm.AsyncLLMEngine.from_engine_args(vllm.AsyncEngineArgs(**arguments)))
    except _START_ERRORS + _vllm_errors() as error:
        reason = " ".join(str(error).split())[:400]
        raise GenerationError(
            f"vLLM could not start {settings.model} ({reason}); check the name or path of the model, free "
            "memory on the GPU (gpu_memory_utilization) and the context (max_model_len)."
        ) from error
    try:
        started.encode([Message("user", "?")])
    except EngineError as error:
        started.close()
        raise GenerationError(
            f"{settings.model} cannot be asked as a chat ({error}); choose an instruct model, or give its "
            "tokenizer a chat template."
        ) from error
    return started


def _vllm_errors() -> tuple[type[Exception], ...]:
    """The root of vLLM's own exceptions, in versions that have one."""
    try:
        from vllm.exceptions import VLLMError
    except ImportError:
        return ()
    return (VLLMError,)


class _VllmEngine:
    """`Engine` on vLLM."""

    def __init__(self, engine: Any) -> None:
        from vllm import SamplingParams
        from vllm.inputs import TokensPrompt
        from vllm.sampling_params import RequestOutputKind
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        self._engine = engine
        self._tokenizer = engine.get_tokenizer()
        self._defaults: dict[str, Any] = engine.model_config.get_diff_sampling_param()
        self.context: int = engine.model_config.max_model_len
        self._params = partial(SamplingParams, output_kind=RequestOutputKind.FINAL_ONLY)
        self._prompt = TokensPrompt
        self._died, self._failed = EngineDeadError, EngineGenerateError
        self._refused: tuple[type[Exception], ...] = (ValueError, *_vllm_errors())

    def encode(self, messages: Sequence[Message]) -> list[int]:
        chat = [{"role": message.role, "content": message.content} for message in messages]
        try:
            ids = self._tokenizer.apply_chat_template(
                chat, add_generation_prompt=True, tokenize=True, return_dict=False
            )
        except (ValueError, jinja2.TemplateError) as error:
            raise EngineError("rejected", f"its chat template refuses the messages: {error}") from error
        return list(ids)

    async def answer(self, prompt: list[int], sampling: Sampling, seed: int, request_id: str) -> EngineText:
        last: Any = None
        try:
            params = self._params(
                **sampling_arguments(self._defaults, sampling, seed, self.context - len(prompt))
            )
            async for output in self._engine.generate(
                self._prompt(prompt_token_ids=prompt), params, request_id
            ):
                last = output
        except self._died as error:
            raise EngineError("connection", str(error)) from error
        except self._failed as error:
            raise EngineError("server", f"{error} {error.__cause__}".strip()) from error
        except self._refused as error:
            raise EngineError("rejected", str(error)) from error
        (text,) = last.outputs
        if text.finish_reason not in ("stop", "length"):
            raise EngineError("server", f"it ended a text with {text.finish_reason!r}")
        return EngineText(text.text, text.finish_reason, len(text.token_ids))

    async def sleep(self) -> None:
        try:
            await self._engine.sleep(level=1)  # the weights to the host's memory, the cache thrown away
        except self._died as error:
            raise EngineError("connection", str(error)) from error

    async def wake(self) -> None:
        try:
            await self._engine.wake_up()
        except self._died as error:
            raise EngineError("connection", str(error)) from error

    def close(self) -> None:
        # Killed after its own 5 s it leaves shared memory behind. Older versions take no time limit.
        patience = {"timeout": 30.0} if "timeout" in signature(self._engine.shutdown).parameters else {}
        self._engine.shutdown(**patience)
        self._engine = None
        gc.collect()  # else it ends itself once more while the interpreter goes down, and complains
