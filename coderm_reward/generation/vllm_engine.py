"""The `vllm` backend: the model in this process, without a server (DESIGN section 6).

The engine lives in an event loop of its own, so that callers of any loop share it: whatever is asked while it
works joins its one running batch (vLLM schedules anew at every token), texts come out as they are finished,
and a request that nobody waits for any more is aborted.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

from coderm_reward.errors import ConfigError, GenerationError
from coderm_reward.generation.completions import Completion, CompletionRequest, Sampling
from coderm_reward.generation.loop_thread import LoopThread
from coderm_reward.generation.vllm_calls import EngineCall, EngineTurn
from coderm_reward.generation.vllm_process import Engine, EngineError, EngineSettings, start_vllm

__all__ = ["VllmBackend"]

LARGEST_SEED = 2**63 - 1
_SENTENCES = {
    "too_long": "The prompt is too long for {}: {}; raise max_model_len or shorten it.",
    "rejected": "The engine of {} refuses a request: {}.",
    "server": "The engine of {} failed at a request: {}.",
    "connection": "The engine of {} died ({}); what it logged above says more. Start it again.",
}
_log = logging.getLogger("coderm_reward")


class VllmBackend:
    """A model in this process (completions.CompletionBackend); may be used from several event loops.

    Args:
        model: a name that Hugging Face knows, or a folder.
        max_model_len: tokens that prompt and text may have together.
        gpu_memory_utilization: share of the GPU's memory that the engine takes while awake: weights,
            activations, and what is left for the cache. 0.4 of 80 GB holds an 8B model in bfloat16 (16 GB)
            with over 10 GB of cache beside a trainer.
        tensor_parallel_size: GPUs that share the model.
        max_concurrency: texts in the batch at most.
        deadline: seconds that one text may take once it is in the batch.
        sleep_between: for a shared GPU: sleep whenever nobody waits for a text, and wake for the next.
        engine_options: more arguments of vLLM's AsyncEngineArgs (enforce_eager, dtype, ...).
        start: starts the engine, on first use.

    Prompts go through the model's own chat template, and sampling settings through the defaults of its
    generation_config.json, as in vLLM's server: the engine gets the token ids and the parameters that the
    server would give it. Text i of a request has the seed `seed + i`. Loading the model cannot be cut short,
    everything after that can.

    Raises:
        ConfigError: a setting is out of range.
    """

    def __init__(
        self,
        model: str,
        *,
        max_model_len: int = 4096,
        gpu_memory_utilization: float = 0.4,
        tensor_parallel_size: int = 1,
        max_concurrency: int = 256,
        deadline: float = 600.0,
        sleep_between: bool = False,
        engine_options: Mapping[str, Any] | None = None,
        start: Callable[[EngineSettings], Awaitable[Engine]] = start_vllm,
    ) -> None:
        if max_model_len < 2 or tensor_parallel_size < 1 or max_concurrency < 1 or not deadline > 0:
            raise ConfigError(
                "max_model_len must be 2 or more, tensor_parallel_size and max_concurrency 1 or more, and "
                "deadline above 0."
            )
        if not 0 < gpu_memory_utilization <= 1:
            raise ConfigError(
                f"gpu_memory_utilization must be above 0 and at most 1, not {gpu_memory_utilization}."
            )
        self._settings = EngineSettings(
            model=model,
            max_model_len=max_model_len,
            gpu_memory_utilization=gpu_memory_utilization,
            tensor_parallel_size=tensor_parallel_size,
            max_concurrency=max_concurrency,
            sleep=sleep_between,
            options=engine_options or {},
        )
        self._deadline = deadline
        self._start = start
        self._closed = False
        self._thread = LoopThread("coderm-vllm")
        # What follows is touched in that thread only.
        self._calls: set[EngineCall] = set()
        self._engine: Engine | None = None
        self._broken = ""
        """Why there is no engine and none is started."""
        self._users = 0
        self._asleep = False
        self._changing = asyncio.Lock()
        self._turns = asyncio.Semaphore(max_concurrency)
        self._ids = itertools.count()

    @property
    def model(self) -> str:
        """The model's name or folder, as given."""
        return self._settings.model

    async def check(self) -> None:
        """Load the model if it is not loaded yet.

        Raises:
            GenerationError: it cannot be loaded, or the engine was closed or died.
        """
        if self._closed:
            raise GenerationError(self._was_closed())
        await asyncio.shield(asyncio.wrap_future(self._thread.submit(self._try())))

    async def complete(
        self, requests: Sequence[CompletionRequest], sampling: Sampling
    ) -> AsyncIterator[Completion]:
        """Yield the completions as they arrive; see completions.CompletionBackend."""
        call = EngineCall(requests, sampling)
        if self._closed:
            for turn in call.turns:
                yield turn.failed("cancelled", self._was_closed())
            return
        serving = self._thread.submit(self._serve(call))
        over = False
        try:
            while (completion := await call.arrived.get()) is not None:
                yield completion
            over = True
            await asyncio.wrap_future(serving)  # raises what should never happen
        finally:
            if not over:
                self._thread.call(call.stop.set)
                while await call.arrived.get() is not None:
                    pass

    async def aclose(self) -> None:
        """Stop everything and end the engine; what it owed comes out as cancelled."""
        if not self._closed:
            self._closed = True
            await asyncio.wrap_future(self._thread.submit(self._shut()))
            await asyncio.to_thread(self._thread.stop)

    async def _try(self) -> None:
        if self._engine is None:
            self._broken = ""  # what failed to start may start now; what died stays dead
        await self._enter()
        await self._leave()

    async def _serve(self, call: EngineCall) -> None:
        """Answer a call, in the engine's thread; however it ends, every text it owed is handed over."""
        self._calls.add(call)
        try:
            engine = await self._enter()
            try:
                await self._work(call, engine)
            finally:
                await self._leave()
        except GenerationError as error:
            call.fail_rest("connection", str(error))
        finally:
            call.fail_rest("cancelled", f"Requests to the engine of {self.model} were stopped.")
            self._calls.discard(call)
            call.end()

    async def _work(self, call: EngineCall, engine: Engine) -> None:
        """Have all texts written at once, or until the call is stopped."""
        tasks = [asyncio.ensure_future(self._answer(engine, call, turn)) for turn in call.turns]
        answers: asyncio.Future[Any] = asyncio.gather(*tasks)
        stop: asyncio.Future[Any] = asyncio.ensure_future(call.stop.wait())
        try:
            await asyncio.wait({answers, stop}, return_when=asyncio.FIRST_COMPLETED)
            if answers.done():
                answers.result()
        finally:
            stop.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, stop, answers, return_exceptions=True)

    async def _answer(self, engine: Engine, call: EngineCall, turn: EngineTurn) -> None:
        request = turn.request
        async with self._turns:
            began = time.perf_counter()
            try:
                prompt = call.prompt(engine, request)
                seed = (request.seed + turn.choice) & LARGEST_SEED
                text = await asyncio.wait_for(
                    engine.answer(prompt, call.sampling, seed, f"coderm-{next(self._ids)}"), self._deadline
                )
            except EngineError as error:
                why = self._sentence(error)
                if error.kind == "connection":
                    self._broken = why
                completion = turn.failed(error.kind, why, time.perf_counter() - began)
            except asyncio.TimeoutError:
                why = f"The engine of {self.model} gave no text within {self._deadline:g} s."
                completion = turn.failed("timeout", why, time.perf_counter() - began)
            else:
                completion = Completion(
                    request.key,
                    turn.choice,
                    text.text,
                    text.finish_reason,
                    prompt_tokens=len(prompt) if turn.choice == 0 else 0,
                    completion_tokens=text.tokens,
                    seconds=time.perf_counter() - began,
                )
        call.answer(turn, completion)

    async def _enter(self) -> Engine:
        """Have the engine there and awake until `_leave`. Raises GenerationError."""
        async with self._changing:
            if self._broken:
                raise GenerationError(self._broken)  # a start takes minutes: only check() tries it again
            if self._engine is None:
                try:
                    self._engine = await self._start(self._settings)
                except GenerationError as error:
                    self._broken = str(error)
                    raise
            if self._asleep:
                try:
                    await self._engine.wake()
                except EngineError as error:
                    raise GenerationError(self._sentence(error)) from error
                self._asleep = False
            self._users += 1
            return self._engine

    async def _leave(self) -> None:
        async with self._changing:
            self._users -= 1
            if self._users or self._engine is None or not self._settings.sleep:
                return
            try:
                await self._engine.sleep()
            except EngineError as error:
                _log.warning("the engine of %s could not be put to sleep: %s", self.model, error)
            else:
                self._asleep = True

    async def _shut(self) -> None:
        calls = list(self._calls)
        for call in calls:
            call.stop.set()
        await asyncio.gather(*(call.ended.wait() for call in calls))
        if self._engine is not None:
            self._engine.close()

    def _sentence(self, error: EngineError) -> str:
        return _SENTENCES[error.kind].format(self.model, error)

    def _was_closed(self) -> str:
        return f"The engine of {self.model} was closed; make another VllmBackend."
