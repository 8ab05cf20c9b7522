"""System calls that candidate code may not make, and what it cannot change about its own scheduling."""

from __future__ import annotations

import os
from typing import Any

import pytest

CALLS = {
    "ptrace": (101, 117),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "bpf": (321, 280),
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "io_uring_setup": (425, 425),
    "userfaultfd": (323, 282),
    "perf_event_open": (298, 241),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "memfd_create": (319, 279),
    "open_by_handle_at": (304, 265),
    "personality": (135, 92),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
}


def number_of(name: str) -> int:
    return CALLS[name][0 if os.uname().machine == "x86_64" else 1]


@pytest.mark.parametrize("name", CALLS)
def test_denied_system_calls(walled: Any, name: str, probes: str) -> None:
    walled.expect(probes, f"self.assertEqual(call({number_of(name)}, 1, 1, 0, 0, 0), 'EPERM')")


@pytest.mark.parametrize("flag", ["NEWUSER", "NEWNS", "NEWPID", "NEWNET", "NEWIPC", "NEWUTS", "NEWCGROUP"])
def test_clone_makes_no_namespace(walled: Any, flag: str, probes: str) -> None:
    flags = {
        "NEWUSER": 0x10000000, "NEWNS": 0x20000, "NEWPID": 0x20000000, "NEWNET": 0x40000000,
        "NEWIPC": 0x8000000, "NEWUTS": 0x4000000, "NEWCGROUP": 0x2000000,
    }[flag]  # fmt: skip
    number = 56 if os.uname().machine == "x86_64" else 220
    walled.expect(probes, f"self.assertEqual(call({number}, {flags} | 17, 0, 0, 0, 0), 'EPERM')")


def test_clone3_is_hidden(walled: Any, probes: str) -> None:
    walled.expect(probes, "self.assertEqual(call(435, 0, 0), 'ENOSYS')")


@pytest.mark.parametrize(
    ("family", "kind"),
    [("VSOCK", 40), ("NETLINK", 16), ("ALG", 38), ("PACKET", 17), ("XDP", 44), ("CAN", 29)],
)
def test_socket_families_that_reach_out(walled: Any, family: str, kind: int, probes: str) -> None:
    walled.expect(
        probes, f"self.assertEqual(attempt(socket.socket, {kind}, socket.SOCK_RAW), 'EAFNOSUPPORT')"
    )


def test_raw_sockets(walled: Any, probes: str) -> None:
    body = "self.assertEqual(attempt(socket.socket, socket.AF_INET, socket.SOCK_RAW, 1), 'EPERM')"
    walled.expect(probes, body)


@pytest.mark.parametrize(("request_number", "name"), [(0x5412, "TIOCSTI"), (0x541C, "TIOCLINUX")])
def test_terminal_injection(walled: Any, request_number: int, name: str, probes: str) -> None:
    number = 16 if os.uname().machine == "x86_64" else 29
    walled.expect(probes, f"self.assertEqual(call({number}, 0, {request_number}, 0), 'EPERM')")


@pytest.mark.parametrize(
    ("name", "numbers", "arguments"),
    [
        ("prlimit64", (302, 261), "1, 6, new, 0"),
        ("sched_setaffinity", (203, 122), "1, 8, new"),
        ("sched_setscheduler", (144, 119), "1, 5, new"),
        ("sched_setparam", (142, 118), "1, new"),
        ("sched_setattr", (314, 274), "1, new, 0"),
        ("setpriority", (141, 140), "0, 1, 19"),
        ("ioprio_set", (251, 30), "1, 1, 0"),
    ],
)
def test_limits_and_priority_of_the_zygote_cannot_be_changed(
    walled: Any, name: str, numbers: tuple[int, int], arguments: str, probes: str
) -> None:
    number = numbers[0 if os.uname().machine == "x86_64" else 1]
    body = "new = ctypes.addressof(ctypes.create_string_buffer(b'\\1' + bytes(63)))\n"
    walled.expect(probes, body + f"self.assertEqual(call({number}, {arguments}), 'EPERM')")


def test_a_solution_may_lower_its_own_limits(walled: Any) -> None:
    body = "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))"
    walled.expect("", body)


@pytest.mark.parametrize(
    "action",
    [
        "os.nice(1)",
        "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))",
        "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))",
        "os.sched_setaffinity(0, {0})",
        "open('/proc/self/autogroup', 'w').write('19')",
    ],
)
def test_nobody_can_starve_on_purpose(walled: Any, action: str) -> None:
    """A test that the machine starves has no verdict, so a solution would like to be starved."""
    walled.expect("import os\n", f"with self.assertRaises(OSError):\n    {action}")
