"""A seccomp filter as classic BPF: system calls that no test needs and that reach out of a sandbox.

It denies (EPERM) what loads code into the kernel, traces or reads other processes or changes their
limits, changes priorities (a test that starves on purpose would have no verdict), changes namespaces
or mounts, and IPC that outlives a run; sockets other than unix and IP; typing into the terminal.
Everything else is left to namespaces and limits.

Without namespaces (`alone`) it denies more: every socket but a connected pair, which cannot be turned
elsewhere; IPC objects of the host; ioctls but the few that a file object asks; watching files,
their times and extended attributes, which Landlock leaves to whoever may read or write them; and where
the worker has the uid of others, modes and owners too.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterable

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
_DENIED_ALONE: dict[str, tuple[int, int]] = {
    "connect": (42, 203),
    "bind": (49, 200),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "semctl": (66, 191),
    "semtimedop": (220, 192),
    "mq_unlink": (241, 181),
    "quotactl_fd": (443, 443),
    "open_tree_attr": (467, 467),
    "utime": (132, -1),
    "utimes": (235, -1),
    "utimensat": (280, 88),
    "futimesat": (261, -1),
    "inotify_init": (253, -1),
    "inotify_init1": (294, 26),
    "getxattr": (191, 8),
    "lgetxattr": (192, 9),
    "fgetxattr": (193, 10),
    "listxattr": (194, 11),
    "llistxattr": (195, 12),
    "flistxattr": (196, 13),
    "getxattrat": (464, 464),
    "listxattrat": (465, 465),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "setxattrat": (463, 463),
    "removexattrat": (466, 466),
}
_DENIED_SAME_USER: dict[str, tuple[int, int]] = {
    "chmod": (90, -1),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, -1),
    "fchown": (93, 55),
    "lchown": (94, -1),
    "fchownat": (260, 54),
    "file_setattr": (469, 469),
}
_TRUNCATE = {"truncate": (76, 45)}
_SIGNALS: dict[str, tuple[int, int]] = {
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
}
_SIGNALS_OTHERWISE = {"pidfd_send_signal": (424, 424)}
_SPECIAL = {
    "clone": (56, 220),
    "clone3": (435, 435),
    "prlimit64": (302, 261),
    "prctl": (157, 167),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "ioctl": (16, 29),
    "fcntl": (72, 25),
}
_ARCHES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_CLONE_NEW = (
    0x7E020080  # every CLONE_NEW* flag that clone accepts (time, mount, cgroup, uts, ipc, user, pid, net)
)
_FAMILIES = (1, 2, 10)  # unix, inet, inet6: each of them belongs to the network namespace
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
# TCGETS, TCGETS2, TIOCGWINSZ, FIONREAD, FIONBIO, FIOCLEX, FIONCLEX
_PLAIN_IOCTLS = (0x5401, 0x802C542A, 0x5413, 0x541B, 0x5421, 0x5451, 0x5450)
_SET_OWNER = (8, 15)  # fcntl: F_SETOWN, F_SETOWN_EX say who gets a signal
_STREAM, _SEQPACKET = 1, 5  # a pair of datagram sockets could still send to any address
_PR_SCHED_CORE = 62

_LOAD, _AND, _JEQ, _JGE, _JSET, _RET = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NR, _ARCH, _ARG0, _ARG1 = 0, 4, 16, 24  # offsets in struct seccomp_data (low halves, little endian)


def supported(machine: str | None = None) -> bool:
    """Whether this file knows the system call numbers of the machine."""
    return (machine or os.uname().machine) in _ARCHES


def _instruction(code: int, k: int, jump_true: int = 0, jump_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, jump_true, jump_false, k)


def _deny(number: int) -> bytes:
    return _instruction(_JEQ, number, 0, 1) + _instruction(_RET, _ERRNO | errno.EPERM)


def _guarded(number: int, offset: int, checks: list[bytes]) -> bytes:
    """If the call is `number`, load one argument and run `checks`, each of which returns or falls through."""
    body = _instruction(_LOAD, offset) + b"".join(checks) + _instruction(_RET, _ALLOW)
    return _instruction(_JEQ, number, 0, len(body) // 8) + body


def _any_of(values: Iterable[int], verdict: int) -> list[bytes]:
    """Return `verdict` if what was loaded is one of these."""
    return [_instruction(_JEQ, v & 0xFFFFFFFF, 0, 1) + _instruction(_RET, verdict) for v in values]


def _common(numbers: dict[str, int]) -> list[bytes]:
    eperm = _instruction(_RET, _ERRNO | errno.EPERM)
    return [
        _instruction(_JEQ, numbers["clone3"], 0, 1) + _instruction(_RET, _ERRNO | errno.ENOSYS),
        _guarded(numbers["clone"], _ARG0, [_instruction(_JSET, _CLONE_NEW, 0, 1) + eperm]),
        # The zygote has the uid of its children, who could take its processor time away with a limit.
        _guarded(numbers["prlimit64"], _ARG0, [_instruction(_JEQ, 0, 1, 0) + eperm]),
        _guarded(numbers["prctl"], _ARG0, _any_of([_PR_SCHED_CORE], _ERRNO | errno.EPERM)),
    ]


def _in_namespaces(numbers: dict[str, int]) -> list[bytes]:
    families = [*_any_of(_FAMILIES, _ALLOW), _instruction(_RET, _ERRNO | errno.EAFNOSUPPORT)]
    typing = _any_of([_TIOCSTI, _TIOCLINUX], _ERRNO | errno.EPERM)
    return [
        *(_guarded(numbers[name], _ARG0, families) for name in ("socket", "socketpair")),
        _guarded(numbers["ioctl"], _ARG1, typing),
    ]


def _alone(numbers: dict[str, int]) -> list[bytes]:
    pair = [
        _instruction(_JEQ, _FAMILIES[0], 1, 0) + _instruction(_RET, _ERRNO | errno.EAFNOSUPPORT),
        _instruction(_LOAD, _ARG1) + _instruction(_AND, 0xF),
        *_any_of([_STREAM, _SEQPACKET], _ALLOW),
        _instruction(_RET, _ERRNO | errno.EACCES),
    ]
    ioctls = [*_any_of(_PLAIN_IOCTLS, _ALLOW), _instruction(_RET, _ERRNO | errno.ENOTTY)]
    return [
        _instruction(_JEQ, numbers["socket"], 0, 1) + _instruction(_RET, _ERRNO | errno.EACCES),
        _guarded(numbers["socketpair"], _ARG0, pair),
        _guarded(numbers["ioctl"], _ARG1, ioctls),
    ]


def build_filter(
    machine: str | None = None,
    *,
    alone: bool = False,
    same_user: bool = False,
    truncate: bool = True,
    spare: int | None = None,
) -> bytes:
    """Return the filter for this machine as an array of `struct sock_filter`, as bwrap --seccomp reads it.

    Args:
        machine: as `uname -m` says it; None means this one.
        alone: there are no namespaces around it.
        same_user: others have its uid; what only an owner may do to a file is denied.
        truncate: False denies truncate(2), which Landlock overlooks before ABI 3.
        spare: a process that has its uid and must get no signal from it.

    Raises:
        KeyError: an architecture we have no numbers for; ask supported() first.
    """
    column, arch = _ARCHES[machine or os.uname().machine]
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
    denied = [
        *_DENIED.values(),
        *(_DENIED_ALONE.values() if alone else ()),
        *(_DENIED_SAME_USER.values() if same_user else ()),
        *(() if truncate else _TRUNCATE.values()),
        *(() if spare is None else _SIGNALS_OTHERWISE.values()),
    ]
    program += [_deny(call[column]) for call in denied if call[column] >= 0]
    program += _common(numbers)
    program += _alone(numbers) if alone else _in_namespaces(numbers)
    if spare is not None:
        nobody = _any_of([spare, -spare, -1], _ERRNO | errno.EPERM)
        program += [_guarded(call[column], _ARG0, nobody) for call in _SIGNALS.values()]
        owners = _any_of(_SET_OWNER, _ERRNO | errno.EPERM)
        program.append(_guarded(numbers["fcntl"], _ARG1, owners))
    program.append(_instruction(_RET, _ALLOW))
    return b"".join(program)
