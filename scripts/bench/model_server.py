"""A scripted model server in a process of its own, and how many requests it had in flight on average."""

from __future__ import annotations

import asyncio
import multiprocessing
import statistics
from multiprocessing.connection import Connection
from types import TracebackType

from coderm_reward.generation.scripted_server import Act, Asked, ScriptedServer

__all__ = ["STALLED_SEED", "ModelServer", "latency"]

STALLED_SEED = 2**40
"""The request with this seed is the one that stalls."""
SAMPLE = 0.005
_TEXT = "".join(
    f"    def test_value_{number}(self):\n        self.assertEqual(solve({number}), {number * number})\n"
    for number in range(30)
)


def latency(seed: int) -> float:
    """Until a request is answered, as a multiple of the mean: 0.5 to 1.5, spread evenly over the seeds."""
    return 0.5 + (seed * 0.6180339887498949) % 1.0


class ModelServer:
    """Starts the process, and has it watched between `watch` and `mean_in_flight`."""

    def __init__(self, mean_latency: float, stall: float) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(theirs, mean_latency, stall), daemon=True)

    def __enter__(self) -> ModelServer:
        self._process.start()
        self.url: str = self._pipe.recv()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe.send("stop")
        self._process.join()

    def watch(self) -> None:
        """Begin to count."""
        self._pipe.send("watch")

    def mean_in_flight(self) -> float:
        """The mean of what was in flight, looked at every SAMPLE seconds since `watch`."""
        self._pipe.send("report")
        mean: float = self._pipe.recv()
        return mean


def _run(pipe: Connection, mean_latency: float, stall: float) -> None:
    asyncio.run(_serve(pipe, mean_latency, stall))


async def _serve(pipe: Connection, mean_latency: float, stall: float) -> None:
    def script(asked: Asked) -> Act:
        seed = asked.seed or 0
        return Act(texts=(_TEXT,), delay=stall if seed == STALLED_SEED else mean_latency * latency(seed))

    samples: list[int] = []
    async with ScriptedServer(script) as server:
        pipe.send(server.url)
        sampler = asyncio.create_task(_sample(server, samples))
        loop = asyncio.get_running_loop()
        while (command := await loop.run_in_executor(None, pipe.recv)) != "stop":
            if command == "watch":
                samples.clear()
            else:
                pipe.send(statistics.fmean(samples or [0]))
        sampler.cancel()


async def _sample(server: ScriptedServer, samples: list[int]) -> None:
    while True:
        samples.append(server.in_flight)
        await asyncio.sleep(SAMPLE)
