"""Clients that go away, too much at once, a model that is gone, and the end of a service, all for real.

The model is a scripted server that answers when it is told to, so that requests are under way as long as a
test wants.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from coderm_reward.generation.scripted_server import Act, Asked, ScriptedServer

CODE = "```python\ndef solve(x):\n    return x\n```"
BODY = {"prompt": "Write `solve(x)`, which returns x.", "responses": [CODE, CODE]}
STALL, ANSWER = Act(stall=True), Act()


class Model(ScriptedServer):
    """A model server that stalls until `answering`."""

    def __init__(self) -> None:
        self.answering = False
        super().__init__(self._act)

    def _act(self, asked: Asked) -> Act:
        return ANSWER if self.answering else STALL


@contextlib.asynccontextmanager
async def stalled(start_service: Any, *options: object, **settings: Any) -> AsyncIterator[tuple[Model, Any]]:
    """A service whose model does not answer."""
    async with Model() as model:
        generation = {"responses": 2, **settings.pop("generation", {})}
        start = asyncio.to_thread(start_service, *options, model=model.url, generation=generation, **settings)
        service = await start
        try:
            yield model, service
        finally:
            await asyncio.to_thread(service.stop)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what only asking can tell."""
    while not await condition():
        await asyncio.sleep(0.02)


def client_of(service: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=service.url, timeout=120.0)


async def is_metric(service: Any, name: str, value: float) -> bool:
    return await asyncio.to_thread(service.metric, name) == value


def test_too_much_is_refused_until_a_client_that_goes_away_has_taken_its_work_along(
    start_service: Any,
) -> None:
    async def main() -> None:
        async with (
            stalled(start_service, "--max-in-flight", 2) as (model, service),
            client_of(service) as client,
        ):
            request = asyncio.create_task(client.post("/v1/score_batch", json={"groups": [BODY]}))
            await model.until(lambda: model.in_flight > 0)
            assert await is_metric(service, "coderm_rollouts_in_flight", 2.0)
            refused = await client.post("/v1/score", json={"prompt": "a", "response": "b", "alone": True})
            assert refused.status_code == 429
            assert int(refused.headers["retry-after"]) > 0
            assert "in flight" in refused.json()["error"]

            request.cancel()
            await model.until(lambda: model.in_flight == 0)
            await until(lambda: is_metric(service, "coderm_rollouts_abandoned_total", 2.0))
            assert await is_metric(service, "coderm_rollouts_in_flight", 0.0)
            gone = 'coderm_requests_total{route="/v1/score_batch",status="499"}'
            assert await is_metric(service, gone, 1.0)

            model.answering = True
            answer = await client.post("/v1/score_batch", json={"groups": [BODY]})
            assert answer.status_code == 200
            assert answer.json()["rewards"][0][0]["tests_planned"] > 0

    asyncio.run(main())


def test_a_model_that_is_gone_is_not_ready_and_no_grade(start_service: Any) -> None:
    async def main() -> None:
        generation = {"request_timeout": 0.5}
        async with (
            stalled(start_service, generation=generation) as (model, service),
            client_of(service) as client,
        ):
            assert (await client.get("/readyz")).status_code == 200
            await model.stop()

            async def unready() -> bool:
                return (await client.get("/readyz")).status_code == 503

            await until(unready)
            assert "the model" in (await client.get("/readyz")).json()["error"]
            assert model.url not in (await client.get("/readyz")).text
            answer = await client.post("/v1/score_batch", json={"groups": [BODY]})
            assert answer.status_code == 200
            assert [r["infra_error"] for r in answer.json()["rewards"][0]] == [1.0, 1.0]
            assert await is_metric(service, "coderm_infra_errors_total", 2.0)

    asyncio.run(main())


def test_what_is_under_way_is_finished_before_the_end(start_service: Any) -> None:
    async def main() -> None:
        async with stalled(start_service, "--drain", 100) as (model, service), client_of(service) as client:
            request = asyncio.create_task(client.post("/v1/score_batch", json={"groups": [BODY]}))
            await model.until(lambda: model.in_flight > 0)
            children = await asyncio.to_thread(service.descendants)
            assert children
            service.signal(signal.SIGTERM)
            await asyncio.to_thread(service.wait_for, "stopping")
            late = await client.post("/v1/score_batch", json={"groups": [BODY]})
            assert (late.status_code, late.headers["retry-after"]) == (503, "5")
            assert (await client.get("/readyz")).status_code == 503
            assert (await client.get("/healthz")).status_code == 200
            service.client.close()
            model.answering = True
            await model.stop()
            assert (await request).status_code == 200
            assert await asyncio.to_thread(service.end) == 0
            assert living(children) == []

    asyncio.run(main())


@pytest.mark.parametrize("again", [False, True])
def test_what_takes_too_long_is_answered_with_503(start_service: Any, again: bool) -> None:
    """It does when the time is over, or when the signal comes a second time."""

    async def main() -> None:
        drain = 1000 if again else 0.1
        async with stalled(start_service, "--drain", drain) as (model, service), client_of(service) as client:
            request = asyncio.create_task(client.post("/v1/score_batch", json={"groups": [BODY]}))
            await model.until(lambda: model.in_flight > 0)
            children = await asyncio.to_thread(service.descendants)
            service.signal(signal.SIGINT)
            if again:
                await asyncio.to_thread(service.wait_for, "stopping")
                service.signal(signal.SIGINT)
            answer = await request
            assert answer.status_code == 503
            assert "stopping" in answer.json()["error"]
            assert await asyncio.to_thread(service.end) == 0
            assert living(children) == []
            assert "Traceback" not in service.log()

    asyncio.run(main())


def living(pids: list[int]) -> list[int]:
    """Which of these processes still run; a zombie that nobody has waited for yet does not."""
    found = []
    for pid in pids:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z":
                found.append(pid)
    return found
