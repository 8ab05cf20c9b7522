"""`python -m coderm_sandbox check`: what each isolation level covers on this host, tried for real."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import Any

from coderm_sandbox.command import NO_SANDBOX, CommandError, until_signalled
from coderm_sandbox.conformance import LevelReport, as_json, as_table, check_level
from coderm_sandbox.interpreter import describe_interpreter
from coderm_sandbox.isolation import LEVELS

__all__ = ["add_check"]

_FAILED = 1
_MORE = """
Every property is tried by programs that run as solutions and as tests in a real pool. A level is held to
what it claims; what it does not claim is `not covered` and is not tried.

exit code: 0 every property that a level claims holds; 1 one does not; 2 an option is wrong;
3 the level asked for cannot be had here (with `all`, such a level is shown as not available).

example:
  python -m coderm_sandbox check --isolation landlock
"""


def add_check(commands: Any) -> None:
    """Add the command to an argument parser's subparsers."""
    check = commands.add_parser(
        "check",
        help="try what each isolation level promises on this host",
        description="Try every property of isolation, for real, and show level by property what holds.",
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.add_argument(
        "--isolation", choices=(*LEVELS, "all"), default="all", help="the level to try (%(default)s)"
    )
    check.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    check.add_argument("--python", metavar="EXE", help="the interpreter of the sandbox (default: this one)")
    check.set_defaults(action=_check)


def _check(options: argparse.Namespace) -> int:
    describe_interpreter(options.python or sys.executable)  # else every level would say the same of it
    levels = LEVELS if options.isolation == "all" else (options.isolation,)
    reports: list[LevelReport] = []
    code = asyncio.run(until_signalled(_fill(reports, levels, options.python)))
    if code:
        return code
    sys.stdout.write(as_table(reports) + "\n")
    if options.json:
        sys.stdout.write(json.dumps(as_json(reports)) + "\n")
    if options.isolation != "all" and not reports[0].available:
        raise CommandError(reports[0].how, NO_SANDBOX)
    return 0 if all(report.holds for report in reports) else _FAILED


async def _fill(reports: list[LevelReport], levels: tuple[str, ...], python: str | None) -> None:
    for level in levels:

        def show(one: Any, level: str = level) -> None:
            if sys.stderr.isatty():
                sys.stderr.write(f"\r\033[K{level} {one.id}")

        reports.append(await check_level(level, python, show))
    if sys.stderr.isatty():
        sys.stderr.write("\r\033[K")
