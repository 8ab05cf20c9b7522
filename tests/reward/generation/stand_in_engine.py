"""A stand-in for vLLM's engine behind VllmBackend: as fast as its test lets it be, and it keeps a diary."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Sequence

from coderm_reward.generation.completions import Sampling
from coderm_reward.generation.vllm_process import EngineError, EngineSettings, EngineText
from coderm_reward.types import Message

__all__ = ["StandInEngine"]


class StandInEngine:
    """Tokens are words; a text is words drawn by its seed from its prompt's."""

    def __init__(self, context: int = 64) -> None:
        self.context = context
        self.settings: EngineSettings | None = None
        self.diary: list[str] = []
        """start, sleep, wake, close, in order, and a line per text asked for and per text aborted."""
        self.most_at_once = 0
        self.encoded = 0
        self.held = False
        """Whether texts wait until they are aborted."""
        self.together = 1
        """So many texts must have been asked for before the first one is given."""
        self.waiting = threading.Event()
        """Set once a text is asked for."""
        self.failure: EngineError | None = None
        self.asleep = False
        self._running = 0
        self._enough = asyncio.Event()

    async def start(self, settings: EngineSettings) -> StandInEngine:
        self.settings = settings
        self.diary.append("start")
        return self

    def encode(self, messages: Sequence[Message]) -> list[int]:
        self.encoded += 1
        if any(message.role == "tool" for message in messages):
            raise EngineError("rejected", "no tools here")
        return [len(word) for message in messages for word in message.content.split()]

    async def answer(self, prompt: list[int], sampling: Sampling, seed: int, request_id: str) -> EngineText:
        assert not self.asleep
        self._running += 1
        self.most_at_once = max(self.most_at_once, self._running)
        self.diary.append(f"ask {seed}")
        self.waiting.set()
        try:
            if self._running >= self.together:
                self._enough.set()
            await self._enough.wait()
            if self.held:
                await asyncio.Event().wait()
            if self.failure is not None:
                raise self.failure
        except asyncio.CancelledError:
            self.diary.append(f"abort {seed}")
            raise
        finally:
            self._running -= 1
        drawn = random.Random(seed)
        length = min(sampling.max_tokens, self.context - len(prompt))
        words = [str(drawn.choice(prompt) + drawn.randrange(9)) for _ in range(length)]
        return EngineText(" ".join(words), "length", len(words))

    async def sleep(self) -> None:
        assert not self.asleep
        assert not self._running
        self.asleep = True
        self.diary.append("sleep")

    async def wake(self) -> None:
        assert self.asleep
        self.asleep = False
        self.diary.append("wake")

    def close(self) -> None:
        self.diary.append("close")
