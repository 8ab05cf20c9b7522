"""The reward as an HTTP service: a FastAPI app over a RewardScorer. `coderm-reward serve` starts it.

POST /v1/score takes one rollout and answers when its siblings have met, as in a training loop;
/v1/score_batch takes whole groups. Behind them is the scorer that verl's workers and TRL use.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import uuid
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import msgspec
from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from coderm_reward.config import RewardConfig
from coderm_reward.integrations.http_answers import (
    GoneError,
    answered,
    busy,
    error,
    json,
    json_of,
    not_found,
    shown_settings,
    stopping,
)
from coderm_reward.integrations.http_guard import too_large
from coderm_reward.integrations.http_metrics import ServiceMetrics
from coderm_reward.integrations.http_models import (
    BatchAnswer,
    BatchRequest,
    RequestError,
    ScoreRequest,
    ServiceLimits,
    batch_samples,
    by_group,
    decode,
    schemas,
    single_sample,
)
from coderm_reward.integrations.http_ready import Readiness
from coderm_reward.online.sample import RewardScorer

__all__ = ["RewardService"]

T = TypeVar("T")

_BODIES_AT_ONCE = 8
"""Bodies of the largest size that may be read at the same time."""


class RewardService:
    """The app and what its requests share; belongs to one event loop.

    Args:
        scorer: gives the rewards; the caller closes it.
        config: the settings behind it, to be shown.
        metrics: what the scorer's groups are counted by.
        readiness: whether sandbox and model can be used.
        limits: of requests.
        run: label of the records.
    """

    def __init__(
        self,
        scorer: RewardScorer,
        config: RewardConfig,
        *,
        metrics: ServiceMetrics,
        readiness: Readiness,
        limits: ServiceLimits | None = None,
        run: str = "",
    ) -> None:
        self.limits = limits or ServiceLimits()
        self._scorer = scorer
        self._config = config
        self._metrics = metrics
        self._readiness = readiness
        self._run = run
        self._unique = (f"{uuid.uuid4().hex}-{number}" for number in itertools.count())
        self._in_flight = 0
        self._reading = 0
        self._stopping = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._out_of_time = asyncio.Event()
        self.app = self._make_app()

    @property
    def routes(self) -> list[str]:
        """The paths it knows."""
        return [path for path in (getattr(route, "path", None) for route in self.app.routes) if path]

    async def drain(self, seconds: float) -> None:
        """Take no more work, and give what is under way so long to finish; the rest is answered with 503."""
        self._stopping = True
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._idle.wait(), seconds)
        self._out_of_time.set()

    def hurry(self) -> None:
        """Answer all that is under way with 503, at once."""
        self._stopping = True
        self._idle.set()
        self._out_of_time.set()

    def _make_app(self) -> FastAPI:
        from coderm_reward import __version__

        app = FastAPI(title="coderm-reward", version=__version__, docs_url=None, redoc_url=None)
        app.add_exception_handler(HTTPException, not_found)
        app.add_api_route("/healthz", self._healthz, methods=["GET"])
        app.add_api_route("/readyz", self._readyz, methods=["GET"])
        app.add_api_route("/metrics", self._show_metrics, methods=["GET"])
        app.add_api_route("/v1/config", self._show_config, methods=["GET"])
        for path, handler, asked, answer in (
            ("/v1/score", self._score, "ScoreRequest", "RewardOutput"),
            ("/v1/score_batch", self._score_batch, "BatchRequest", "BatchAnswer"),
        ):
            app.add_api_route(
                path,
                handler,
                methods=["POST"],
                openapi_extra={
                    "requestBody": {"required": True, "content": json_of(asked)},
                    "responses": {"200": {"description": "Rewards.", "content": json_of(answer)}},
                },
            )
        described = app.openapi()
        described.setdefault("components", {}).setdefault("schemas", {}).update(schemas())
        return app

    async def _healthz(self) -> Response:
        """The process answers."""
        return json({"live": True})

    async def _readyz(self) -> Response:
        """Sandbox and model can be used, and the service is not stopping."""
        trouble = "The service is stopping." if self._stopping else await self._readiness.trouble()
        return error(503, trouble) if trouble else json({"ready": True})

    async def _show_metrics(self) -> Response:
        """Counters in Prometheus' text format."""
        return Response(self._metrics.page(), media_type=CONTENT_TYPE_LATEST)

    async def _show_config(self) -> Response:
        """The settings in force, without secrets."""
        settings = shown_settings(self._config)
        return json({"settings": settings, "limits": msgspec.to_builtins(self.limits)})

    async def _score(self, request: Request) -> Response:
        """Score one rollout; the answer comes when its siblings have met, or at once if it is `alone`."""

        async def work() -> object:
            asked = decode(await self._body(request), ScoreRequest)
            sample = single_sample(asked, self._run, self.limits, unique=next(self._unique))
            with self._admitted(request, 1):
                if asked.alone:
                    [reward] = await self._unless_gone(request, self._scorer.score_all([sample]))
                else:
                    reward = await self._unless_gone(request, self._scorer.score(sample))
            self._metrics.rewarded([reward])
            return reward

        return await answered(work())

    async def _score_batch(self, request: Request) -> Response:
        """Score whole groups; the answer comes when all of them are done."""

        async def work() -> object:
            asked = decode(await self._body(request), BatchRequest)
            samples, sizes = batch_samples(asked, self._run, self.limits, unique=next(self._unique))
            if not samples:
                return BatchAnswer(rewards=[[] for _ in sizes])
            with self._admitted(request, len(samples)):
                rewards = await self._unless_gone(request, self._scorer.score_all(samples))
            self._metrics.rewarded(rewards)
            return BatchAnswer(rewards=by_group(rewards, sizes))

        return await answered(work())

    async def _body(self, request: Request) -> bytes:
        """Read a body that may not be too long, nor be read besides too many others."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise RequestError(415, "Send JSON, with the header Content-Type: application/json.")
        chunks = bytearray()
        try:
            async for chunk in request.stream():
                chunks += chunk
                self._reading += len(chunk)
                if len(chunks) > self.limits.max_body:
                    raise too_large(self.limits.max_body)
                if self._reading > _BODIES_AT_ONCE * self.limits.max_body:
                    raise busy("Too many large requests are being read; send it again later.")
        except ClientDisconnect:
            raise GoneError from None
        finally:
            self._reading -= len(chunks)
        return bytes(chunks)

    @contextlib.contextmanager
    def _admitted(self, request: Request, rollouts: int) -> Iterator[None]:
        """Count rollouts as being in flight.

        Raises:
            RequestError: 429 where too many are, 413 where they would always be, 503 when stopping.
        """
        most = self.limits.max_in_flight
        if rollouts > most:
            raise RequestError(
                413,
                f"{rollouts:,} rollouts are more than the {most:,} in flight allowed; send fewer at a time.",
            )
        if self._stopping:
            raise stopping()
        if self._in_flight + rollouts > most:
            raise busy(
                f"{self._in_flight:,} rollouts are in flight and {most:,} may be; send it again later."
            )
        request.scope["coderm_rollouts"] = rollouts
        self._in_flight += rollouts
        self._idle.clear()
        self._metrics.began(rollouts)
        try:
            yield
        except GoneError:
            self._metrics.abandoned(rollouts)
            raise
        finally:
            self._in_flight -= rollouts
            self._metrics.ended(rollouts)
            if not self._in_flight:
                self._idle.set()

    async def _unless_gone(self, request: Request, work: Coroutine[Any, Any, T]) -> T:
        """Do the work as long as there is somebody to be answered, and time for it."""
        task = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(_disconnected(request))
        out_of_time = asyncio.ensure_future(self._out_of_time.wait())
        try:
            await asyncio.wait({task, gone, out_of_time}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise GoneError if gone.done() else stopping()
        finally:
            for one in (task, gone, out_of_time):
                one.cancel()
            await asyncio.gather(task, gone, out_of_time, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    """Return when the client has hung up."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
