"""Which solution stands in which prompt, and what of it: DESIGN section 6. Pure; nothing is executed.

A rollout is untrusted text on its way to a model that writes its judge. So comments and docstrings go, it is
printed anew from its syntax tree, and whatever a chat template could take for the end of the message is
broken up. String literals that the program needs stay: what they say can still sway a model, and
`exclude_own_tests` is there for that.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

import msgspec

from coderm_reward.source import bound_names, normalised_id, safe_parse, strip_docstrings
from coderm_reward.types import CodeStatus, Problem, Solution

__all__ = ["NO_SOLUTION", "REFERENCE", "PromptSolution", "prompt_budget", "prompt_code", "prompt_solutions"]

REFERENCE = "reference"
"""Identity of the dataset's own solution."""

_CHARS_PER_TOKEN = 3
"""On the safe side: code and English give 3.2 to 4 with the tokenizers of current models."""
_TEMPLATE_TOKENS = 64
"""What a model's chat template adds, with room to spare."""


class PromptSolution(msgspec.Struct, frozen=True):
    """Code as it stands in a prompt, and whose it is: an identity (source.normalised_id) or `reference`."""

    id: str
    code: str


NO_SOLUTION = PromptSolution("", "")
"""For a prompt with the question alone."""


def prompt_budget(context: int, max_tokens: int) -> int:
    """Return the characters that a prompt may have, so that it and `max_tokens` fit into the context."""
    return max(0, context - max_tokens - _TEMPLATE_TOKENS) * _CHARS_PER_TOKEN


def prompt_solutions(
    problem: Problem, solutions: Sequence[Solution], max_chars: int
) -> tuple[PromptSolution, ...]:
    """Return the solutions that take turns in a problem's prompts: response s gets the one at s modulo all.

    The reference alone where there is one. Else the distinct programs of the group, shortest first, those
    that define the function under test before any others, without those of more than `max_chars`
    characters. If that leaves none, the shortest: the model's own count of tokens decides. Nothing that
    parses: NO_SOLUTION.
    """
    if problem.reference is not None and (code := prompt_code(problem.reference)):
        return (PromptSolution(REFERENCE, code),)
    texts = dict.fromkeys(s.code for s in solutions if s.status is CodeStatus.OK)
    distinct: dict[str, PromptSolution] = {}
    for text in texts:
        code = prompt_code(text)
        if code:
            identity = normalised_id(text)
            distinct.setdefault(identity, PromptSolution(identity, code))
    found = sorted(distinct.values(), key=lambda solution: (len(solution.code), solution.id))
    found = [s for s in found if _defines(s.code, problem.entry_point)] or found
    return tuple([s for s in found if len(s.code) <= max_chars] or found[:1] or [NO_SOLUTION])


def prompt_code(source: str) -> str:
    """Return source without comments and docstrings, safe to stand in a chat message; "" if it has no code.

    Also "" for what does not parse, or is nested too deep to be printed.
    """
    tree = safe_parse(source)
    if tree is None:
        return ""
    strip_docstrings(tree)
    try:
        text = ast.unparse(tree)
    except (RecursionError, ValueError):  # nested too deep, or an integer too long to be written in decimal
        return ""
    return _ENDINGS.sub(_broken, text)


_ENDINGS = re.compile(
    r"<[|｜]|[|｜]>|`{3,}|</?s>|<(?:eos|bos|pad|(?:start|end)_of_turn)>|</?(?:think|thinking)>|\[/?INST\]"
)
"""What ends a message, a turn or a fence for some model. In printed code it occurs in strings only."""


def _broken(match: re.Match[str]) -> str:
    return " ".join(match[0]) if match[0][0] == "`" else match[0][0] + " " + match[0][1:]


def _defines(code: str, entry_point: str | None) -> bool:
    tree = safe_parse(code)
    return tree is not None and (entry_point is None or entry_point in bound_names(*tree.body))
