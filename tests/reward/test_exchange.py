"""Suites in files: what goes out comes back, here and through the reader of recorded tests."""

from __future__ import annotations

import asyncio
import gzip
import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coderm_reward.data.recorded_tests import read_recorded_tests
from coderm_reward.errors import InputError, OutputError
from coderm_reward.exchange import ImportCounts, export_published, export_recorded, import_suites
from coderm_reward.generation.parsing import parse_responses
from coderm_reward.generation.store import SuiteStore
from coderm_reward.generation.stored import StoredResponse, StoredSuite
from coderm_reward.types import Problem

G = "model=a"
RECIPE = Path(__file__).parents[2] / "recipes" / "offline_scoring" / "unit_tests.jsonl"
PROBLEMS = [
    Problem("h1", "Add one to x.", entry_point="f", task_id="a/1"),
    Problem("h2", "Add two to x.", task_id="a/2"),
]


def store_of(*suites: StoredSuite) -> SuiteStore:
    store = SuiteStore.open()
    for suite in suites:
        asyncio.run(store.merge(suite))
    return store


def load(
    store: SuiteStore, path: Path, generator: str | None = None, problems: Iterable[Problem] = ()
) -> ImportCounts:
    return asyncio.run(import_suites(store, [path], generator=generator, problems=problems))


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def texts(store: SuiteStore, prompt_hash: str, generator: str = G) -> list[str]:
    return [response.text for response in store.responses(prompt_hash, generator)]


def suite(problem: Problem, *responses: str, generator: str = G) -> StoredSuite:
    made = tuple(StoredResponse(slot, text) for slot, text in enumerate(responses))
    return StoredSuite(problem, generator, {"model": "a"}, made)


text = st.text(max_size=30)
response = st.builds(
    StoredResponse,
    slot=st.just(0),
    text=text,
    finish_reason=st.sampled_from(["stop", "length"]),
    solution=st.sampled_from(["", "reference", "c0ffee"]),
    solution_source=st.sampled_from(["", "def f(x): ...", "def f(y): ..."]),
    prompt_tokens=st.integers(0, 5000),
    completion_tokens=st.integers(0, 5000),
    seconds=st.floats(0, 1e6),
    seed=st.none() | st.integers(0, 2**63 - 1),
)


@st.composite
def suites(draw: st.DrawFn) -> list[StoredSuite]:
    """Suites of one generator, some of whose prompts share a question or a task id."""
    made = []
    for number in range(draw(st.integers(1, 4))):
        problem = Problem(
            f"{number:016x}",
            draw(text),
            entry_point=draw(st.none() | st.just("f")),
            task_id=draw(st.none() | st.sampled_from(["", "a/1", "a/2", "0000000000000001"])),
        )
        slots = sorted(draw(st.sets(st.integers(0, 9), max_size=5)))
        responses = tuple(msgspec.structs.replace(draw(response), slot=slot) for slot in slots)
        marks = draw(st.dictionaries(text, st.dictionaries(text, text, min_size=1, max_size=2), max_size=2))
        made.append(StoredSuite(problem, G, {"model": "a", "n": number}, responses, marks))
    same = {"model": "a"}
    return [msgspec.structs.replace(s, description=same) for s in made]


@given(suites(), st.sampled_from(["s.jsonl", "s.jsonl.gz"]))
@settings(deadline=None, max_examples=40)
def test_an_export_is_read_as_the_same_suites_and_imported_as_the_same_store(
    made: list[StoredSuite], name: str
) -> None:
    with tempfile.TemporaryDirectory() as folder, store_of(*made) as store, SuiteStore.open() as other:
        path = Path(folder) / name
        assert export_recorded(store, path) == len(made)
        recorded = read_recorded_tests([path])
        for one in made:
            found = recorded[one.problem.prompt_hash]
            assert found.responses == tuple(r.text for r in one.responses)
            assert found.prompted_by in ((), tuple(r.solution for r in one.responses))
            assert bool(found.prompted_by) == any(r.solution for r in one.responses)

        count = sum(len(one.responses) for one in made)
        assert load(other, path) == ImportCounts(len(made), added=count, known=0, unmatched=0)
        again = [msgspec.structs.replace(s, problem=_unnamed(s.problem)) for s in store.suites()]
        assert [msgspec.structs.replace(s, problem=_unnamed(s.problem)) for s in other.suites()] == again
        assert load(other, path) == ImportCounts(len(made), added=0, known=count, unmatched=0)
        assert load(store, path).added == 0


