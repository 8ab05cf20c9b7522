"""What a model is asked for: a problem's question and one solution in a fixed text. Pure.

`coderm` is the format that CodeRM-8B was trained on, to the letter (DESIGN section 1, "it's" included).
`instruct` is for any model that follows instructions, and says what CodeRM-8B has learned: the code may be
wrong, and one class of unittest is wanted. Both are one user message, put into the model's own chat template
by whoever runs the model. Where no solution has any code, either asks the `instruct` text with the question
alone, as CodeRM-8B knows no form without code.
"""

from __future__ import annotations

import msgspec

from coderm_reward.config import TemplateName
from coderm_reward.types import Message, content_hash

__all__ = ["CODERM", "INSTRUCT", "PromptTemplate", "choose_template"]

_QUESTION_ONLY = """\
Write unit tests in Python for the function that solves the task below.

### Task
{question}

Answer with one Python code block that holds one class derived from unittest.TestCase. Give it several test \
methods, each for another kind of input, edge cases included. Work out every expected value from the task. \
Call the function by the name that the task gives it; neither define nor import it, as it will be there."""

_INSTRUCT = """\
Write unit tests in Python for the function that solves the task below.

### Task
{question}

### A solution, which may be wrong
```python
{code}
```

Answer with one Python code block that holds one class derived from unittest.TestCase. Give it several test \
methods, each for another kind of input, edge cases included. Work out every expected value from the task, \
never from the solution. Call the function by its name; neither define nor import it, as it will be there."""

_CODERM = """\
Below is a question and it's corresponding code answer. Please write test cases to check the correctness of \
the code answer. You need to use the unittest library in Python and create a test class for testing.

### question
{question}

### code solution
{code}

Please add detailed comments to the test cases you write. You do not need to test the function's ability to \
throw exceptions."""


class PromptTemplate(msgspec.Struct, frozen=True):
    """A text with places for `{question}` and `{code}`, and the one for a question without code."""

    name: str
    with_code: str
    question_only: str = _QUESTION_ONLY

    @property
    def identity(self) -> str:
        """Its name and a hash of its texts: part of a generator's identity."""
        return f"{self.name}:{content_hash(self.with_code, self.question_only)[:8]}"

    def messages(self, question: str, code: str) -> tuple[Message, ...]:
        """Return the conversation; without code it is about the question alone."""
        text = self.with_code if code else self.question_only
        return (Message("user", text.format(question=question, code=code)),)


CODERM = PromptTemplate("coderm", _CODERM)
INSTRUCT = PromptTemplate("instruct", _INSTRUCT)


def choose_template(name: TemplateName, model: str) -> PromptTemplate:
    """Return the template of that name; `auto` is `coderm` for models with CodeRM in their name."""
    if name == "auto":
        return CODERM if "coderm" in model.lower() else INSTRUCT
    return CODERM if name == "coderm" else INSTRUCT
