"""Hidden states on disk: found again by reading and prompt alone, by any number of processes."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

import msgspec
import numpy as np
import pytest

from coderm_reward.budget.probe.cache import HiddenStateCache
from coderm_reward.budget.probe.reading import ReadingSpec, prompt_text, read_hidden_states, text_key
from coderm_reward.errors import OutputError


class Scripted:
    """Reads a text as its length, in batches of two, and remembers what it was asked."""

    def __init__(self, fails_after: int = 99) -> None:
        self.asked: list[str] = []
        self.fails_after = fails_after

    def read(self, texts):
        for first in range(0, len(texts), 2):
            if first >= self.fails_after:
                raise KeyboardInterrupt
            places = list(range(first, min(first + 2, len(texts))))
            self.asked += [texts[i] for i in places]
            yield places, np.array([[len(texts[i]), 1.0] for i in places], dtype=np.float32)


@pytest.fixture
def cache(tmp_path: Path):
    opened = HiddenStateCache(tmp_path / "states.db")
    yield opened
    opened.close()


TEXTS = ["a", "bbb", "cc", "a", "dddd"]
VALUES = [[1, 1], [3, 1], [2, 1], [1, 1], [4, 1]]


def test_states_come_in_the_order_of_the_texts_and_each_is_read_once(
    cache: HiddenStateCache, spec: ReadingSpec
) -> None:
    reader = Scripted()
    told: list[tuple[int, int]] = []
    states = read_hidden_states(TEXTS, spec.key(), lambda: reader, cache, lambda *so_far: told.append(so_far))
    assert states.tolist() == VALUES
    assert reader.asked == ["a", "bbb", "cc", "dddd"]
    assert told == [(0, 4), (2, 4), (4, 4)]

    def never() -> Scripted:
        raise AssertionError("the model was opened for states that are in the cache")

    assert read_hidden_states(TEXTS, spec.key(), never, cache).tolist() == VALUES
    assert read_hidden_states([], spec.key(), never, cache).shape == (0, 0)


def test_an_interrupted_run_goes_on_where_it_stopped(cache: HiddenStateCache, spec: ReadingSpec) -> None:
    with pytest.raises(KeyboardInterrupt):
        read_hidden_states(TEXTS, spec.key(), lambda: Scripted(fails_after=2), cache)
    reader = Scripted()
    assert read_hidden_states(TEXTS, spec.key(), lambda: reader, cache).tolist() == VALUES
    assert reader.asked == ["cc", "dddd"]


def test_another_process_finds_what_this_one_kept(cache: HiddenStateCache, tmp_path: Path) -> None:
    states = {text_key(str(i)): np.full(3, i, dtype=np.float32) for i in range(1200)}
    cache.add("00" * 8, states)
    other = HiddenStateCache(tmp_path / "states.db")
    found = other.find("00" * 8, list(states))
    other.close()
    assert {key: state.tolist() for key, state in found.items()} == {k: s.tolist() for k, s in states.items()}
    assert cache.find("11" * 8, list(states)) == {}


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": "f" * 16},
        {"layer": 1},
        {"template": "plain"},
        {"template_hash": "0" * 16},
        {"max_tokens": 99},
        {"dtype": "bfloat16"},
    ],
)
def test_the_key_holds_all_that_decides_a_state(spec: ReadingSpec, change: dict[str, object]) -> None:
    assert msgspec.structs.replace(spec, **change).key() != spec.key()


def test_the_key_leaves_out_what_a_model_is_called(spec: ReadingSpec) -> None:
    assert msgspec.structs.replace(spec, model="a/copy/elsewhere").key() == spec.key()


def test_line_ends_and_surrounding_space_are_no_part_of_a_prompt() -> None:
    assert prompt_text(" Do\r\nit. \n") == prompt_text("Do\nit.") == "Do\nit."


def test_what_is_no_cache_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("my notes, longer than nothing")
    with pytest.raises(OutputError, match=r"hidden-state cache .* --cache"):
        HiddenStateCache(path)
    assert path.read_text() == "my notes, longer than nothing"


def test_a_file_that_fails_later_costs_a_warning(
    cache: HiddenStateCache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache.add("00" * 8, {text_key("x"): np.zeros(2, dtype=np.float32)})
    with sqlite3.connect(tmp_path / "states.db") as other:
        other.execute("DROP TABLE states")
    other.close()
    with caplog.at_level(logging.WARNING, logger="coderm_reward"):
        assert cache.find("00" * 8, [text_key("x")]) == {}
        cache.add("00" * 8, {text_key("x"): np.zeros(2, dtype=np.float32)})
    assert [record.message for record in caplog.records if "going on without it" in record.message]
    assert len(caplog.records) == 1
