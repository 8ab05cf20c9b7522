"""What TRL hands over, as samples and groups."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderm_reward.errors import InputError
from coderm_reward.integrations.trl_batch import completion_text, grouped, samples_from_batch
from coderm_reward.integrations.trl_ranks import local_processes, share_of_cores
from coderm_reward.types import Message

CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Write f."}]


def test_columns_become_fields() -> None:
    samples = samples_from_batch(
        ["Write f.", "Write g."],
        ["a", "b"],
        {
            "ground_truth": [None, ["assert g(1) == 1"]],
            "tests": ["assert f(1) == 1", "assert g(2) == 2"],
            "task_id": [7, "seven"],
            "entry_point": ["f", ""],
            "reference": [None, "def g(x): return x"],
            "pass_rate": [0.25, float("nan")],
            "trainer_state": SimpleNamespace(global_step=3),
            "completion_ids": [[1], [2]],
            "log_metric": print,
            "too_short": ["x"],
        },
        run="a run",
    )
    first = samples[0]
    assert first.messages == (Message("user", "Write f."),)
    assert [first.response, first.step, first.run] == ["a", "3", "a run"]
    assert [sample.ground_truth for sample in samples] == ["assert f(1) == 1", ["assert g(1) == 1"]]
    assert [sample.task_id for sample in samples] == ["7", "seven"]
    assert [sample.entry_point for sample in samples] == ["f", None]
    assert [sample.reference for sample in samples] == [None, "def g(x): return x"]
    assert [sample.pass_rate for sample in samples] == [0.25, None]


def test_conversations() -> None:
    [sample] = samples_from_batch([CHAT], [[{"role": "assistant", "content": "a"}]], {})
    assert sample.messages == (Message("system", "Be brief."), Message("user", "Write f."))
    assert sample.response == "a"


@pytest.mark.parametrize(
    ("completion", "text"),
    [
        ("a", "a"),
        ("", ""),
        (None, ""),
        ([], ""),
        ([{"role": "assistant", "content": None, "tool_calls": []}], ""),
        ({"role": "assistant", "content": "a"}, "a"),
        (
            [
                {
                    "role": "assistant",
                    "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
                }
            ],
            "ab",
        ),
        ([{"role": "assistant", "content": "a"}, {"role": "tool", "content": "1"}], "a"),
        (
            [
                {"role": "assistant", "content": "a"},
                {"role": "user", "content": "?"},
                {"role": "assistant", "content": "b"},
            ],
            "b",
        ),
    ],
)
def test_what_the_assistant_said_last(completion: Any, text: str) -> None:
    assert completion_text(completion) == text


@pytest.mark.parametrize(
    "prompt", [[{"role": "ipython", "content": "Write f."}], [{"content": "Write f."}], 3, None, []]
)
def test_a_prompt_that_is_no_chat_is_no_error(prompt: Any) -> None:
    [sample] = samples_from_batch([prompt], ["a"], {})
    assert [message.role for message in sample.messages] == ["user"]
    if isinstance(prompt, list) and prompt:
        assert sample.messages[0].content == "Write f."


def test_as_many_completions_as_prompts() -> None:
    with pytest.raises(InputError, match="2 prompts and 1 completions"):
        samples_from_batch(["a", "b"], ["c"], {})


def places(prompts: list[Any], num_generations: int | None) -> list[list[int]]:
    return grouped(samples_from_batch(prompts, [""] * len(prompts), {}), num_generations)


def test_groups_are_prompts_and_what_is_known_of_their_size() -> None:
    assert places(["a", "a", "b", "b", "a", "a"], None) == [[0, 1, 4, 5], [2, 3]]
    assert places(["a", "a", "b", "b", "a", "a"], 2) == [[0, 1], [4, 5], [2, 3]]
    assert places(["a", "b", "a", "b"], 2) == [[0, 2], [1, 3]]
    assert places([], 2) == []


def test_the_system_message_tells_groups_apart() -> None:
    other = [{"role": "system", "content": "Be long."}, CHAT[1]]
    assert places([CHAT, other, CHAT], None) == [[0, 2], [1]]


@given(st.lists(st.sampled_from("abc"), max_size=12), st.none() | st.integers(1, 5))
def test_every_sample_is_in_one_group_of_its_prompt(prompts: list[str], size: int | None) -> None:
    groups = places(prompts, size)
    assert sorted(place for group in groups for place in group) == list(range(len(prompts)))
    assert all(len({prompts[place] for place in group}) == 1 for group in groups)
    assert all(0 < len(group) <= (size or len(prompts)) for group in groups)


@pytest.mark.parametrize(("said", "known"), [(None, 1), ("", 1), ("2", 2), ("0", 1), ("x", 1)])
def test_processes_of_this_machine(monkeypatch: pytest.MonkeyPatch, said: str | None, known: int) -> None:
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if said is not None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", said)
    assert local_processes() == known


@given(st.integers(1, 512), st.integers(1, 16))
def test_cores_are_shared_out(cores: int, processes: int) -> None:
    share = share_of_cores(cores, processes)
    assert share >= 1
    assert share * processes <= max(cores, processes)
