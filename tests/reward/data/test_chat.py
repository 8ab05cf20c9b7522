"""Chat-template text, lists of messages, and the identity of a prompt."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coderm_reward.data.chat import messages_from_text, messages_from_value, prompt_hash, question
from coderm_reward.types import Message

QWEN_SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
LLAMA_SYSTEM = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"


def chatml(messages: Sequence[Message], system: str = QWEN_SYSTEM, special: bool = True) -> str:
    begin, end = ("<|im_start|>", "<|im_end|>") if special else ("", "")
    turns = [Message("system", system), *messages] if system else messages
    return "".join(f"{begin}{m.role}\n{m.content}{end}\n" for m in turns) + f"{begin}assistant\n"


def phi4(messages: Sequence[Message]) -> str:
    turns = "".join(f"<|im_start|>{m.role}<|im_sep|>{m.content}<|im_end|>" for m in messages)
    return turns + "<|im_start|>assistant<|im_sep|>"


def llama3(messages: Sequence[Message], special: bool = True) -> str:
    def header(role: str) -> str:
        return f"<|start_header_id|>{role}<|end_header_id|>\n\n" if special else f"{role}\n\n"

    end = "<|eot_id|>" if special else ""
    body = "".join(f"{header(m.role)}{m.content}{end}" for m in messages)
    begin = "<|begin_of_text|>" if special else ""
    return f"{begin}{header('system')}{LLAMA_SYSTEM}{end}{body}{header('assistant')}"


def llama2(messages: Sequence[Message]) -> str:
    text = "<s>[INST] <<SYS>>\nYou are honest.\n<</SYS>>\n\n"
    for m in messages:
        text += f"{m.content} [/INST]" if m.role == "user" else f" {m.content} </s><s>[INST] "
    return text


def mistral(messages: Sequence[Message]) -> str:
    turns = "".join(f"[INST]{m.content}[/INST]" if m.role == "user" else f"{m.content}</s>" for m in messages)
    return f"<s>[SYSTEM_PROMPT]You are Mistral.[/SYSTEM_PROMPT]{turns}"


def gemma(messages: Sequence[Message], special: bool = True) -> str:
    begin, end = ("<start_of_turn>", "<end_of_turn>") if special else ("", "")
    names = {"user": "user", "assistant": "model"}
    turns = "".join(f"{begin}{names[m.role]}\n{m.content}{end}\n" for m in messages)
    return ("<bos>" if special else "") + turns + f"{begin}model\n"


def deepseek_r1(messages: Sequence[Message], system: str = "") -> str:
    text = f"<｜begin▁of▁sentence｜>{system}"
    for m in messages:
        text += (
            f"<｜User｜>{m.content}"
            if m.role == "user"
            else f"<｜Assistant｜>{m.content}<｜end▁of▁sentence｜>"
        )
    return text + "<｜Assistant｜><think>\n"


def deepseek_coder(messages: Sequence[Message]) -> str:
    text = "You are an AI programming assistant.\n"
    for m in messages:
        name = "Instruction" if m.role == "user" else "Response"
        text += f"### {name}:\n{m.content}\n" + ("" if m.role == "user" else "<|EOT|>\n")
    return text + "### Response:\n"


def phi3(messages: Sequence[Message]) -> str:
    return "".join(f"<|{m.role}|>\n{m.content}<|end|>\n" for m in messages) + "<|assistant|>\n"


def zephyr(messages: Sequence[Message]) -> str:
    return "".join(f"<|{m.role}|>\n{m.content}</s>\n" for m in messages) + "<|assistant|>\n"


def gpt_oss(messages: Sequence[Message]) -> str:
    turns = "".join(f"<|start|>{m.role}<|message|>{m.content}<|end|>" for m in messages)
    return f"<|start|>system<|message|>You are ChatGPT.<|end|>{turns}<|start|>assistant"


def colons(messages: Sequence[Message], user: str, system: str = "") -> str:
    names = {"user": user, "assistant": "Assistant"}
    return system + "\n\n".join(f"{names[m.role]}: {m.content}" for m in messages) + "\n\nAssistant:"


TEMPLATES: dict[str, Callable[[Sequence[Message]], str]] = {
    "chatml": chatml,
    "chatml without default system": lambda m: chatml(m, system=""),
    "chatml decoded": lambda m: chatml(m, special=False),
    "chatml decoded without default system": lambda m: chatml(m, system="", special=False),
    "chatml with an empty thought": lambda m: chatml(m, special=False) + "<think>\n\n</think>\n\n",
    "phi4": phi4,
    "llama3": llama3,
    "llama3 decoded": lambda m: llama3(m, special=False),
    "llama2": llama2,
    "mistral": mistral,
    "gemma": gemma,
    "gemma decoded": lambda m: gemma(m, special=False),
    "deepseek r1": deepseek_r1,
    "deepseek r1 with system": lambda m: deepseek_r1(m, system="You reason."),
    "deepseek ascii bars": lambda m: deepseek_r1(m).replace("｜", "|"),
    "deepseek coder": deepseek_coder,
    "phi3": phi3,
    "zephyr": zephyr,
    "gpt-oss": gpt_oss,
    "User/Assistant": lambda m: colons(m, "User"),
    "Human/Assistant": lambda m: colons(m, "Human"),
    "System/User/Assistant": lambda m: colons(m, "User", system="System: Be brief.\n\n"),
    "R1-Zero": lambda m: (
        colons(m, "User", system="A conversation between User and Assistant. The user asks.\n") + " <think>"
    ),
}

LINES = st.one_of(
    st.sampled_from(
        [
            "user",
            "the model",
            "system",
            "User: bob",
            "The user",
            "",
            "def f(x):",
            "    return x",
            "### Input:",
            "<s>struck</s>",
        ]
    ),
    st.text(st.characters(exclude_characters="<[|｜"), max_size=30),
)
QUESTIONS = st.lists(LINES, min_size=1, max_size=6).map(lambda lines: "\n".join(lines).strip()).filter(bool)
BY_TEMPLATE = pytest.mark.parametrize("template", TEMPLATES.values(), ids=TEMPLATES.keys())


@BY_TEMPLATE
@settings(deadline=None)
@given(text=QUESTIONS)
def test_rendering_and_reducing_gives_the_question_back(
    template: Callable[[Sequence[Message]], str], text: str
) -> None:
    messages = messages_from_text(template([Message("user", text)]))
    assert question(messages) == text


@BY_TEMPLATE
def test_identity_is_that_of_the_raw_messages(template: Callable[[Sequence[Message]], str]) -> None:
    raw = [Message("user", "Add two numbers."), Message("assistant", "Done."), Message("user", "Now three.")]
    assert prompt_hash(messages_from_text(template(raw))) == prompt_hash(raw)


@settings(deadline=None)
@given(
    st.text()
    | st.lists(st.sampled_from(["<|im_start|>", "user", "\n", "assistant", "[INST]", ":"])).map("".join)
)
def test_any_text_has_messages_question_and_hash(text: str) -> None:
    messages = messages_from_text(text)
    assert isinstance(question(messages), str)
    assert len(prompt_hash(messages)) == 16


@settings(deadline=None)
@given(QUESTIONS)
def test_a_plain_question_is_one_user_message_again_and_again(text: str) -> None:
    once = messages_from_text(text)
    assert once == (Message("user", text),)
    assert messages_from_text(question(once)) == once


@pytest.mark.parametrize(
    "text",
    [
        "Write a log parser.\nuser\nbob\nassistant\neve",
        "user\nis a table; select from it",
        "user\nassistant",
        "Print the three lines\nsystem\nuser\nassistant\n",
        "Explain what <|im_start|>user means in a chat template.",
        "Parse 'User: hi' and 'Assistant: hello' lines.",
        "User: an account.\nWrite a class for it.",
        "Write a parser for\n### Instruction:\nand\n### Response:\nblocks of Alpaca.",
        "Strip [INST] and [/INST] from text.",
        "What does the assistant\n\n",
    ],
)
def test_marker_words_in_ordinary_text_cut_nothing(text: str) -> None:
    assert messages_from_text(text) == (Message("user", text.strip()),)


@pytest.mark.parametrize("text", ["Count\nuser\nin a file.", "Rename\nmodel\nto\nuser\nin it."])
def test_role_words_inside_a_decoded_question_are_kept(text: str) -> None:
    decoded = f"system\nBe brief.\nuser\n{text}\nassistant\n"
    assert question(messages_from_text(decoded)) == text


def test_chat_markup_inside_a_question_is_kept_where_turns_have_ends() -> None:
    text = "<|im_start|>user\nSplit at <|im_start|>user\nplease.<|im_end|>\n<|im_start|>assistant\n"
    assert question(messages_from_text(text)) == "Split at <|im_start|>user\nplease."


@pytest.mark.parametrize("opener", ["<think>", "<think>\n", "<think>\n\n</think>\n\n", "</think>", ""])
def test_generation_prompt_is_dropped(opener: str) -> None:
    text = f"<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n{opener}"
    assert messages_from_text(text) == (Message("user", "Q"),)


def test_started_answer_is_kept_but_is_no_part_of_the_identity() -> None:
    messages = messages_from_text("<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\nSure,")
    assert messages == (Message("user", "Q"), Message("assistant", "Sure,"))
    assert prompt_hash(messages) == prompt_hash([Message("user", "Q")])


def test_left_padding_and_begin_token_come_before_the_first_marker() -> None:
    text = "<|endoftext|><|endoftext|><|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"
    assert messages_from_text(text) == (Message("user", "Q"),)


def test_system_message_does_not_change_the_identity() -> None:
    user = Message("user", "Q")
    assert prompt_hash([Message("system", QWEN_SYSTEM), user]) == prompt_hash([user])


@pytest.mark.parametrize("other", ["Q2", "q", "Q\nQ"])
def test_another_question_has_another_identity(other: str) -> None:
    assert prompt_hash([Message("user", other)]) != prompt_hash([Message("user", "Q")])


def test_line_ends_outer_space_and_earlier_thoughts_do_not_change_the_identity() -> None:
    ends = [Message("user", "a\nb")]
    assert prompt_hash([Message("user", " a\r\nb\n")]) == prompt_hash(ends)
    thought = [*ends, Message("assistant", "<think>hm</think>\n\nok"), Message("user", "c")]
    assert prompt_hash(thought) == prompt_hash([*ends, Message("assistant", "ok"), Message("user", "c")])


def test_list_of_messages_and_its_json_text_are_the_same_prompt() -> None:
    value = [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}]
    assert messages_from_value(value) == messages_from_value(json.dumps(value))
    assert question(messages_from_value(value)) == "Q"


def test_content_in_parts_is_joined() -> None:
    value = [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image"}, {"text": "b"}]}]
    assert question(messages_from_value(value)) == "ab"


def test_tool_answer_is_not_the_question() -> None:
    value = [{"role": "user", "content": "Q"}, {"role": "tool", "content": "42"}]
    assert question(messages_from_value(value)) == "Q"


@pytest.mark.parametrize("text", ["[1, 2] is a list.", "[]", '[{"role": broken', '["role"]'])
def test_text_that_starts_like_a_list_is_a_question(text: str) -> None:
    assert messages_from_value(text) == (Message("user", text),)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (3, "neither text nor a list"),
        ({"role": "user", "content": "Q"}, "neither text nor a list"),
        (["Q"], "message 1 of the prompt has no role"),
        ([{"role": "alien", "content": "Q"}], "message 1 of the prompt has no role"),
        ([{"role": "user", "content": 3}], "message 1 of the prompt has no text"),
        ([{"role": "assistant", "content": "A"}], "no user message"),
        ([], "no user message"),
    ],
)
def test_other_values_are_refused_with_a_reason(value: object, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        messages_from_value(value)
