"""Programs that try to reach other processes; see probes."""

from __future__ import annotations

__all__ = ["PROC", "SIGNALS", "TRACE", "WORKER"]

SIGNALS = """
def owned(pid):
    import fcntl
    reader, writer = os.pipe()
    fcntl.fcntl(reader, fcntl.F_SETOWN, pid)
    fcntl.fcntl(reader, 10, signal.SIGURG)
    fcntl.fcntl(reader, fcntl.F_SETFL, fcntl.fcntl(reader, fcntl.F_GETFL) | os.O_ASYNC)
    os.write(writer, b"x")
def by_descriptor(pid):
    signal.pidfd_send_signal(os.pidfd_open(pid), 0)
def probe(pids):
    attempts = [("everyone", lambda: (succeeded(os.kill, -1, signal.SIGURG), False)[1])]
    for pid in pids:
        if pid not in (os.getpid(), os.getppid()):
            attempts += [
                (f"{pid}", lambda p=pid: succeeded(os.kill, p, 0)),
                (f"group {pid}", lambda p=pid: succeeded(os.killpg, p, 0)),
                (f"{pid} by descriptor", lambda p=pid: succeeded(by_descriptor, p)),
                (f"{pid} as owner of a pipe", lambda p=pid: (succeeded(owned, p), False)[1]),
            ]
    return which(attempts)
"""

TRACE = """
def vector(pid):
    there = ctypes.create_string_buffer(16)
    vector = (ctypes.c_size_t * 2)(ctypes.addressof(there), 1)
    return called((310, 270), pid, ctypes.addressof(vector), 1, ctypes.addressof(vector), 1, 0)
def taken(pid):
    return called((438, 438), os.pidfd_open(pid), 0, 0)
def probe(pids):
    attempts = []
    for pid in pids:
        if pid not in (os.getpid(), os.getppid()):
            attempts += [
                (f"attached to {pid}", lambda p=pid: called((101, 117), 16, p, 0, 0)),
                (f"seized {pid}", lambda p=pid: called((101, 117), 0x4206, p, 0, 0)),
                (f"read from {pid}", lambda p=pid: vector(p)),
                (f"took from {pid}", lambda p=pid: succeeded(taken, p) and taken(p)),
                (f"memory of {pid}", lambda p=pid: succeeded(open, f"/proc/{p}/mem", "r+b")),
                (f"limits of {pid}", lambda p=pid: called((302, 261), p, 7, 0, 0)),
            ]
    return which(attempts)
"""

PROC = """
FILES = [(n, open) for n in ("environ", "cmdline", "maps", "mem", "auxv", "stat", "status", "syscall")]
FILES += [("fd", os.listdir), ("cwd", os.listdir), ("task", os.listdir), ("exe", os.readlink)]
def probe(pids):
    attempts = []
    for pid in pids:
        if pid not in (os.getpid(), os.getppid()):
            for name, action in FILES:
                path = f"/proc/{pid}/{name}"
                attempts.append((path, lambda path=path, action=action: succeeded(action, path)))
    return which(attempts)
"""

WORKER = """
FILES = [("mem", "r+b"), ("environ", "rb"), ("maps", "rb"), ("oom_score_adj", "w")]
ZEROS = ctypes.create_string_buffer(16)
def probe(pids):
    attempts = []
    for pid in pids:
        if pid not in (os.getpid(), os.getppid()):
            for number in (signal.SIGTERM, signal.SIGSTOP, signal.SIGKILL):
                succeeded(os.kill, pid, number)
                if pid != 1:  # -1 is everyone, our own parent too
                    succeeded(os.killpg, pid, number)
            for name, mode in FILES:
                path = f"/proc/{pid}/{name}"
                attempts.append((path, lambda path=path, mode=mode: succeeded(open, path, mode)))
            attempts += [
                (f"/proc/{pid}/fd", lambda p=pid: succeeded(os.listdir, f"/proc/{p}/fd")),
                (f"attached to {pid}", lambda p=pid: called((101, 117), 16, p, 0, 0)),
                (f"limits of {pid}", lambda p=pid: called((302, 261), p, 7, ctypes.addressof(ZEROS), 0)),
            ]
    return which(attempts)
"""
