"""How the HTTP service answers: rewards, refusals, and failures of its own, always as JSON."""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec
from fastapi import Request, Response
from starlette.exceptions import HTTPException

from coderm_reward.config import RewardConfig
from coderm_reward.errors import CodermError
from coderm_reward.integrations.http_guard import CLIENT_GONE, error_body
from coderm_reward.integrations.http_models import RequestError

__all__ = [
    "GoneError",
    "answered",
    "busy",
    "error",
    "json",
    "json_of",
    "not_found",
    "shown_settings",
    "stopping",
]

_log = logging.getLogger("coderm_reward.http")
_RETRY_AFTER = 5
"""Seconds after which a refused client may try again."""


class GoneError(Exception):
    """The client hung up."""


def shown_settings(config: RewardConfig) -> dict[str, Any]:
    """Return the settings by section, with credentials taken out of addresses."""
    settings: dict[str, Any] = msgspec.to_builtins(config)
    if (address := settings["generation"]["base_url"]) is not None:
        parts = urlsplit(address)
        settings["generation"]["base_url"] = urlunsplit(
            parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
        )
    return settings


async def answered(work: Coroutine[Any, Any, object]) -> Response:
    """Turn the outcome of a request into its answer; what we got wrong is logged, and never a reward."""
    try:
        return Response(msgspec.json.encode(await work), media_type="application/json")
    except RequestError as refusal:
        return error(refusal.status, str(refusal), refusal.headers)
    except GoneError:
        return Response(status_code=CLIENT_GONE)
    except CodermError as failure:
        _log.error("%s", failure)
        return error(503, str(failure))
    except Exception:  # noqa: BLE001 - one bad request must not end the service
        _log.exception("a request failed")
        return error(500, "The service failed on this request; its log says why.")


async def not_found(request: Request, refusal: Exception) -> Response:
    """The answer to a path or method that is not there."""
    assert isinstance(refusal, HTTPException)
    if refusal.status_code == 405:
        return error(405, f"{request.method} is not for this path; see /openapi.json.", refusal.headers)
    return error(refusal.status_code, "There is no such path here; see /openapi.json.", refusal.headers)


def stopping() -> RequestError:
    """The refusal of a service that ends."""
    return RequestError(
        503,
        "The service is stopping; send it to another, or again later.",
        {"Retry-After": str(_RETRY_AFTER)},
    )


def busy(message: str) -> RequestError:
    """The refusal of what is too much now."""
    return RequestError(429, message, {"Retry-After": str(_RETRY_AFTER)})


def error(status: int, message: str, headers: Any = None) -> Response:
    """A refusal or failure: one sentence."""
    return Response(error_body(message), status, headers, media_type="application/json")


def json(value: object) -> Response:
    """A good answer."""
    return Response(msgspec.json.encode(value), media_type="application/json")


def json_of(name: str) -> dict[str, Any]:
    """OpenAPI's reference to a schema."""
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{name}"}}}
