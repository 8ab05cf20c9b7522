"""The command line: `python -m coderm_sandbox run PAIRS.jsonl --out RESULTS.jsonl`, and `check`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import NoReturn

from coderm_sandbox.check_command import add_check
from coderm_sandbox.command import NO_SANDBOX, CommandError
from coderm_sandbox.errors import SandboxError
from coderm_sandbox.host import host_facts
from coderm_sandbox.run_command import add_run

__all__ = ["main"]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message} (see `{self.prog} --help`)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m coderm_sandbox", description="Run solutions against unit tests, isolated."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_run(commands)
    add_check(commands)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    try:
        options = _parser().parse_args(arguments)
        code: int = options.action(options)
        return code
    except CommandError as failure:
        print(f"coderm_sandbox: {failure}", file=sys.stderr)
        return failure.code
    except SandboxError as error:
        print(f"coderm_sandbox: {error}", file=sys.stderr)
        for fact in host_facts():
            if fact.ok is False and fact.advice:
                print(f"coderm_sandbox: {fact.name}: {fact.found}; {fact.advice}", file=sys.stderr)
        return NO_SANDBOX
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on: nothing to flush
        return 128 + signal.SIGPIPE


if __name__ == "__main__":
    sys.exit(main())
