"""One call of VllmBackend.complete: what it still owes, and the way out of the engine's thread."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from coderm_reward.generation.completions import Completion, CompletionRequest, Failure, FailureKind, Sampling
from coderm_reward.generation.vllm_process import Engine, EngineError
from coderm_reward.types import Message

__all__ = ["EngineCall", "EngineTurn"]


@dataclass(frozen=True, eq=False)
class EngineTurn:
    """One text of a request."""

    request: CompletionRequest
    choice: int

    def failed(self, kind: FailureKind, message: str, seconds: float = 0.0) -> Completion:
        """The failure to get it."""
        failure = Failure(kind, message)
        return Completion(self.request.key, self.choice, finish_reason="", seconds=seconds, failure=failure)


class EngineCall:
    """Made in the caller's event loop; `turns`, `stop` and the methods belong to the engine's."""

    def __init__(self, requests: Sequence[CompletionRequest], sampling: Sampling) -> None:
        self.turns = [EngineTurn(request, choice) for request in requests for choice in range(request.n)]
        self.sampling = sampling
        self.arrived: asyncio.Queue[Completion | None] = asyncio.Queue()
        """For the caller; None comes last, when nothing of the call is left in the engine."""
        self.stop, self.ended = asyncio.Event(), asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._owed = dict.fromkeys(self.turns)
        self._prompts: dict[tuple[Message, ...], list[int]] = {}

    def prompt(self, engine: Engine, request: CompletionRequest) -> list[int]:
        """Return the token ids of a request that fits the engine; those of one conversation are made once.

        Raises:
            EngineError: its template refuses the messages, or there are too many tokens.
        """
        if request.messages not in self._prompts:
            self._prompts[request.messages] = engine.encode(request.messages)
        ids = self._prompts[request.messages]
        if len(ids) >= engine.context:
            raise EngineError("too_long", f"it has {len(ids)} tokens and the context {engine.context}")
        return ids

    def answer(self, turn: EngineTurn, completion: Completion) -> None:
        """Hand over what became of a turn."""
        del self._owed[turn]
        self._deliver(completion)

    def fail_rest(self, kind: FailureKind, message: str) -> None:
        """Hand over one failure for every turn that is still owed."""
        for turn in list(self._owed):
            self.answer(turn, turn.failed(kind, message))

    def end(self) -> None:
        """Tell everybody that nothing follows."""
        self.ended.set()
        self._deliver(None)

    def _deliver(self, completion: Completion | None) -> None:
        with contextlib.suppress(RuntimeError):  # the caller's loop was closed: nobody waits any more
            self._loop.call_soon_threadsafe(self.arrived.put_nowait, completion)
