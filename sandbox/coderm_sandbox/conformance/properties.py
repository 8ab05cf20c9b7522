"""The properties of isolation, each with the levels that claim it and a check that tries it for real."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from coderm_sandbox.conformance import (
    attacks,
    probes_files,
    probes_kernel,
    probes_network,
    probes_processes,
)
from coderm_sandbox.conformance.bystanders import Bystanders
from coderm_sandbox.conformance.trial import Trial

__all__ = ["PROPERTIES", "Check", "Property"]

Check = Callable[[Trial], Awaitable[str]]


@dataclass(frozen=True)
class Property:
    """One thing that a level promises. The check returns "" if it holds, else what was seen instead."""

    id: str
    sentence: str
    levels: tuple[str, ...]
    """Those that claim it."""
    check: Check


def _probe(text: str, arguments: Callable[[Bystanders], Sequence[Any]] = lambda b: (), *harm: str) -> Check:
    """The probe reaches nothing, and no harm of these kinds is done beside the worker."""

    async def check(trial: Trial) -> str:
        found = await trial.reached(text, *arguments(trial.around))
        return "; ".join(filter(None, (found, trial.around.harm(*harm))))

    return check


def _file(around: Bystanders) -> list[str]:
    return [str(around.file)]


def _folder_and_file(around: Bystanders) -> list[str]:
    return [str(around.folder), str(around.file)]


def _processes(around: Bystanders) -> list[list[int]]:
    # In a pid namespace 1 is the worker itself, of which another check speaks.
    return [[pid for pid in (around.victim, os.getpid()) if pid != 1]]


_WALLED = ("bubblewrap", "landlock")
_EVERY = ("bubblewrap", "landlock", "none")

PROPERTIES = [
    Property(
        "network-ipv4",
        "No connection to the host over IPv4.",
        _WALLED,
        _probe(probes_network.IPV4, lambda around: [around.tcp4]),
    ),
    Property(
        "network-ipv6",
        "No connection to the host over IPv6.",
        _WALLED,
        _probe(probes_network.IPV6, lambda around: [around.tcp6]),
    ),
    Property(
        "network-names",
        "No name is resolved, no datagram leaves.",
        _WALLED,
        _probe(probes_network.NAMES, lambda around: [around.udp4], "names"),
    ),
    Property(
        "unix-sockets",
        "No connection to a unix socket of the host.",
        _WALLED,
        _probe(probes_network.UNIX_SOCKETS, lambda around: [around.stream, around.datagram]),
    ),
    Property(
        "abstract-sockets",
        "No connection to an abstract unix socket of the host.",
        _WALLED,
        _probe(probes_network.ABSTRACT_SOCKETS, lambda around: around.abstract),
    ),
    Property(
        "other-sockets",
        "No netlink, packet, raw or other socket that reaches the kernel.",
        _WALLED,
        _probe(probes_network.FAMILIES),
    ),
    Property(
        "files-read",
        "No file of the host can be read but Python and the system's libraries.",
        _WALLED,
        _probe(probes_files.READ, _folder_and_file),
    ),
    Property(
        "files-write",
        "No file of the host can be written, made, moved or deleted.",
        _WALLED,
        _probe(probes_files.WRITE, _folder_and_file, "content", "folder"),
    ),
    Property(
        "files-attributes",
        "No file of the host gets another mode, owner, time or attribute.",
        _WALLED,
        _probe(probes_files.ATTRIBUTES, _file, "attributes"),
    ),
    Property(
        "files-names",
        "Which files the host has, and their sizes and owners, cannot be seen.",
        ("bubblewrap",),
        _probe(probes_files.FILE_NAMES, _file),
    ),
    Property(
        "environment",
        "The supervisor's environment is not passed on.",
        _EVERY,
        _probe(probes_files.ENVIRONMENT, lambda around: [around.secret]),
    ),
    Property(
        "process-signals",
        "No other process can be signalled.",
        _WALLED,
        _probe(probes_processes.SIGNALS, _processes, "process"),
    ),
    Property(
        "process-tracing",
        "No other process can be traced, nor its memory, descriptors or limits reached.",
        _WALLED,
        _probe(probes_processes.TRACE, _processes),
    ),
    Property(
        "process-files",
        "Nothing about other processes can be read in /proc, command lines included.",
        _WALLED,
        _probe(probes_processes.PROC, _processes),
    ),
    Property(
        "worker",
        "The worker's own processes cannot be signalled, traced or opened.",
        _WALLED,
        attacks.worker,
    ),
    Property(
        "judge-and-player",
        "Test and solution find neither each other's files nor each other's process.",
        _WALLED,
        attacks.judge_and_player,
    ),
    Property(
        "survivors",
        "No process outlives its test, whatever it does (setsid, two forks).",
        _EVERY,
        attacks.survivors,
    ),
    Property(
        "privileges",
        "No capabilities, no new privileges, no other user or group.",
        _WALLED,
        _probe(probes_kernel.PRIVILEGES),
    ),
    Property(
        "namespaces",
        "No mounts and no namespaces.",
        _WALLED,
        _probe(probes_kernel.NAMESPACES),
    ),
    Property(
        "kernel-interfaces",
        "No bpf, keyrings, io_uring, performance counters, typing into terminals and the like.",
        _WALLED,
        _probe(probes_kernel.KERNEL),
    ),
    Property(
        "ipc",
        "No shared memory, semaphores or messages that outlive a run.",
        _WALLED,
        _probe(probes_kernel.IPC),
    ),
    Property(
        "priorities",
        "No change of priority or affinity: nobody can starve on purpose.",
        _WALLED,
        _probe(probes_kernel.PRIORITIES),
    ),
    Property("memory", "Memory is bounded, also of many processes together.", _EVERY, attacks.memory),
    Property("processes", "Processes and threads are bounded.", _EVERY, attacks.processes),
    Property("file-size", "The size of a file is bounded.", _EVERY, attacks.file_size),
    Property("descriptors", "Open files are bounded.", _EVERY, attacks.descriptors),
    Property("output", "Output is bounded.", _EVERY, attacks.output),
    Property("timeout", "Time is bounded, whatever is caught or ignored.", _EVERY, attacks.timeout),
    Property("scratch-emptied", "No test finds files that another left.", _EVERY, attacks.scratch_emptied),
    Property(
        "scratch-size",
        "The size of all files in scratch together is bounded.",
        ("bubblewrap",),
        attacks.scratch_size,
    ),
    Property("crashes", "No crash is a pass, and the worker goes on.", _EVERY, attacks.crashes),
]
