"""Level landlock beyond the conformance suite: both ways to start it, older kernels, faults, honesty."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coderm_sandbox import Job, Limits, Outcome, SandboxPool, SandboxUnavailableError
from coderm_sandbox.conformance import PROPERTIES
from coderm_sandbox.conformance.bystanders import Bystanders, descendants, processes_with
from coderm_sandbox.conformance.probes import TOOLS
from coderm_sandbox.conformance.probes_processes import WORKER
from coderm_sandbox.conformance.trial import LIMITS, Trial
from coderm_sandbox.guest import seccomp

OWN, SHARED = "own-uid", "shared-uid"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root leaves root")


@pytest.fixture(scope="module", params=[pytest.param(OWN, marks=needs_root), SHARED])
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """How a pool is made at this level: leaving root for a uid of its own, or staying who it is."""
    if request.param == OWN:
        return {
            "isolation": "landlock",
            "variant": "root",
            "python": request.getfixturevalue("open_python"),
        }
    return {"isolation": "landlock", "variant": "userns"}


@pytest.fixture(scope="module")
def landlocked(options: dict[str, Any], make_sandbox: Callable[..., Any]) -> Any:
    return make_sandbox(**options)


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, value in (line.split(":", 1) for line in lines)}


@pytest.mark.parametrize("which", [0, 1], ids=["judges", "players"])
def test_who_the_zygote_is(landlocked: Any, which: int) -> None:
    found = status(landlocked.pool.worker_pids()[which])
    own = "unused uid" in landlocked.pool.description
    assert set(found["Uid"].split()) == ({found["Uid"].split()[0]} if own else {str(os.getuid())})
    assert (int(found["Uid"].split()[0]) >= 2_000_000_000) == own
    assert found["CapEff"] == found["CapPrm"] == found["CapAmb"] == "0000000000000000"
    assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")


@pytest.fixture
def open_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where scratch folders are made, and nothing else; every user may enter it."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="coderm-landlock-") as name:
        os.chmod(name, 0o777)
        monkeypatch.setattr("tempfile.tempdir", name)
        yield Path(name)


async def until(condition: Callable[[], bool]) -> None:
    async def wait() -> None:
        while not condition():
            await asyncio.sleep(0.02)

    await asyncio.wait_for(wait(), 60)


WAITS = """
import os, time
def f():
    open("note", "w").write("expected")
    while not os.path.exists("go"):
        time.sleep(0.02)
    return open("note").read()
"""
LOOKS = """
def look(folders):
    attempts = []
    for folder in folders:
        attempts += [
            (f"listed {folder}", lambda f=folder: succeeded(os.listdir, f)),
            (f"read in {folder}", lambda f=folder: succeeded(open, f + "/note")),
            (f"wrote in {folder}", lambda f=folder: succeeded(open, f + "/note", "w")),
            (f"made in {folder}", lambda f=folder: succeeded(os.mkdir, f + "/go")),
        ]
    return which(attempts)
"""


def test_two_workers_cannot_reach_each_other(
    options: dict[str, Any], make_sandbox: Callable[..., Any], method: Callable[..., str], open_folder: Path
) -> None:
    """As a judge and a player: two zygotes of the same launch, each with its own scratch folder."""
    sandbox = make_sandbox(**options, workers=2, limits=Limits(timeout=30.0, memory_mb=256))

    async def scenario() -> None:
        tests = await sandbox.prepare([method("self.assertEqual(f(), 'expected')")])
        waiting = asyncio.ensure_future(sandbox.pool.run(Job(WAITS, tests)))
        await until(lambda: any(open_folder.glob("*/note")))
        (note,) = open_folder.glob("*/note")
        theirs = str(note.parent)
        body = f"self.assertEqual((probe({descendants()!r}), look([{theirs!r}])), ('', ''))"
        (attack,) = await sandbox.pool.run(Job(TOOLS + WORKER + LOOKS, await sandbox.prepare([method(body)])))
        assert attack.outcome is Outcome.PASS, attack.detail
        folders = list(open_folder.iterdir())
        assert len(folders) == 4
        assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}
        assert len({folder.stat().st_uid for folder in folders}) == (
            4 if "unused" in sandbox.pool.description else 1
        )
        (note.parent / "go").touch()
        (result,) = await waiting
        assert result.outcome is Outcome.PASS, result.detail

    sandbox.do(scenario())
    assert sandbox.pool.stats.retried == 0


@needs_root
@pytest.mark.parametrize("abi", [1, 2, 3, 4, 5, 6])
def test_older_kernels(
    abi: int, open_python: str, make_sandbox: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Landlock lacks there, the filter and the uid of its own make up for."""
    monkeypatch.setattr("coderm_sandbox.isolation.NEWEST_ABI", abi)
    tried = ("files-write", "files-attributes", "abstract-sockets", "process-signals", "worker", "survivors")
    with Bystanders() as around:
        sandbox = make_sandbox(isolation="landlock", python=open_python, limits=LIMITS)
        assert f"ABI {abi}, root, leaving for an unused uid" in sandbox.pool.description
        trial = Trial(sandbox.pool, "landlock", around)
        found = {one.id: sandbox.do(one.check(trial)) for one in PROPERTIES if one.id in tried}
    assert found == dict.fromkeys(tried, "")


