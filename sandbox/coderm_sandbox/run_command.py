"""`python -m coderm_sandbox run`: verdicts for a file of (solution, unit test) pairs."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from coderm_sandbox.command import CommandError, until_signalled
from coderm_sandbox.isolation import AUTO, CHOICES
from coderm_sandbox.pairs import RowError, check_rows, read_pairs, verdicts
from coderm_sandbox.pool import SandboxPool
from coderm_sandbox.types import Limits

__all__ = ["add_run"]

_MORE = """
input, one JSON object per line:
  {"id": "a1", "solution": "def f(x): ...", "unit_test": "import unittest\\nclass T(unittest.TestCase): ..."}
output, one per row of the input and in its order:
  {"id": "a1", "verdict": "fail", "methods": {"test_a": "pass", "test_b": "fail"}, "judge": "apart",
   "seconds": 0.004}

The solution's names are visible to the test, which may also import them from `solution`. A verdict is
pass, fail, error, timeout, memory, output, tampered, invalid_test (the test is none, whatever the
solution) or unknown (the sandbox failed; says nothing of the solution).

exit code: 0 all rows have a verdict; 2 the input or an option is wrong, nothing was written;
3 no sandbox can be had here; 130, 143, 129 after Ctrl-C, SIGTERM, SIGHUP.

example:
  python -m coderm_sandbox run pairs.jsonl --out - --timeout 1 | grep -c '"verdict": "pass"'
"""


def add_run(commands: Any) -> None:
    """Add the command to an argument parser's subparsers."""
    run = commands.add_parser(
        "run",
        help="run (solution, unit test) pairs from a JSONL file and write their verdicts",
        description="Run (solution, unit test) pairs and write one verdict per pair.",
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument("pairs", metavar="PAIRS.jsonl", help="the pairs; - reads stdin")
    run.add_argument(
        "--out", required=True, metavar="RESULTS.jsonl", help="where verdicts go; - writes stdout"
    )
    run.add_argument(
        "--workers", type=int, metavar="N", help="worker processes (default: one per usable core)"
    )
    run.add_argument(
        "--timeout",
        type=float,
        default=Limits.timeout,
        metavar="S",
        help="seconds per test method (%(default)s)",
    )
    run.add_argument(
        "--memory", type=int, default=Limits.memory_mb, metavar="MIB", help="MiB per solution (%(default)s)"
    )
    run.add_argument(
        "--isolation",
        choices=CHOICES,
        default=AUTO,
        help="auto (default): bubblewrap, or landlock where that cannot be had; none: no protection from "
        "what the solutions do",
    )
    run.add_argument("--python", metavar="EXE", help="the interpreter that runs them (default: this one)")
    run.set_defaults(action=_run)


def _open_input(name: str) -> BinaryIO:
    """The input as a file that can be read twice."""
    try:
        file: BinaryIO = sys.stdin.buffer if name == "-" else open(name, "rb")  # noqa: SIM115
        if name != "-" and file.seekable():
            return file
        copy = tempfile.TemporaryFile()  # noqa: SIM115
        shutil.copyfileobj(file, copy)
        copy.seek(0)
        return copy
    except OSError as error:
        raise CommandError(
            f"{name} cannot be read: {error.strerror}; name a JSONL file of pairs, or -"
        ) from None


class _Output:
    """A new file that takes its name only when all is written; or stdout, or whatever is no file."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._path = Path(name)
        self._partial: str | None = None
        with self._explained():
            if name == "-":
                self._file: TextIO = sys.stdout
            elif self._path.exists() and not stat.S_ISREG(self._path.stat().st_mode):
                self._file = open(name, "w", encoding="ascii")  # noqa: SIM115
            else:
                descriptor, self._partial = tempfile.mkstemp(
                    prefix=f".{self._path.name}.", dir=self._path.parent
                )
                self._file = open(descriptor, "w", encoding="ascii")  # noqa: SIM115

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            raise CommandError(
                f"{self._name} cannot be written: {error.strerror}; choose another --out"
            ) from None

    def write(self, row: dict[str, Any]) -> None:
        with self._explained():
            self._file.write(json.dumps(row) + "\n")

    def finish(self) -> None:
        """All rows are there: give the file its name."""
        with self._explained():
            self._file.flush()
            if self._partial is not None:
                os.chmod(self._partial, 0o666 & ~_umask())
                os.replace(self._partial, self._path)
                self._partial = None

    def close(self) -> None:
        if self._file is not sys.stdout:
            with contextlib.suppress(OSError):  # what could not be flushed was reported by write or finish
                self._file.close()
        if self._partial is not None:
            Path(self._partial).unlink(missing_ok=True)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def _progress(total: int) -> Callable[[int], None]:
    def show(done: int) -> None:
        sys.stderr.write(f"\r{done}/{total} pairs" + ("" if done < total else "\n"))
        sys.stderr.flush()

    return show if sys.stderr.isatty() else lambda done: None


def _run(options: argparse.Namespace) -> int:
    try:
        limits = Limits(timeout=options.timeout, memory_mb=options.memory)
        pool = SandboxPool(
            workers=options.workers, limits=limits, isolation=options.isolation, python=options.python
        )
    except ValueError as error:
        raise CommandError(str(error)) from None
    with _open_input(options.pairs) as file:
        try:
            total = check_rows(file)
        except RowError as error:
            raise CommandError(f"{options.pairs}: {error}") from None
        file.seek(0)
        with contextlib.closing(_Output(options.out)) as output:
            code = asyncio.run(until_signalled(_fill(pool, file, output, _progress(total))))
            if code == 0:
                output.finish()
            return code


async def _fill(pool: SandboxPool, file: BinaryIO, output: _Output, progress: Callable[[int], None]) -> None:
    async with pool, contextlib.aclosing(verdicts(pool, read_pairs(file), progress)) as rows:
        async for row in rows:
            output.write(row)
