"""Datasets by prompt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from coderm_reward.data.chat import prompt_hash
from coderm_reward.integrations.prompt_book import DatasetFiles, PromptBook
from coderm_reward.online.sample import Sample
from coderm_reward.types import Message


def row(question: str, **extra: Any) -> dict[str, Any]:
    return {
        "prompt": [{"role": "user", "content": question}],
        "reward_model": {"style": "rule", "ground_truth": json.dumps([f"assert f() == {len(question)}"])},
        "extra_info": {"entry_point": "f", "task_id": question, **extra},
    }


def write(path: Path, *rows: dict[str, Any]) -> str:
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return str(path)


def sample(question: str) -> Sample:
    return Sample(messages=(Message("system", "Hi."), Message("user", question)), response="r")


@pytest.fixture
def files(tmp_path: Path) -> DatasetFiles:
    train = write(tmp_path / "train.parquet", row("one"), row("both"))
    validation = write(tmp_path / "val.parquet", row("two"), row("both"))
    return DatasetFiles(train=(train,), validation=(validation,))


def test_what_the_dataset_knows_is_found_by_the_prompt(files: DatasetFiles) -> None:
    book = PromptBook(files)
    assert len(book) == 3
    found = book.completed(sample("two"))
    assert (found.validation, found.entry_point, found.task_id) == (True, "f", "two")
    assert json.loads(found.ground_truth) == ["assert f() == 3"]
    assert not book.completed(sample("one")).validation
    assert not book.completed(sample("both")).validation  # a training row counts more
    assert book.completed(sample("three")) == sample("three")


def test_what_the_trainer_says_counts_more(files: DatasetFiles) -> None:
    said = msgspec.structs.replace(
        sample("both"), validation=True, entry_point="g", ground_truth=["assert 1"]
    )
    found = PromptBook(files).completed(said)
    assert (found.validation, found.entry_point, found.task_id) == (True, "g", "both")
    assert found.ground_truth == ["assert 1"]


def test_validation_alone_can_be_looked_up(files: DatasetFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(files.train[0]).parent
    monkeypatch.setenv("HOME", str(folder))
    book = PromptBook(DatasetFiles(train=("~/train.parquet",), validation=("~/val.parquet",), columns=()))
    assert book.completed(sample("two")) == msgspec.structs.replace(sample("two"), validation=True)
    assert book.completed(sample("one")) == sample("one")


def test_only_our_share_is_kept(files: DatasetFiles) -> None:
    mine = prompt_hash(sample("one").messages)
    book = PromptBook(files, lambda identity: identity == mine)
    assert len(book) == 1
    assert book.completed(sample("two")) == sample("two")


def test_files_that_cannot_be_read_are_told_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"no parquet")
    files = DatasetFiles(train=("hdfs://far/away.parquet", str(broken)))
    assert len(PromptBook(files)) == 0
    assert "hdfs://far/away.parquet" in caplog.text
    assert "broken.parquet" in caplog.text
