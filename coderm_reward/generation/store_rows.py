"""The tables of a suite store, and what is read from and written to them through a given connection.

Errors are sqlite3's; what was changed behind our back is a sqlite3.DatabaseError too. Every response
carries a checksum, as SQLite's own checks look at the structure of a file and not at the texts in it.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from coderm_reward.generation.stored import NEXT_SLOT, StoredResponse, StoredSuite
from coderm_reward.text import storable
from coderm_reward.types import Problem, content_hash

__all__ = [
    "SCHEMA",
    "add_mark",
    "add_responses",
    "find_suite",
    "generators",
    "make_suite",
    "marks_of",
    "merge_responses",
    "problems_of",
    "read_responses",
    "read_slots",
    "read_suite",
    "suites_of",
]

SCHEMA = (
    """CREATE TABLE generators (
    id INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE, description TEXT NOT NULL
)""",
    """CREATE TABLE prompts (
    id INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE, question TEXT NOT NULL, entry_point TEXT, task_id TEXT
)""",
    """CREATE TABLE suites (
    id INTEGER PRIMARY KEY, prompt INTEGER NOT NULL REFERENCES prompts,
    generator INTEGER NOT NULL REFERENCES generators, UNIQUE (generator, prompt)
)""",
    """CREATE TABLE solutions (
    id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, name TEXT NOT NULL, source TEXT NOT NULL
)""",
    """CREATE TABLE responses (
    suite INTEGER NOT NULL REFERENCES suites, slot INTEGER NOT NULL, text TEXT NOT NULL,
    finish_reason TEXT NOT NULL, solution INTEGER NOT NULL REFERENCES solutions,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, seconds REAL NOT NULL, seed INTEGER,
    checksum INTEGER NOT NULL, PRIMARY KEY (suite, slot)
)""",
    """CREATE TABLE marks (
    prompt TEXT NOT NULL, test TEXT NOT NULL, mark TEXT NOT NULL, detail TEXT NOT NULL,
    PRIMARY KEY (prompt, test, mark)
) WITHOUT ROWID""",
    """CREATE TABLE leases (
    prompt TEXT NOT NULL, generator TEXT NOT NULL, owner TEXT NOT NULL, host TEXT NOT NULL,
    pid INTEGER NOT NULL, started TEXT NOT NULL, renewed REAL NOT NULL, PRIMARY KEY (prompt, generator)
) WITHOUT ROWID""",
)
_READ = """SELECT r.slot, r.text, r.finish_reason, s.name, s.source, r.prompt_tokens, r.completion_tokens,
    r.seconds, r.seed, r.checksum
    FROM responses r LEFT JOIN solutions s ON s.id = r.solution WHERE r.suite = ?"""
_ALL = (1 << 63) - 1


def find_suite(connection: sqlite3.Connection, prompt_hash: str, generator: str) -> int | None:
    """The suite's number, which never changes; None if there is none."""
    row = connection.execute(
        """SELECT suites.id FROM suites JOIN prompts ON prompts.id = prompt
        JOIN generators ON generators.id = generator WHERE hash = ? AND identity = ?""",
        (storable(prompt_hash), storable(generator)),
    ).fetchone()
    return None if row is None else int(row[0])


def make_suite(
    connection: sqlite3.Connection, problem: Problem, generator: str, description: Mapping[str, Any]
) -> int:
    """The suite's number; what is told of prompt and generator for the first time is kept."""
    texts = (problem.prompt_hash, problem.question, problem.entry_point, problem.task_id)
    connection.execute(
        """INSERT INTO prompts (hash, question, entry_point, task_id) VALUES (?, ?, ?, ?)
        ON CONFLICT (hash) DO UPDATE SET
            question = CASE question WHEN '' THEN excluded.question ELSE question END,
            entry_point = coalesce(entry_point, excluded.entry_point),
            task_id = coalesce(task_id, excluded.task_id)
        WHERE question = '' OR entry_point IS NULL OR task_id IS NULL""",
        [text if text is None else storable(text) for text in texts],
    )
    told = storable(json.dumps(dict(description), ensure_ascii=False, allow_nan=False))
    identity = storable(generator)
    connection.execute(
        """INSERT INTO generators (identity, description) VALUES (?, ?)
        ON CONFLICT (identity) DO UPDATE SET description = excluded.description WHERE description = '{}'""",
        (identity, told),
    )
    connection.execute(
        """INSERT INTO suites (prompt, generator)
        SELECT prompts.id, generators.id FROM prompts, generators WHERE hash = ? AND identity = ?
        ON CONFLICT DO NOTHING""",
        (storable(problem.prompt_hash), identity),
    )
    suite = find_suite(connection, problem.prompt_hash, generator)
    if suite is None:
        raise sqlite3.DatabaseError("a suite that was written is not found")
    return suite


def read_slots(connection: sqlite3.Connection, suite: int, n: int) -> set[int]:
    """Which slots below `n` are filled."""
    rows = connection.execute("SELECT slot FROM responses WHERE suite = ? AND slot < ?", (suite, n))
    return {slot for (slot,) in rows}


def read_responses(connection: sqlite3.Connection, suite: int, n: int | None = None) -> list[StoredResponse]:
    """The responses in slots below `n`, or all of them, by slot."""
    rows = connection.execute(f"{_READ} AND r.slot < ? ORDER BY r.slot", (suite, _ALL if n is None else n))
    found = []
    for *values, checksum in rows:
        if _checksum(values) != checksum:
            raise sqlite3.DatabaseError(f"the response in slot {values[0]} of suite {suite} was changed")
        found.append(StoredResponse(*values))
    return found


