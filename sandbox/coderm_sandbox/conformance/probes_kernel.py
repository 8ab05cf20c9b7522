"""Programs that try to gain rights or what outlives them from the kernel; see probes."""

from __future__ import annotations

__all__ = ["IPC", "KERNEL", "NAMESPACES", "PRIORITIES", "PRIVILEGES"]

PRIVILEGES = """
def capabilities():
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    called((125, 90), ctypes.addressof(header), ctypes.addressof(data))
    return any((data[0], data[1], data[3], data[4]))  # effective and permitted
EXECUTED = (
    "import ctypes as c; h = (c.c_uint32 * 2)(0x20080522, 0); d = (c.c_uint32 * 6)(); "
    "c.CDLL(None).capget(h, d); raise SystemExit(any((d[0], d[1], d[3], d[4])))"
)
def after_exec():
    pid = os.posix_spawn(sys.executable, [sys.executable, "-S", "-c", EXECUTED], {})
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0
def probe():
    return which([
        ("new privileges are possible", lambda: libc.prctl(39, 0, 0, 0, 0) != 1),
        ("capabilities", capabilities),
        ("capabilities after exec", after_exec),
        ("became root", lambda: os.getuid() != 0 and succeeded(os.setuid, 0)),
        ("became another user", lambda: succeeded(os.setuid, 12345)),
        ("other groups", lambda: succeeded(os.setgroups, [0, 4])),
    ])
"""

NAMESPACES = """
NOWHERE, PROC = ctypes.create_string_buffer(b"/nowhere"), ctypes.create_string_buffer(b"proc")
FLAGS = {"user": 0x10000000, "mount": 0x20000, "pid": 0x20000000, "net": 0x40000000, "ipc": 0x8000000,
         "uts": 0x4000000, "cgroup": 0x2000000, "time": 0x80}
def cloned(flags):
    pid = libc.syscall(ctypes.c_long((56, 220)[COLUMN]), ctypes.c_long(flags | 17), *[ctypes.c_long(0)] * 4)
    if pid == 0:
        os._exit(0)
    return pid != -1
def probe():
    nowhere = ctypes.addressof(NOWHERE)
    attempts = [(f"clone {n}", lambda f=f: cloned(f)) for n, f in FLAGS.items() if n != "time"]
    attempts += [(f"unshare {n}", lambda f=f: called((272, 97), f)) for n, f in FLAGS.items()]
    attempts += [
        ("mount", lambda: not refused((165, 40), nowhere, nowhere, 0, 4096, 0)),
        ("umount", lambda: not refused((166, 39), nowhere, 2)),
        ("chroot", lambda: succeeded(os.chroot, ".")),
        ("fsopen", lambda: called((430, 430), ctypes.addressof(PROC), 0)),
        ("open_tree", lambda: not refused((428, 428), -100, nowhere, 1)),
    ]
    return which(attempts)
"""

KERNEL = """
CALLS = {
    "bpf": (321, 280), "perf_event_open": (298, 241), "io_uring_setup": (425, 425),
    "userfaultfd": (323, 282), "keyctl": (250, 219), "add_key": (248, 217), "init_module": (175, 105),
    "kexec_load": (246, 104), "open_by_handle_at": (304, 265), "personality": (135, 92),
    "syslog": (103, 116),
}
def probe():
    memory = ctypes.create_string_buffer(256)
    found = []
    for name, numbers in CALLS.items():
        if not refused(numbers, 0, ctypes.addressof(memory), 0, 0, 0):
            found.append(name)
    for number in (0x5412, 0x541C):
        if not refused((16, 29), 0, number, ctypes.addressof(memory)):
            found.append(f"ioctl {number:#x}")
    return ", ".join(found)
"""

IPC = """
def made(make, arguments, remove, *how):
    found = libc.syscall(ctypes.c_long(make[COLUMN]), *map(ctypes.c_long, arguments))
    return found != -1 and (called(remove, *(how or (found, 0, 0))) or True)
def probe():
    name = ctypes.addressof(ctypes.create_string_buffer(b"coderm-probe"))
    create = os.O_CREAT | os.O_RDWR
    return which([
        ("shared memory", lambda: made((29, 194), (0, 4096, 0o1600), (31, 195))),
        ("semaphores", lambda: made((64, 190), (0, 1, 0o1600), (66, 191))),
        ("messages", lambda: made((68, 186), (0, 0o1600), (71, 187))),
        ("a message queue", lambda: made((240, 180), (name, create, 0o600, 0), (241, 181), name)),
    ])
"""

PRIORITIES = """
def probe():
    return which([
        ("nice", lambda: succeeded(os.nice, 1)),
        ("idle", lambda: succeeded(os.sched_setscheduler, 0, os.SCHED_IDLE, os.sched_param(0))),
        ("real time", lambda: succeeded(os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(1))),
        ("affinity", lambda: succeeded(os.sched_setaffinity, 0, {0})),
        ("autogroup", lambda: succeeded(open, "/proc/self/autogroup", "w")),
    ])
"""
