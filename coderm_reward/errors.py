"""The exception tree: one type per boundary that a failure can cross.

    CodermError                 anything this package raises on purpose; str() is one sentence with the fix
    |-- ConfigError             a setting: unknown key, wrong type, value out of range
    |-- InputError              a file the user named: missing, empty, malformed, wrong columns
    |   `-- BadRowError         one row of it, when --on-bad-row fail
    |-- OutputError             a file we should write: unwritable, made with other settings, newer version
    |-- GenerationError         no tests could be had for infrastructure reasons (server, store)
    |-- TooManyFailuresError    a training whose rewards are mostly neutral for infrastructure reasons
    `-- SandboxUnavailableError this host cannot start the asked-for isolation

Infrastructure failures inside a running job are not exceptions: they become the verdict UNKNOWN
(DESIGN section 4) and never a grade. `exit_code` is what the command line ends with.
"""

from __future__ import annotations

__all__ = [
    "BadRowError",
    "CodermError",
    "ConfigError",
    "GenerationError",
    "InputError",
    "OutputError",
    "SandboxUnavailableError",
    "TooManyFailuresError",
]


class CodermError(Exception):
    """Base of every error raised on purpose; its text is one sentence that carries the fix."""

    exit_code = 1


class ConfigError(CodermError):
    """A setting is unknown, of the wrong type or out of range."""

    exit_code = 2


class InputError(CodermError):
    """An input file is missing, empty, unreadable, or not in a form we know."""

    exit_code = 2


class BadRowError(InputError):
    """One input row is malformed and `--on-bad-row fail` was asked for; the text names file and line."""


class OutputError(CodermError):
    """An output cannot be written, or what is there was made with other settings."""

    exit_code = 2


class GenerationError(CodermError):
    """Unit tests could not be had for infrastructure reasons; never a judgement of a rollout."""

    exit_code = 4


class TooManyFailuresError(CodermError):
    """Infrastructure took the reward from more rollouts of a training than `failure_share` allows."""

    exit_code = 4


class SandboxUnavailableError(CodermError):
    """This host cannot start the isolation level that was asked for; `coderm-reward doctor` says why."""

    exit_code = 3
