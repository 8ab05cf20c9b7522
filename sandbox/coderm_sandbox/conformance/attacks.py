"""Checks that need more than a probe: what programs use up, leave behind and break."""

from __future__ import annotations

import secrets

from coderm_sandbox.conformance.bystanders import processes_with
from coderm_sandbox.conformance.probes import TOOLS
from coderm_sandbox.conformance.probes_files import HUNT
from coderm_sandbox.conformance.probes_processes import WORKER
from coderm_sandbox.conformance.trial import LIMITS, Trial, method
from coderm_sandbox.types import Outcome

__all__ = [
    "crashes", "descriptors", "file_size", "judge_and_player", "memory", "output", "processes",
    "scratch_emptied", "scratch_size", "survivors", "timeout", "worker",
]  # fmt: skip

_PASS, _ERROR, _TIMEOUT = Outcome.PASS, Outcome.ERROR, Outcome.TIMEOUT


async def worker(trial: Trial) -> str:
    """Try every signal and /proc file on the worker's own processes."""
    before = trial.pool.worker_pids()
    found = await trial.reached(WORKER, trial.worker_pids())
    gone = "" if trial.pool.worker_pids() == before else "the worker was replaced"
    return "; ".join(filter(None, (found, gone, await trial.worse())))


async def judge_and_player(trial: Trial) -> str:
    """A note of the test, its pid, and a file of the solution: neither side finds the other's."""
    text = """
import os, tempfile
with tempfile.NamedTemporaryFile() as one, open("expected", "w") as two:
    two.write("x")
    self.assertEqual(probe([one.name, os.path.abspath(two.name)], os.getpid()), "")
with self.assertRaises(OSError):
    open(leave()).close()
"""
    # As a text of its own: a test that is seen to use files shares a process with the solution.
    body = f"exec({text!r}, {{'self': self, 'probe': probe, 'leave': leave}})"
    return await trial.unlike([_PASS], TOOLS + HUNT, body)


_SURVIVOR = """
import os, sys
CODE = "import os, time; os.write(int(os.sys.argv[1]), b'x'); time.sleep(600)"
def start(writer, mark):
    os.set_inheritable(writer, True)
    os.execv(sys.executable, [sys.executable, "-S", "-c", CODE, str(writer), mark])
def f(mark):
    reader, writer = os.pipe()
    if os.fork() == 0:
        start(writer, mark)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.setpgid(0, 0)
            start(writer, mark)
        os._exit(0)
    count = 0
    while count < 2:
        count += len(os.read(reader, 1))
    return count
"""


async def survivors(trial: Trial) -> str:
    """A child and a daemon (setsid, two forks) are gone when the job is."""
    mark = f"coderm-survivor-{secrets.token_hex(8)}"
    found = await trial.unlike([_PASS], _SURVIVOR, f"self.assertEqual(f({mark!r}), 2)")
    left = processes_with(mark)
    return "; ".join(filter(None, (found, f"{len(left)} processes live on" if left else "")))


_HOG = """
import os, time
def f():
    for _ in range(8):
        if os.fork() == 0:
            kept = b"x" * (48 << 20)
            time.sleep(60)
    time.sleep(60)
"""


async def memory(trial: Trial) -> str:
    """One process with too much, and many with too much together."""
    alone = await trial.unlike([Outcome.MEMORY], "def f():\n    return len(b'x' * (1 << 30))\n")
    together = await trial.unlike([Outcome.MEMORY], _HOG)
    return "; ".join(filter(None, (alone, together)))


_STORM = """
import os, threading, time
def fork():
    if os.fork() == 0:
        time.sleep(60)
def thread():
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
def f(start):
    count = 0
    try:
        while count < 10000:
            start()
            count += 1
    except (OSError, RuntimeError):
        pass
    return count
"""


async def processes(trial: Trial) -> str:
    """Forks and threads without end: refused at the limit, or ended by the watch."""
    found = [
        await trial.unlike(
            [_PASS, _ERROR], _STORM, f"self.assertLessEqual(f({kind}), {LIMITS.processes + 2})"
        )
        for kind in ("fork", "thread")
    ]
    return "; ".join(filter(None, found))


