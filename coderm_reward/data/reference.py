"""The reference solution of a data set, as code that defines the function under test. Pure."""

from __future__ import annotations

from coderm_reward.data.entry_points import entry_point_from_prompt
from coderm_reward.data.extraction import extract_solution
from coderm_reward.source import bound_names, safe_parse
from coderm_reward.types import CodeStatus

__all__ = ["reference_code"]


def reference_code(text: str, question: str, entry_point: str | None) -> str | None:
    """Return the code of a column's text: whole functions, fenced or not, or a body for the prompt's header.

    Data sets of the HumanEval family have prompts that end in a function's header, and the body as reference.
    None where the text holds no such code.
    """
    entry_point = entry_point or entry_point_from_prompt(question)
    for whole in (text, f"{question.rstrip()}\n{text}"):
        found = extract_solution(whole, entry_point, wants_function=True, context=question)
        tree = safe_parse(found.code) if found.status is CodeStatus.OK else None
        names = bound_names(*tree.body) if tree is not None else set()
        if names and (entry_point is None or entry_point in names):
            return found.code
    return None
