"""A seccomp filter as classic BPF: system calls that no test needs and that reach out of a sandbox.

It denies (EPERM) what loads code into the kernel, traces or reads other processes or changes their
limits, changes priorities (a test that starves on purpose would have no verdict), changes namespaces
or mounts, and IPC that outlives a run; sockets other than unix and IP; typing into the terminal.
Everything else is left to namespaces and limits.
"""

from __future__ import annotations

import errno
import platform
import struct

__all__ = ["build_filter", "supported"]

# name -> (x86_64, aarch64); -1: that architecture has no such call
_DENIED: dict[str, tuple[int, int]] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "unshare": (272, 97),
    "setns": (308, 268),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "syslog": (103, 116),
    "vhangup": (153, 58),
    "iopl": (172, -1),
    "ioperm": (173, -1),
    "modify_ldt": (154, -1),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semget": (64, 190),
    "semop": (65, 193),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "mq_open": (240, 180),
    "personality": (135, 92),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    "ioprio_set": (251, 30),
    "setpriority": (141, 140),
    "sched_setaffinity": (203, 122),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274),
    "fanotify_init": (300, 262),
}
_SPECIAL = {
    "clone": (56, 220),
    "clone3": (435, 435),
    "prlimit64": (302, 261),
    "prctl": (157, 167),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "ioctl": (16, 29),
}
_ARCHES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_CLONE_NEW = (
    0x7E020080  # every CLONE_NEW* flag that clone accepts (time, mount, cgroup, uts, ipc, user, pid, net)
)
_FAMILIES = (1, 2, 10)  # unix, inet, inet6: each of them belongs to the network namespace
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_PR_SCHED_CORE = 62

_LOAD, _JEQ, _JGE, _JSET, _RET = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NR, _ARCH, _ARG0, _ARG1 = 0, 4, 16, 24  # offsets in struct seccomp_data (low halves, little endian)


def supported(machine: str | None = None) -> bool:
    """Whether this file knows the system call numbers of the machine."""
    return (machine or platform.machine()) in _ARCHES


def _instruction(code: int, k: int, jump_true: int = 0, jump_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, jump_true, jump_false, k)


def _deny(number: int) -> bytes:
    return _instruction(_JEQ, number, 0, 1) + _instruction(_RET, _ERRNO | errno.EPERM)


def _guarded(number: int, offset: int, checks: list[bytes]) -> bytes:
    """If the call is `number`, load one argument and run `checks`, each of which returns or falls through."""
    body = _instruction(_LOAD, offset) + b"".join(checks) + _instruction(_RET, _ALLOW)
    return _instruction(_JEQ, number, 0, len(body) // 8) + body


def build_filter(machine: str | None = None) -> bytes:
    """Return the filter for this machine as an array of `struct sock_filter`, as bwrap --seccomp reads it.

    Raises:
        KeyError: an architecture we have no numbers for; ask supported() first.
    """
    column, arch = _ARCHES[machine or platform.machine()]
    eperm = _instruction(_RET, _ERRNO | errno.EPERM)
    numbers = {name: call[column] for name, call in _SPECIAL.items()}
    program = [
        _instruction(_LOAD, _ARCH),
        _instruction(_JEQ, arch, 1, 0),
        _instruction(_RET, _KILL),
        _instruction(_LOAD, _NR),
        # the x32 calls of an x86-64 kernel would go round every number below
        _instruction(_JGE, 0x40000000, 0, 1),
        eperm,
    ]
    program += [_deny(call[column]) for call in _DENIED.values() if call[column] >= 0]
    program.append(_instruction(_JEQ, numbers["clone3"], 0, 1) + _instruction(_RET, _ERRNO | errno.ENOSYS))
    program.append(_guarded(numbers["clone"], _ARG0, [_instruction(_JSET, _CLONE_NEW, 0, 1) + eperm]))
    # The zygote has the uid of its children, who could take its processor time away with a limit.
    program.append(_guarded(numbers["prlimit64"], _ARG0, [_instruction(_JEQ, 0, 1, 0) + eperm]))
    program.append(_guarded(numbers["prctl"], _ARG0, [_instruction(_JEQ, _PR_SCHED_CORE, 0, 1) + eperm]))
    families = [_instruction(_JEQ, family, 0, 1) + _instruction(_RET, _ALLOW) for family in _FAMILIES]
    for name in ("socket", "socketpair"):
        refusal = _instruction(_RET, _ERRNO | errno.EAFNOSUPPORT)
        program.append(_guarded(numbers[name], _ARG0, [*families, refusal]))
    requests = [_instruction(_JEQ, request, 0, 1) + eperm for request in (_TIOCSTI, _TIOCLINUX)]
    program.append(_guarded(numbers["ioctl"], _ARG1, requests))
    program.append(_instruction(_RET, _ALLOW))
    return b"".join(program)