async def file_size(trial: Trial) -> str:
    """A file of one byte above the limit cannot be written, one of the limit can."""
    most = LIMITS.file_mb << 20
    solution = "def f(n):\n    with open('x', 'wb') as file:\n        return file.write(bytes(n))\n"
    body = f"self.assertEqual(f({most}), {most})\nself.assertRaises(OSError, f, {most + 1})"
    return await trial.unlike([_PASS], solution, body)


async def scratch_size(trial: Trial) -> str:
    """Many files fill the folder up at its limit."""
    solution = """
def f(most):
    try:
        for n in range(most):
            with open(str(n), "wb") as file:
                file.write(bytes(1 << 20))
    except OSError:
        return n
    return most
"""
    most = LIMITS.scratch_mb
    return await trial.unlike([_PASS], solution, f"self.assertLessEqual(f({4 * most}), {most})")


async def scratch_emptied(trial: Trial) -> str:
    """Neither another test of the same job nor a later job finds a file that a test left."""
    solution = """
import os, tempfile
def f():
    folders = {os.getcwd(), tempfile.gettempdir()}
    # An interpreter that is installed below a scratch folder is mounted there.
    paths = [os.path.join(folder, name) for folder in folders for name in os.listdir(folder)]
    found = [path for path in paths if os.lstat(path).st_dev == os.lstat(os.path.dirname(path)).st_dev]
    os.makedirs("left/inner")
    for folder in folders:
        open(os.path.join(folder, "marker"), "w").close()
    return found
"""
    text = method("self.assertEqual(f(), [])")
    results = [*await trial.run(solution, text, text + "\n"), *await trial.run(solution + "\n", text)]
    return "; ".join(f"{one.outcome.value} ({one.detail})" for one in results if one.outcome is not _PASS)


async def output(trial: Trial) -> str:
    """Printing more than the limit ends the test."""
    solution = "def f():\n    while True:\n        print('x' * 65536)\n"
    return await trial.unlike([Outcome.OUTPUT], solution)


_IGNORES = """
import signal, time
def f():
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        try:
            signal.signal(number, lambda *_: None)
        except (OSError, ValueError):
            pass
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass
"""


async def timeout(trial: Trial) -> str:
    """A busy loop, and one that catches and ignores all it can."""
    busy = await trial.unlike([_TIMEOUT], "def f():\n    while True:\n        pass\n")
    stubborn = await trial.unlike([_TIMEOUT], _IGNORES)
    return "; ".join(filter(None, (busy, stubborn)))


_CRASHES = {
    "exits": "os._exit(0)",
    "raises SystemExit": "raise SystemExit(0)",
    "kills itself": "os.kill(os.getpid(), signal.SIGKILL)",
    "faults": "ctypes.string_at(8)",
    "aborts": "os.abort()",
    "closes every descriptor": "os.closerange(0, 256)\n    os._exit(0)",
    "becomes another program": "os.execv(sys.executable, [sys.executable, '-S', '-c', ''])",
    "stops itself": "os.kill(os.getpid(), signal.SIGSTOP)",
}


async def crashes(trial: Trial) -> str:
    """However a program ends, that is no pass and not unknown, and the same worker goes on."""
    before = trial.pool.worker_pids()
    found = []
    for name, line in _CRASHES.items():
        solution = f"import ctypes, os, signal, sys\ndef f():\n    {line}\n    return 1\n"
        seen = await trial.unlike([_ERROR, _TIMEOUT], solution, "self.assertEqual(f(), 1)")
        found += [f"{name}: {seen}"] if seen else []
    if trial.pool.worker_pids() != before:
        found.append("the worker was replaced")
    return "; ".join(found)


async def descriptors(trial: Trial) -> str:
    """Open files are refused at 256."""
    solution = """
import os
def f():
    held = []
    try:
        while len(held) < 100000:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    return len(held)
"""
    return await trial.unlike([_PASS], solution, "self.assertLess(f(), 256)")
