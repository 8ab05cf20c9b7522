"""What a model is asked, byte for byte."""

from __future__ import annotations

import pytest

from coderm_reward.generation.prompts import CODERM, INSTRUCT, choose_template

QUESTION = "Write a function `double(x)`.\n\nUse {no} braces."
CODE = 'def double(x):\n    return {"x": 2 * x}["x"]'

GOLDEN_CODERM = (
    b"Below is a question and it's corresponding code answer. Please write test cases to check the "
    b"correctness of the code answer. You need to use the unittest library in Python and create a test class "
    b"for testing."
    b"\n\n### question\nWrite a function `double(x)`.\n\nUse {no} braces."
    b'\n\n### code solution\ndef double(x):\n    return {"x": 2 * x}["x"]'
    b"\n\nPlease add detailed comments to the test cases you write. You do not need to test the function's "
    b"ability to throw exceptions."
)


def test_coderm_is_asked_in_the_format_that_it_was_trained_on() -> None:
    (message,) = CODERM.messages(QUESTION, CODE)
    assert message.role == "user"
    assert message.content.encode() == GOLDEN_CODERM


def test_the_texts_behind_recorded_identities_do_not_change_by_accident() -> None:
    """A changed text is a new generator: stores keep what the old one wrote apart."""
    assert (CODERM.identity, INSTRUCT.identity) == ("coderm:ee7c6429", "instruct:7b211f72")


def test_any_instruct_model_is_told_what_coderm_has_learned() -> None:
    (message,) = INSTRUCT.messages(QUESTION, CODE)
    for part in (QUESTION, f"```python\n{CODE}\n```", "unittest.TestCase", "may be wrong"):
        assert part in message.content


@pytest.mark.parametrize("template", [CODERM, INSTRUCT])
def test_without_code_the_question_stands_alone(template) -> None:
    (message,) = template.messages(QUESTION, "")
    assert message == INSTRUCT.messages(QUESTION, "")[0]
    assert QUESTION in message.content
    assert "olution" not in message.content


@pytest.mark.parametrize(
    ("name", "model", "chosen"),
    [
        ("auto", "KAKA22/CodeRM-8B", CODERM),
        ("auto", "/models/coderm-8b-awq", CODERM),
        ("auto", "Qwen/Qwen2.5-7B-Instruct", INSTRUCT),
        ("instruct", "KAKA22/CodeRM-8B", INSTRUCT),
        ("coderm", "gpt", CODERM),
    ],
)
def test_the_template_is_chosen_by_name(name, model, chosen) -> None:
    assert choose_template(name, model) is chosen
