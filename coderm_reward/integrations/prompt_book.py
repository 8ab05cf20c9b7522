"""What a dataset knows of its prompts, found again by the prompt alone.

verl's v1 trainer with a colocated reward model hands a reward nothing but prompt and response. The dataset's
own columns (split, entry point, reference, tests) are looked up here by the hash of the prompt.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from coderm_reward.data.chat import prompt_hash
from coderm_reward.errors import InputError
from coderm_reward.integrations.verl_samples import messages_of, sample_from_fields, usable
from coderm_reward.online.sample import Sample

__all__ = ["DatasetFiles", "PromptBook"]

_log = logging.getLogger("coderm_reward")
_LOOKED_UP = ("ground_truth", "task_id", "entry_point", "reference", "pass_rate")
_ROWS_AT_ONCE = 1000


class DatasetFiles(msgspec.Struct, frozen=True, kw_only=True):
    """The Parquet files of a training, as its trainer names them."""

    train: tuple[str, ...] = ()
    validation: tuple[str, ...] = ()
    prompt_key: str = "prompt"
    columns: tuple[str, ...] = ("reward_model", "extra_info")
    """What else to look up than whether a prompt is for validation."""


class PromptBook:
    """Dataset rows by prompt hash, compressed; of a prompt in both splits the training row counts.

    Args:
        files: what to read; one that is not there is told and left out.
        ours: which prompt hashes to keep.
    """

    def __init__(self, files: DatasetFiles, ours: Callable[[str], bool] = lambda _: True) -> None:
        self._rows: dict[str, tuple[bool, bytes]] = {}
        for validation, paths in ((True, files.validation), (False, files.train)):
            for path in paths:
                for identity, columns in _rows(path, files):
                    if ours(identity):
                        text = json.dumps(columns, default=str)
                        self._rows[identity] = (validation, zlib.compress(text.encode(), 1))

    def __len__(self) -> int:
        return len(self._rows)

    def completed(self, sample: Sample) -> Sample:
        """The sample with what the dataset knows of its prompt; as it is where that is nothing."""
        found = self._rows.get(prompt_hash(sample.messages))
        if found is None:
            return sample
        validation, packed = found
        fields = {**json.loads(zlib.decompress(packed)), "raw_prompt": msgspec.to_builtins(sample.messages)}
        known = sample_from_fields(fields, sample.response, validation=validation)
        new = {name: getattr(known, name) for name in _LOOKED_UP if getattr(sample, name) is None}
        return msgspec.structs.replace(sample, validation=sample.validation or known.validation, **new)


def _rows(path: str, files: DatasetFiles) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(prompt hash, the columns that say something of it) of each row with a prompt that can be used."""
    local = Path(path).expanduser()
    if not local.is_file():
        _log.warning("the dataset %s is no local file: what it knows of its prompts is not used", path)
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(local) as file:
            columns = [name for name in (files.prompt_key, *files.columns) if name in file.schema_arrow.names]
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=columns):
                yield from _of_rows(batch.to_pylist(), files.prompt_key)
    except (OSError, pa.ArrowException) as error:
        _log.warning("the dataset %s cannot be read (%s): it is not used", path, error)


def _of_rows(rows: Iterable[dict[str, Any]], prompt_key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for row in rows:
        try:
            messages = messages_of(row.pop(prompt_key, None), None, {})
        except InputError:
            continue
        yield prompt_hash(messages), {name: usable(value) for name, value in row.items()}