def add_responses(
    connection: sqlite3.Connection, suite: int, responses: Sequence[StoredResponse]
) -> list[int]:
    """Fill slots; those that are filled stay as they are. Returns the slots that are new."""
    return [response.slot for response in responses if _add(connection, suite, response)]


def merge_responses(
    connection: sqlite3.Connection, suite: int, responses: Sequence[StoredResponse]
) -> list[int]:
    """Add what is not there yet, as often as it is not there yet, by its text; returns the new slots.

    A response keeps its slot if that is free. The others, and those without one, come after all the rest.
    """
    there = {r.slot: r.text for r in read_responses(connection, suite)}
    known = Counter(there.values())
    seen: Counter[str] = Counter()
    fresh: list[StoredResponse] = []
    for response in responses:
        text = storable(response.text)
        seen[text] += 1
        if seen[text] > known[text]:
            fresh.append(response)
    placed: dict[int, StoredResponse] = {}
    homeless: list[StoredResponse] = []
    for response in fresh:
        if response.slot == NEXT_SLOT or response.slot in there or response.slot in placed:
            homeless.append(response)
        else:
            placed[response.slot] = response
    first = max([*there, *placed], default=-1) + 1
    moved = [msgspec.structs.replace(r, slot=slot) for slot, r in enumerate(homeless, first)]
    return add_responses(connection, suite, [*(placed[slot] for slot in sorted(placed)), *moved])


def _add(connection: sqlite3.Connection, suite: int, response: StoredResponse) -> bool:
    text, finish_reason, name, source = map(
        storable, (response.text, response.finish_reason, response.solution, response.solution_source)
    )
    digest = content_hash(name, source)
    seconds = response.seconds + 0.0  # SQLite knows no -0.0
    counts = (response.prompt_tokens, response.completion_tokens, seconds, response.seed)
    checksum = _checksum((response.slot, text, finish_reason, name, source, *counts))
    connection.execute(
        "INSERT INTO solutions (digest, name, source) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (digest, name, source),
    )
    (solution,) = connection.execute("SELECT id FROM solutions WHERE digest = ?", (digest,)).fetchone()
    added = connection.execute(
        "INSERT INTO responses VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (suite, slot) DO NOTHING",
        (suite, response.slot, text, finish_reason, solution, *counts, checksum),
    )
    return added.rowcount == 1


def _checksum(values: Sequence[object]) -> int:
    """CRC-32 over a response's fields in their order."""
    return zlib.crc32("\x1f".join(map(str, values)).encode("utf-8"))


def generators(connection: sqlite3.Connection) -> dict[str, dict[str, Any]]:
    """Identity -> description of every generator, in the order of their first response."""
    rows = connection.execute("SELECT identity, description FROM generators ORDER BY id")
    return {identity: _description(text) for identity, text in rows}


def _description(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise sqlite3.DatabaseError(f"a generator's description was changed: {error}") from None


def suites_of(connection: sqlite3.Connection, generator: str | None) -> list[int]:
    """The numbers of a generator's suites, or of all, in the order in which they were begun."""
    rows = connection.execute(
        """SELECT suites.id FROM suites JOIN generators ON generators.id = generator
        WHERE ? IS NULL OR identity = ? ORDER BY suites.id""",
        [None if generator is None else storable(generator)] * 2,
    )
    return [suite for (suite,) in rows]


def problems_of(connection: sqlite3.Connection, generator: str | None) -> list[Problem]:
    """The prompts of suites_of, each once."""
    found = connection.execute(
        """SELECT hash, question, entry_point, task_id FROM suites
        JOIN prompts ON prompts.id = prompt JOIN generators ON generators.id = generator
        WHERE ? IS NULL OR identity = ? GROUP BY prompts.id ORDER BY min(suites.id)""",
        [None if generator is None else storable(generator)] * 2,
    )
    return [
        Problem(prompt_hash, question, entry_point=entry_point, task_id=task_id)
        for prompt_hash, question, entry_point, task_id in found
    ]


def read_suite(connection: sqlite3.Connection, suite: int) -> StoredSuite:
    """A suite with all its responses and marks."""
    row = connection.execute(
        """SELECT hash, question, entry_point, task_id, identity, description FROM suites
        JOIN prompts ON prompts.id = prompt JOIN generators ON generators.id = generator
        WHERE suites.id = ?""",
        (suite,),
    ).fetchone()
    if row is None:
        raise sqlite3.DatabaseError(f"suite {suite} has lost its prompt or its generator")
    prompt_hash, question, entry_point, task_id, identity, description = row
    return StoredSuite(
        problem=Problem(prompt_hash, question, entry_point=entry_point, task_id=task_id),
        generator=identity,
        description=_description(description),
        responses=tuple(read_responses(connection, suite)),
        marks=marks_of(connection, prompt_hash),
    )


def add_mark(connection: sqlite3.Connection, prompt_hash: str, test: str, mark: str, detail: str) -> None:
    """Mark a test of a prompt; the first detail stays."""
    connection.execute(
        "INSERT INTO marks VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        [storable(text) for text in (prompt_hash, test, mark, detail)],
    )


def marks_of(connection: sqlite3.Connection, prompt_hash: str) -> dict[str, dict[str, str]]:
    """Test id -> mark -> detail, of the marked tests of a prompt."""
    marks: dict[str, dict[str, str]] = {}
    rows = connection.execute(
        "SELECT test, mark, detail FROM marks WHERE prompt = ? ORDER BY test, mark", (storable(prompt_hash),)
    )
    for test, mark, detail in rows:
        marks.setdefault(test, {})[mark] = detail
    return marks
