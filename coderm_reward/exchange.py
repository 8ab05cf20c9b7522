"""Suites in files: out of a store and into it, in the recorded format and in CodeRM's published one.

A row of the recorded format is what `--tests` reads (data.recorded_tests): prompt_hash, task_id, question
and `responses`, and beside them what only a store needs: generator, description, and `details` of each
response with its slot. It has no `prompt` column, as a question alone is not always all of a prompt. The
published format, `{"task_id": ..., "unit_tests": [{"unittest": source}, ...]}`, holds test classes instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import msgspec

from coderm_reward.data.recorded_tests import read_recorded_rows
from coderm_reward.data.writers import write_json_rows
from coderm_reward.errors import InputError
from coderm_reward.exchange_rows import KnownProblems, joined, published_row, recorded_row, suite_of_row
from coderm_reward.generation.store import SuiteStore
from coderm_reward.generation.stored import StoredSuite
from coderm_reward.types import Problem

__all__ = ["ImportCounts", "export_published", "export_recorded", "import_suites"]


class ImportCounts(msgspec.Struct, frozen=True):
    """What an import did."""

    suites: int
    """Prompts whose responses were read."""
    added: int
    """Responses that are new to the store."""
    known: int
    """Responses that it had already."""
    unmatched: int
    """Rows of prompts that nobody knows: their task id is not among the given problems."""


def export_recorded(
    store: SuiteStore,
    path: Path,
    generator: str | None = None,
    *,
    prompts: Collection[str] | None = None,
) -> int:
    """Write a generator's suites to JSON lines (packed if the name ends in .gz); return their number.

    Args:
        generator: its identity; it may be left out where the store knows only one.
        prompts: hashes of the prompts to write; None means all.

    Raises:
        InputError: the store has no suites of that generator, or several generators and none is named.
        OutputError: the file cannot be written; it appears whole or not at all.
        GenerationError: the store failed.
    """
    identity, shared = _chosen(store, generator)
    suites = (s for s in store.suites(identity) if prompts is None or s.problem.prompt_hash in prompts)
    return write_json_rows(path, (recorded_row(suite, shared) for suite in suites))


def export_published(store: SuiteStore, path: Path, generator: str | None = None) -> int:
    """Write the test classes of a generator's suites in the published form; return the number of suites.

    A class that several responses gave stands there as often. Where a prompt has no task id of its own, its
    row has `prompt_hash` instead. Arguments and errors as export_recorded.
    """
    identity, shared = _chosen(store, generator)
    return write_json_rows(path, (published_row(suite, shared) for suite in store.suites(identity)))


async def import_suites(
    store: SuiteStore,
    paths: Sequence[Path],
    *,
    generator: str | None = None,
    problems: Iterable[Problem] = (),
) -> ImportCounts:
    """Add the responses and test classes that files of recorded tests hold; again, it changes nothing.

    Responses of our own export keep their slots where these are free; all others, each class of the
    published form among them, come after those that are there (see SuiteStore.merge).

    Args:
        generator: identity for rows that name none; a row's own is kept, so that generators never mix.
        problems: the prompts of rows that have a task id or a question alone.

    Raises:
        InputError: a file or row that cannot be used, and nothing was added; or no row of a known prompt.
        GenerationError: the store failed; what was added stays.
    """
    known = KnownProblems(problems)
    suites: dict[tuple[str, str], StoredSuite] = {}
    unmatched = 0
    for row in read_recorded_rows(paths):
        problem = known.find(row)
        if problem is None:
            unmatched += 1
            continue
        suite = suite_of_row(row, problem, generator)
        key = (problem.prompt_hash, suite.generator)
        suites[key] = joined(suites[key], suite) if key in suites else suite
    if not suites:
        raise InputError(
            f"None of the {unmatched} rows of {', '.join(map(str, paths))} belongs to a known prompt; "
            "name the prompts that they are for."
        )
    added = [len(await store.merge(suite)) for suite in suites.values()]
    given = sum(len(suite.responses) for suite in suites.values())
    return ImportCounts(len(suites), sum(added), given - sum(added), unmatched)


def _chosen(store: SuiteStore, generator: str | None) -> tuple[str, frozenset[str]]:
    """(the generator to export, the task ids that do not name one prompt alone)."""
    there = list(store.generators())
    if generator is None and len(there) > 1:
        raise InputError(
            f"The suite store {store.path} holds suites of {len(there)} generators; "
            f"name one of: {'; '.join(there)}."
        )
    if not there or generator not in (None, *there):
        whose = "" if generator is None else f" of the generator {generator}"
        raise InputError(
            f"The suite store {store.path} holds no suites{whose}; generate or import some first."
        )
    identity = generator or there[0]
    ids: Counter[str] = Counter()
    for problem in store.problems(identity):
        ids.update({problem.prompt_hash, problem.task_id or ""})
    return identity, frozenset({"", *(name for name, count in ids.items() if count > 1)})