def test_only_the_prompts_that_are_wanted_are_written(tmp_path: Path) -> None:
    with store_of(suite(PROBLEMS[0], "a"), suite(PROBLEMS[1], "b")) as store:
        assert export_recorded(store, tmp_path / "s.jsonl", prompts={"h2", "other"}) == 1
        assert [row.text for s in store.suites() for row in s.responses] == ["a", "b"]
    assert read_recorded_tests([tmp_path / "s.jsonl"])["h2"].responses == ("b",)


def _unnamed(problem: Problem) -> Problem:
    """Without its task id, which an export leaves out where it names two prompts."""
    return msgspec.structs.replace(problem, task_id=None)


def parsed(texts: Sequence[str], entry_point: str | None) -> list[tuple[str, int, tuple[str, ...]]]:
    return [(test.id, test.copies, test.methods) for test in parse_responses(texts, entry_point).tests]


def test_the_published_form_holds_the_same_tests(tmp_path: Path) -> None:
    """With real responses, some of them given twice."""
    path = tmp_path / "published.jsonl"
    with SuiteStore.open() as store:
        load(store, RECIPE, G)
        for problem in store.problems():
            asyncio.run(store.append(problem, G, [_repeated(store, problem.prompt_hash)]))
        assert export_published(store, path) == len(store.problems()) > 10
        recorded = read_recorded_tests([path])
        for problem in store.problems():
            published = recorded[problem.prompt_hash].responses
            held = texts(store, problem.prompt_hash)
            assert parsed(published, problem.entry_point) == parsed(held, problem.entry_point) != []
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert all(set(item) == {"unittest"} for row in rows for item in row["unit_tests"])


def _repeated(store: SuiteStore, prompt_hash: str) -> StoredResponse:
    held = store.responses(prompt_hash, G)
    return StoredResponse(len(held), held[0].text)


def test_the_published_form_is_imported_by_task_id_and_comes_back(tmp_path: Path) -> None:
    source = "import unittest\n\n\nclass TestF(unittest.TestCase):\n    def test_a(self):\n        f(1)\n"
    row = {"task_id": "a/1", "unit_tests": [{"unittest": source, "FAR": 0.1}]}
    path = write(tmp_path / "p.jsonl", row, {"task_id": "a/9", "unit_tests": [source]})
    with store_of(suite(PROBLEMS[0], "one")) as store:
        assert load(store, path, G, PROBLEMS) == ImportCounts(1, added=1, known=0, unmatched=1)
        assert load(store, path, G, PROBLEMS) == ImportCounts(1, added=0, known=1, unmatched=1)
        assert texts(store, "h1") == ["one", source]
        assert store.responses("h1", G)[1] == StoredResponse(1, source)
        export_published(store, tmp_path / "out.jsonl")
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()] == [
        {"task_id": "a/1", "unit_tests": [{"unittest": source}]}
    ]


def test_rows_of_one_prompt_are_one_import(tmp_path: Path) -> None:
    rows = [{"task_id": "a/1", "responses": ["x"]}, {"prompt_hash": "h1", "responses": ["x", "y"]}]
    with SuiteStore.open() as store:
        for added in (3, 0):
            assert load(store, write(tmp_path / "r.jsonl", *rows), G, PROBLEMS).added == added
        assert texts(store, "h1") == ["x", "x", "y"]