@pytest.mark.parametrize("abi", [1, 5])
def test_a_promise_that_cannot_be_kept_is_named(abi: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that shares its uid relies on Landlock alone to keep its signals in."""
    monkeypatch.setattr("coderm_sandbox.isolation.NEWEST_ABI", abi)
    monkeypatch.setattr("coderm_sandbox.isolation.open_to_all", lambda path: False)

    async def start() -> None:
        async with SandboxPool(workers=1, isolation="landlock"):
            pass

    with pytest.raises(SandboxUnavailableError, match=f"ABI {abi} cannot keep signals from other processes"):
        asyncio.run(start())


INHERITS = """
import json, os, socket, sys
sys.path.insert(0, sys.argv[1])
from coderm_sandbox.guest.confine import confine
plan, descriptor = json.loads(sys.argv[2]), int(sys.argv[3])
confine(plan, -1, [os.environ["HOME"]])
with socket.socket(fileno=descriptor) as inherited:
    inherited.send(b"one")
    assert inherited.recv(16) == b"two"
    if os.fork() == 0:  # a player's child, behind the second ruleset
        inherited.send(b"three")
        os._exit(0)
    os.wait()
"""


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET])
def test_inherited_sockets_stay_usable(kind: socket.SocketKind, tmp_path: Path) -> None:
    package = str(Path(seccomp.__file__).parents[2])
    plan = json.dumps({"read": [sys.base_prefix, sys.prefix, "/usr/lib", package], "abi": 7})
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    with ours, theirs:
        line = [sys.executable, "-c", INHERITS, package, plan, str(theirs.fileno())]
        process = subprocess.Popen(line, pass_fds=[theirs.fileno()], env={"HOME": str(tmp_path)})
        assert ours.recv(16) == b"one"
        ours.send(b"two")
        assert ours.recv(16) == b"three"
        assert process.wait(20) == 0


def test_a_program_that_is_executed_has_the_same_walls(landlocked: Any) -> None:
    code = "import os; print(os.getcwd()); open('/etc/passwd')"
    solution = f"""
import subprocess, sys
def f():
    done = subprocess.run([sys.executable, "-S", "-c", {code!r}], capture_output=True, text=True)
    return done.returncode, "PermissionError" in done.stderr
"""
    result = landlocked.check(solution, "self.assertEqual(f(), (1, True))")
    assert result.outcome is Outcome.PASS, result.detail


HONEST = {
    "temporary files": "with tempfile.TemporaryFile() as file:\n    file.write(b'x')",
    "temporary folders": "with tempfile.TemporaryDirectory() as d:\n    os.makedirs(d + '/a/b')",
    "moving between folders": "os.mkdir('a'); open('a/x', 'w').close(); os.rename('a/x', 'x')",
    "copying": "open('x', 'w').close(); shutil.copyfile('x', 'y')",
    "touching": "pathlib.Path('x').touch()",
    "links": "open('x', 'w').close(); os.symlink('x', 'y'); os.link('x', 'z'); assert os.path.exists('y')",
    "devices": "open('/dev/null', 'w').write('x'); assert len(open('/dev/urandom', 'rb').read(3)) == 3",
    "asyncio": "asyncio.run(asyncio.sleep(0))",
    "threads": "t = threading.Thread(target=print); t.start(); t.join()",
    "children": "subprocess.run([sys.executable, '-S', '-c', ''], check=True)",
    "pipes between processes": "multiprocessing.Pipe()",
    "time zones": "zoneinfo.ZoneInfo('Europe/Berlin')",
    "late imports": "import xml.dom.minidom, sqlite3, email.mime.text, unittest.mock",
    "signals to itself": "signal.signal(10, lambda *_: None); os.kill(os.getpid(), 10)",
    "alarms": "signal.signal(signal.SIGALRM, lambda *_: None); signal.setitimer(signal.ITIMER_REAL, 0.01)",
    "ending a child": "p = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=-1); p.kill(); p.wait()",
}


@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in HONEST.items()])
def test_honest_programs(landlocked: Any, body: str) -> None:
    modules = "asyncio, multiprocessing, os, pathlib, shutil, signal, subprocess, sys, tempfile, threading"
    solution = f"import {modules}, zoneinfo\ndef f():\n{textwrap.indent(body, '    ')}\n    return 1\n"
    before = landlocked.pool.worker_pids()
    result = landlocked.check(solution, "self.assertEqual(f(), 1)")
    assert result.outcome is Outcome.PASS, result.detail
    assert landlocked.pool.worker_pids() == before


def test_modes_may_be_changed_only_where_no_file_of_others_has_the_uid(landlocked: Any) -> None:
    solution = """
import os
def f():
    open("x", "w").close()
    try:
        os.chmod("x", 0o600)
    except PermissionError:
        return "refused"
    return "changed"
"""
    expected = "changed" if "unused uid" in landlocked.pool.description else "refused"
    result = landlocked.check(solution, f"self.assertEqual(f(), {expected!r})")
    assert result.outcome is Outcome.PASS, result.detail


@pytest.mark.parametrize("level", ["landlock", "none"])
@pytest.mark.parametrize("storm", ["fork()", "fork() and os._exit(0)"])
def test_storms_leave_the_worker(make_sandbox: Callable[..., Any], level: str, storm: str) -> None:
    """Processes without end, and one that is never the same for long: killed in one step, no wait hangs."""
    sandbox = make_sandbox(isolation=level, limits=Limits(timeout=1.0, memory_mb=256, processes=16))
    before = sandbox.pool.worker_pids()
    for number in range(3):
        solution = f"import os, time\nfork = os.fork\ndef f():  # {number}\n    while True:\n        "
        solution += f"if {storm}:\n            continue\n"
        solution += "        time.sleep(60)\n" if storm == "fork()" else ""
        assert sandbox.outcome(solution, "f()") in (Outcome.ERROR, Outcome.TIMEOUT)
    assert sandbox.outcome("def f():\n    return 1\n", "self.assertEqual(f(), 1)") is Outcome.PASS
    assert sandbox.pool.worker_pids() == before


SURVIVES = """
import os, subprocess, sys, time
def f(mark):
    line = [sys.executable, "-S", "-c", "import time; time.sleep(600)", mark]
    for new in (True, False):
        subprocess.Popen(line, start_new_session=new)
    time.sleep(600)
"""


@pytest.mark.parametrize("level", ["landlock", "none"])
@pytest.mark.parametrize("victim", ["judges", "players", "keeper"])
def test_a_killed_worker_leaves_no_process_and_no_folder(
    make_sandbox: Callable[..., Any], method: Callable[..., str], wait_until: Callable[..., bool],
    level: str, victim: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    sandbox = make_sandbox(isolation=level, limits=Limits(timeout=60.0, memory_mb=256))
    mark = f"coderm-left-{level}-{victim}-{os.getpid()}"

    async def scenario() -> None:
        tests = await sandbox.prepare([method(f"f({mark!r})")])
        judges, players = sandbox.pool.worker_pids()
        keeper = int(status(players)["PPid"])
        assert keeper != os.getpid()
        assert len(list(tmp_path.iterdir())) == 2
        running = asyncio.ensure_future(sandbox.pool.run(Job(SURVIVES, tests)))
        await until(lambda: len(processes_with(mark)) == 2)
        os.kill({"judges": judges, "players": players, "keeper": keeper}[victim], signal.SIGKILL)
        sandbox.pool.close()
        (result,) = await running
        assert result.outcome is Outcome.UNKNOWN

    sandbox.do(scenario())
    assert wait_until(lambda: not processes_with(mark)), processes_with(mark)
    assert wait_until(lambda: not list(tmp_path.iterdir()))


def test_a_worker_whose_zygote_was_killed_is_replaced(
    make_sandbox: Callable[..., Any],
    method: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    sandbox = make_sandbox(isolation="landlock", limits=Limits(timeout=5.0, memory_mb=256))
    first = sandbox.pool.worker_pids()
    os.kill(first[1], signal.SIGKILL)
    assert sandbox.outcome("def f():\n    return 1\n", "self.assertEqual(f(), 1)") is Outcome.PASS
    assert not set(sandbox.pool.worker_pids()) & set(first)
    assert len(list(tmp_path.iterdir())) == 2, "the folders of the first worker are gone"


SUPERVISOR = """
import asyncio, os, sys
from coderm_sandbox import *
TEXT = "import unittest\\nclass T(unittest.TestCase):\\n    def test_a(self): f(" + repr(sys.argv[1]) + ")\\n"
async def main():
    async with SandboxPool(workers=2, limits=Limits(timeout=60.0), isolation="landlock") as pool:
        job = Job(sys.argv[2], (Test(TEXT, methods=("T.test_a",)),))
        await asyncio.gather(*(pool.run(job) for _ in range(2)))
asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_and_no_folder_outlives_the_supervisor(
    tmp_path: Path, number: signal.Signals, wait_until: Callable[..., bool]
) -> None:
    mark = f"coderm-orphan-{number}-{os.getpid()}"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    supervisor = subprocess.Popen([sys.executable, "-c", SUPERVISOR, mark, SURVIVES], env=environment)
    try:
        assert wait_until(lambda: len(processes_with(mark)) >= 4 + 1)
    finally:
        supervisor.send_signal(number)
        supervisor.wait(20)
    assert wait_until(lambda: not processes_with(mark)), processes_with(mark)
    assert wait_until(lambda: not list(tmp_path.iterdir()))


@needs_root
def test_a_full_disk_in_scratch(
    make_sandbox: Callable[..., Any],
    method: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The program sees the error, and the next one finds the space again."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(mounted.stderr.decode())
    try:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        sandbox = make_sandbox(isolation="landlock")
        solution = """
import errno
def f():
    try:
        for n in range(100):
            with open(str(n), "wb") as file:
                file.write(bytes(1 << 20))
    except OSError as error:
        return errno.errorcode[error.errno]
"""
        results = sandbox.run(solution, *[method("self.assertEqual(f(), 'ENOSPC')")] * 2)
        assert [result.outcome for result in results] == [Outcome.PASS] * 2, results[0].detail
        assert sandbox.outcome("def f():\n    return 1\n", "self.assertEqual(f(), 1)") is Outcome.PASS
        assert sandbox.pool.stats.workers_replaced == 0
        sandbox.close()
        assert list(tmp_path.iterdir()) == []
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_denies_more_where_it_stands_alone(machine: str) -> None:
    """Every jump of a filter must stay within it; the kernel refuses it otherwise, on that machine only."""
    sizes = []
    for more in ({}, {"alone": True}, {"alone": True, "same_user": True, "truncate": False, "spare": 1234}):
        program = seccomp.build_filter(machine, **more)
        steps = [program[i : i + 8] for i in range(0, len(program), 8)]
        sizes.append(len(steps))
        assert len(program) % 8 == 0
        for place, (low, high, yes, no, *_) in enumerate(steps):
            if low | high << 8 in (0x15, 0x35, 0x45):
                assert place + 1 + max(yes, no) < len(steps)
        assert steps[-1] == bytes.fromhex("060000000000ff7f")
    assert sizes == sorted(set(sizes))
