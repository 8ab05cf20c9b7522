"""What the HTTP service takes and gives: JSON to samples, and a sentence for what is wrong with it. Pure."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from coderm_reward.data.chat import messages_from_value
from coderm_reward.online.sample import Sample
from coderm_reward.types import Message, RewardOutput

__all__ = [
    "BatchAnswer",
    "BatchRequest",
    "GroupRequest",
    "RequestError",
    "ScoreRequest",
    "ServiceLimits",
    "batch_samples",
    "by_group",
    "decode",
    "schemas",
    "single_sample",
]

T = TypeVar("T")

PositiveInt = Annotated[int, Meta(ge=1)]
Label = Annotated[str, Meta(max_length=1024)]
Rate = Annotated[float, Meta(ge=0, le=1)]


class RequestError(Exception):
    """A request that cannot be answered as it is; `str()` is one sentence with the fix."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


class ServiceLimits(Struct, frozen=True, kw_only=True):
    """How much one request, and all of them together, may ask for."""

    max_body: PositiveInt = 32 * 2**20
    """Bytes of a request."""
    max_responses: PositiveInt = 256
    """Responses of one group."""
    max_text: PositiveInt = 200_000
    """Characters of one response, and of all messages of one prompt."""
    max_in_flight: PositiveInt = 4096
    """Rollouts that are being scored or wait for their siblings, over all clients."""


class _Prompt(Struct, kw_only=True, forbid_unknown_fields=True):
    """What a rollout and a group have in common."""

    prompt: str | list[dict[str, Any]] | None = None
    """Text, or messages; this or `messages`."""
    messages: list[dict[str, Any]] | None = None
    uid: Label | None = None
    step: Label | int | None = None
    validation: bool = False
    ground_truth: Any = None
    task_id: Label | int | None = None
    entry_point: Label | None = None
    reference: str | None = None
    """Code that is known to be right."""
    pass_rate: Rate | None = None


class ScoreRequest(_Prompt, kw_only=True, forbid_unknown_fields=True):
    """One rollout."""

    response: str
    member: Label | None = None
    """What tells the rollout from its siblings: sent again with the same one, it is counted once."""
    siblings: PositiveInt | None = None
    """How many rollouts its group has: their answers come as soon as all are there."""
    alone: bool = False
    """Nobody is waited for: the rollout is scored as a group of one."""


class GroupRequest(_Prompt, kw_only=True, forbid_unknown_fields=True):
    """All the rollouts of one prompt."""

    responses: list[str]


class BatchRequest(Struct, kw_only=True, forbid_unknown_fields=True):
    """Groups that are complete: nobody else is waited for."""

    groups: list[GroupRequest]


class BatchAnswer(Struct, kw_only=True):
    """Rewards in the order of the groups and of their responses."""

    rewards: list[list[RewardOutput]]


def decode(body: bytes, kind: type[T]) -> T:
    """Read a request's JSON.

    Raises:
        RequestError: 400 for what is no JSON, 422 for JSON of another form.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise RequestError(422, f"The request cannot be used: {error}; see /openapi.json.") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise RequestError(400, "The body is not JSON in UTF-8; send one JSON object.") from None
    except RecursionError:
        raise RequestError(400, "The body's JSON is nested too deeply; send plain values.") from None


def single_sample(asked: ScoreRequest, run: str, limits: ServiceLimits, *, unique: str) -> Sample:
    """Return the rollout of a request; `unique` names the group of one that is `alone`.

    Raises:
        RequestError: 413 or 422: too long, or its prompt is none.
    """
    messages = _messages(asked, "", limits)
    _check_text(asked.response, "response", limits)
    siblings, uid = (1, unique) if asked.alone else (asked.siblings, asked.uid)
    if siblings is not None and siblings > limits.max_responses:
        raise RequestError(
            413, f"A group may have {limits.max_responses:,} responses, and siblings says {siblings:,}."
        )
    return _sample(asked, messages, asked.response, uid, asked.member, siblings, run)


def batch_samples(
    asked: BatchRequest, run: str, limits: ServiceLimits, *, unique: str
) -> tuple[list[Sample], list[int]]:
    """Return (all rollouts, group by group; how many each group has); `unique` tells requests apart.

    Groups never mix, whatever their uid.

    Raises:
        RequestError: 413 or 422, with the place of what is wrong.
    """
    samples: list[Sample] = []
    for number, group in enumerate(asked.groups):
        where = f"groups[{number}]."
        messages = _messages(group, where, limits)
        if len(group.responses) > limits.max_responses:
            raise RequestError(
                413,
                f"{where}responses has {len(group.responses):,} items where {limits.max_responses:,} are "
                "allowed; send smaller groups.",
            )
        for place, response in enumerate(group.responses):
            _check_text(response, f"{where}responses[{place}]", limits)
            uid = f"{unique}-{number}" if group.uid is None else f"{group.uid}-{unique}-{number}"
            size = len(group.responses)
            samples.append(_sample(group, messages, response, uid, str(place), size, run))
    return samples, [len(group.responses) for group in asked.groups]


def schemas() -> dict[str, Any]:
    """JSON schemas of all of these by name, for OpenAPI's components."""
    kinds = (ScoreRequest, BatchRequest, RewardOutput, BatchAnswer)
    _, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    return components


def _sample(
    asked: _Prompt,
    messages: tuple[Message, ...],
    response: str,
    uid: str | None,
    member: str | None,
    siblings: int | None,
    run: str,
) -> Sample:
    return Sample(
        messages=messages,
        response=response,
        uid=uid,
        member=member,
        step=None if asked.step is None else str(asked.step),
        run=run,
        validation=asked.validation,
        siblings=siblings,
        ground_truth=asked.ground_truth,
        task_id=None if asked.task_id is None else str(asked.task_id),
        entry_point=asked.entry_point,
        reference=asked.reference,
        pass_rate=asked.pass_rate,
    )


def _messages(asked: _Prompt, where: str, limits: ServiceLimits) -> tuple[Message, ...]:
    if (asked.prompt is None) == (asked.messages is None):
        raise RequestError(
            422, f"{where}prompt or {where}messages must say what was asked; give one of them."
        )
    with _said_of(where):
        messages = messages_from_value(asked.messages if asked.prompt is None else asked.prompt)
    _check_length(sum(len(message.content) for message in messages), f"{where}prompt", limits)
    if not any(message.content.strip() for message in messages):
        raise RequestError(422, f"{where}prompt is empty; give the text of the task.")
    _check_text(asked.reference or "", f"{where}reference", limits)
    return messages


@contextlib.contextmanager
def _said_of(where: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise RequestError(422, f"{where}prompt cannot be used: {error}.") from None


def _check_text(text: str, where: str, limits: ServiceLimits) -> None:
    _check_length(len(text), where, limits)


def _check_length(length: int, where: str, limits: ServiceLimits) -> None:
    if length > limits.max_text:
        raise RequestError(
            413, f"{where} has {length:,} characters where {limits.max_text:,} are allowed; shorten it."
        )


def by_group(rewards: Sequence[RewardOutput], sizes: Sequence[int]) -> list[list[RewardOutput]]:
    """Cut a flat list of rewards into the groups that it came from."""
    flat = iter(rewards)
    return [list(itertools.islice(flat, size)) for size in sizes]
