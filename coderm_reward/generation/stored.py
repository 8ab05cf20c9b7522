"""The values that a store of suites holds."""

from __future__ import annotations

from typing import Any

import msgspec

from coderm_reward.types import Problem

__all__ = ["NEXT_SLOT", "StoredResponse", "StoredSuite"]

NEXT_SLOT = -1
"""Slot of an imported response that has none yet: it gets one after those that are there."""


class StoredResponse(msgspec.Struct, frozen=True):
    """One raw text of a model, in its numbered slot of a prompt's suite."""

    slot: int
    """From 0; which solution is in the prompt and what the seed is follow from it."""
    text: str
    finish_reason: str = "stop"
    """stop, length, or what else the model's server said."""
    solution: str = ""
    """Whose code was in the prompt: its normalised id, or `reference`; empty if none was, or unknown."""
    solution_source: str = ""
    """That code, as it stood in the prompt."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    seed: int | None = None
    """Below 2**63; None if unknown."""


class StoredSuite(msgspec.Struct, frozen=True):
    """What one generator answered to one prompt, and all that is needed to use it elsewhere."""

    problem: Problem
    generator: str
    """Identity of the generator."""
    description: dict[str, Any]
    """The same for people: model, template, sampling."""
    responses: tuple[StoredResponse, ...]
    """By slot; slots that failed are left out."""
    marks: dict[str, dict[str, str]] = {}
    """Test id -> mark (such as `reference_failed`) -> one line on it; whichever generator made the test."""
