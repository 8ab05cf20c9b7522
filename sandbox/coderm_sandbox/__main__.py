"""The command line: `python -m coderm_sandbox run PAIRS.jsonl --out RESULTS.jsonl`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import stat
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, TextIO

from coderm_sandbox.errors import SandboxError
from coderm_sandbox.host import host_facts
from coderm_sandbox.isolation import LEVELS
from coderm_sandbox.pairs import RowError, check_rows, read_pairs, verdicts
from coderm_sandbox.pool import SandboxPool
from coderm_sandbox.types import Limits

__all__ = ["main"]

_BAD_INPUT, _NO_SANDBOX = 2, 3
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_MORE = """
input, one JSON object per line:
  {"id": "a1", "solution": "def f(x): ...", "unit_test": "import unittest\\nclass T(unittest.TestCase): ..."}
output, one per row of the input and in its order:
  {"id": "a1", "verdict": "fail", "methods": {"test_a": "pass", "test_b": "fail"}, "judge": "inline",
   "seconds": 0.004}

The solution's names are visible to the test, which may also import them from `solution`. A verdict is
pass, fail, error, timeout, memory, output, tampered, invalid_test (the test is none, whatever the
solution) or unknown (the sandbox failed; says nothing of the solution).

exit code: 0 all rows have a verdict; 2 the input or an option is wrong, nothing was written;
3 no sandbox can be had here; 130, 143, 129 after Ctrl-C, SIGTERM, SIGHUP.

example:
  python -m coderm_sandbox run pairs.jsonl --out - --timeout 1 | grep -c '"verdict": "pass"'
"""


class _Failure(Exception):
    """Ends the command with one sentence and an exit code."""

    def __init__(self, text: str, code: int = _BAD_INPUT) -> None:
        super().__init__(text)
        self.code = code


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _Failure(f"{message} (see `{self.prog} --help`)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m coderm_sandbox", description="Run solutions against unit tests, isolated."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
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
        choices=LEVELS,
        default="bubblewrap",
        help="bubblewrap (default), or none: no protection from what the solutions do",
    )
    run.add_argument("--python", metavar="EXE", help="the interpreter that runs them (default: this one)")
    return parser


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
        raise _Failure(f"{name} cannot be read: {error.strerror}; name a JSONL file of pairs, or -") from None


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
            raise _Failure(
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
        print(f"\r{done}/{total} pairs", end="" if done < total else "\n", file=sys.stderr, flush=True)

    return show if sys.stderr.isatty() else lambda done: None


def _run(options: argparse.Namespace) -> int:
    try:
        limits = Limits(timeout=options.timeout, memory_mb=options.memory)
        pool = SandboxPool(
            workers=options.workers, limits=limits, isolation=options.isolation, python=options.python
        )
    except ValueError as error:
        raise _Failure(str(error)) from None
    with _open_input(options.pairs) as file:
        try:
            total = check_rows(file)
        except RowError as error:
            raise _Failure(f"{options.pairs}: {error}") from None
        file.seek(0)
        with contextlib.closing(_Output(options.out)) as output:
            code = asyncio.run(_until_signalled(_fill(pool, file, output, _progress(total))))
            if code == 0:
                output.finish()
            return code


async def _fill(pool: SandboxPool, file: BinaryIO, output: _Output, progress: Callable[[int], None]) -> None:
    async with pool, contextlib.aclosing(verdicts(pool, read_pairs(file), progress)) as rows:
        async for row in rows:
            output.write(row)


async def _until_signalled(work: Coroutine[Any, Any, None]) -> int:
    """Await the work; a signal cancels it, which kills every worker, and becomes the exit code."""
    task = asyncio.ensure_future(work)
    received: list[int] = []

    def stop(number: int) -> None:
        received.append(number)
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop, number)
    try:
        await task
    except asyncio.CancelledError:
        if not received:
            raise
        return 128 + received[0]
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        return _run(_parser().parse_args(arguments))
    except _Failure as failure:
        print(f"coderm_sandbox: {failure}", file=sys.stderr)
        return failure.code
    except SandboxError as error:
        print(f"coderm_sandbox: {error}", file=sys.stderr)
        for fact in host_facts():
            if fact.ok is False and fact.advice:
                print(f"coderm_sandbox: {fact.name}: {fact.found}; {fact.advice}", file=sys.stderr)
        return _NO_SANDBOX
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on: nothing to flush
        return 128 + signal.SIGPIPE


if __name__ == "__main__":
    sys.exit(main())