def test_a_row_finds_its_prompt_by_text_too_unless_two_prompts_share_it(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", {"task_id": "else", "question": "Add  one\nto x.", "responses": ["x"]})
    twin = Problem("h3", "Add one to x.")
    with SuiteStore.open() as store:
        load(store, path, G, PROBLEMS)
        assert texts(store, "h1") == ["x"]
        with pytest.raises(InputError, match=r"None of the 1 rows of .*r\.jsonl belongs to a known prompt"):
            load(store, path, G, [*PROBLEMS, twin])


def test_a_prompt_in_full_needs_no_problems(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", {"prompt": "Add one.", "task_id": 7, "responses": ["x"]})
    with SuiteStore.open() as store:
        load(store, path, G)
        (problem,) = store.problems()
        assert (problem.question, problem.task_id) == ("Add one.", "7")


def test_generators_never_mix(tmp_path: Path) -> None:
    with store_of(suite(PROBLEMS[0], "a"), suite(PROBLEMS[0], "b", generator="model=b")) as store:
        with pytest.raises(InputError, match="suites of 2 generators; name one of: model=a; model=b"):
            export_recorded(store, tmp_path / "s.jsonl")
        with pytest.raises(InputError, match="no suites of the generator model=c"):
            export_published(store, tmp_path / "s.jsonl", "model=c")
        assert export_recorded(store, tmp_path / "s.jsonl", "model=b") == 1
    with SuiteStore.open() as other:
        load(other, tmp_path / "s.jsonl", G)  # what the row says stands
        assert list(other.generators()) == ["model=b"]
        assert texts(other, "h1", "model=b") == ["b"]


def test_an_export_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with SuiteStore.open() as store, pytest.raises(InputError, match="holds no suites; generate"):
        export_recorded(store, tmp_path / "s.jsonl")
    with store_of(suite(PROBLEMS[0], "a")) as store:
        with pytest.raises(OutputError, match="is a directory"):
            export_recorded(store, tmp_path)
        export_recorded(store, tmp_path / "new" / "s.jsonl.gz")
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["s.jsonl.gz"]
    (row,) = gzip.decompress((tmp_path / "new" / "s.jsonl.gz").read_bytes()).splitlines()
    assert json.loads(row)["responses"] == ["a"]


ROW = {"prompt_hash": "h1", "generator": G, "responses": ["x"]}
RECORD = {"version": 1, "prompt_hash": "h1", "generator": G, "tests": [
    {"id": "t", "source": "s", "class_name": "T", "methods": ["test_a"]}
]}  # fmt: skip
BAD = {
    "no generator": ({**ROW, "generator": None}, "it names no generator, and none was named"),
    "generator no text": ({**ROW, "generator": 7}, "its generator cannot be read"),
    "details of others": ({**ROW, "details": []}, "it has 1 responses and 0 details"),
    "negative slot": ({**ROW, "details": [{"slot": -1}]}, "its details cannot be read"),
    "huge seed": ({**ROW, "details": [{"seed": 2**63}]}, "its details cannot be read"),
    "no such solution": ({**ROW, "details": [{"solution": 0}]}, "a solution that is not among its solutions"),
    "marks no texts": ({**ROW, "marks": {"t": ["m"]}}, "its marks cannot be read"),
    "a group record": (RECORD, "it is a group record, which holds no responses"),
    "no tests": ({"prompt_hash": "h1"}, "it needs responses or unit_tests"),
}


@pytest.mark.parametrize(("row", "said"), BAD.values(), ids=BAD)
def test_a_bad_row_is_one_clear_error_and_nothing_is_added(
    tmp_path: Path, row: dict[str, Any], said: str
) -> None:
    path = write(tmp_path / "r.jsonl", ROW, row)
    with SuiteStore.open() as store:
        with pytest.raises(InputError) as error:
            load(store, path)
        assert f"{path}:2 cannot be used as tests: " in str(error.value)
        assert said in str(error.value)
        assert store.generators() == {}


def test_slots_of_another_store_go_where_they_are_free(tmp_path: Path) -> None:
    theirs = StoredSuite(PROBLEMS[0], G, {}, (StoredResponse(2, "c"), StoredResponse(5, "f")))
    with store_of(theirs) as store:
        export_recorded(store, tmp_path / "s.jsonl")
    with store_of(suite(PROBLEMS[0], "a", "b", "other")) as store:
        load(store, tmp_path / "s.jsonl")
        held = {r.slot: r.text for r in store.responses("h1", G)}
        assert held == {0: "a", 1: "b", 2: "other", 5: "f", 6: "c"}
