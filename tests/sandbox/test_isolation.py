"""What candidate code cannot reach from inside bubblewrap, however it was started."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from coderm_sandbox import Job, Limits, Outcome, SandboxPool, Test
from coderm_sandbox.isolation import bwrap_paths

REFUSED = """
    import ctypes, errno, os, socket
    libc = ctypes.CDLL(None, use_errno=True)
    def call(number, *arguments):
        ctypes.set_errno(0)
        result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in arguments])
        return errno.errorcode[ctypes.get_errno()] if result == -1 else "allowed"
    def attempt(action, *arguments):
        try:
            action(*arguments)
        except OSError as error:
            return errno.errorcode[error.errno]
        return "allowed"
"""


def expect(sandbox: Any, solution: str, body: str) -> None:
    result = sandbox.check(solution, body)
    assert result.outcome is Outcome.PASS, result.detail


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepting = threading.Thread(target=lambda: server.accept()[0].close(), daemon=True)
        accepting.start()
        yield server.getsockname()[1]
        with socket.create_connection(server.getsockname()):
            accepting.join()


def test_no_network(walled: Any, listening: int) -> None:
    expect(
        walled,
        REFUSED,
        f"self.assertIn(attempt(socket.create_connection, ('127.0.0.1', {listening})), "
        "['ECONNREFUSED', 'ENETUNREACH'])",
    )


def test_no_interface_but_its_own_loopback(walled: Any) -> None:
    body = "lines = open('/proc/net/dev').read().splitlines()[2:]\n"
    expect(walled, "", body + "self.assertEqual([line.split(':')[0].strip() for line in lines], ['lo'])")


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/etc/shadow", "/sys", "/var", "/boot", "/usr/bin/env", "/bin/sh"]
)
def test_no_file_of_the_host(walled: Any, path: str) -> None:
    expect(walled, "import os\n", f"self.assertFalse(os.path.exists({path!r}))")


def test_no_secret_beside_what_is_mounted(walled: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    expect(walled, "import os\n", f"self.assertFalse(os.path.exists({str(secret)!r}))")


def test_repository_is_not_visible(walled: Any) -> None:
    names = [str(Path(__file__)), str(Path(__file__).parents[2] / "pyproject.toml")]
    expect(walled, "import os\n", f"self.assertEqual([p for p in {names!r} if os.path.exists(p)], [])")


@pytest.mark.parametrize(
    "folder", ["/", "/usr", "/usr/lib", "/dev", "/sandbox", "/sandbox/coderm_guest", "/proc", sys.prefix]
)
def test_nothing_can_be_written_outside_scratch(walled: Any, folder: str) -> None:
    body = "refused = ['EROFS', 'EACCES', 'ENOENT', 'EPERM']\n"
    expect(
        walled, REFUSED, body + f"self.assertIn(attempt(open, os.path.join({folder!r}, 'x'), 'w'), refused)"
    )


def test_guest_code_cannot_be_changed(walled: Any) -> None:
    body = "self.assertIn(attempt(open, '/sandbox/coderm_guest/runner.py', 'r+'), ['EROFS', 'EACCES'])"
    expect(walled, REFUSED, body)


def test_no_environment_of_the_host(
    make_sandbox: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODERM_SECRET_KEY", "x")
    sandbox = make_sandbox()
    body = "import os\nself.assertEqual([n for n in os.environ if 'SECRET' in n], [])\n"
    expect(sandbox, "", body + "self.assertEqual(os.environ['HOME'], '/tmp')")


def test_no_process_of_the_host_in_proc(walled: Any) -> None:
    body = "self.assertEqual(sorted(int(n) for n in os.listdir('/proc') if n.isdigit())[0], 1)\n"
    body += "self.assertLess(len([n for n in os.listdir('/proc') if n.isdigit()]), 5)"
    expect(walled, "import os\n", body)


@pytest.mark.parametrize("number", [2, 9, 15, 19, 11])
def test_signals_to_the_zygote_change_nothing(walled: Any, number: int) -> None:
    before = walled.pool.worker_pids()
    expect(
        walled, "import os\ndef f(n):\n    os.kill(1, n)\n    return 1\n", f"self.assertEqual(f({number}), 1)"
    )
    assert walled.pool.worker_pids() == before


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
def test_denied_system_calls(walled: Any, name: str) -> None:
    expect(walled, REFUSED, f"self.assertEqual(call({number_of(name)}, 1, 1, 0, 0, 0), 'EPERM')")


@pytest.mark.parametrize("flag", ["NEWUSER", "NEWNS", "NEWPID", "NEWNET", "NEWIPC", "NEWUTS", "NEWCGROUP"])
def test_clone_makes_no_namespace(walled: Any, flag: str) -> None:
    flags = {
        "NEWUSER": 0x10000000, "NEWNS": 0x20000, "NEWPID": 0x20000000, "NEWNET": 0x40000000,
        "NEWIPC": 0x8000000, "NEWUTS": 0x4000000, "NEWCGROUP": 0x2000000,
    }[flag]  # fmt: skip
    number = 56 if os.uname().machine == "x86_64" else 220
    expect(walled, REFUSED, f"self.assertEqual(call({number}, {flags} | 17, 0, 0, 0, 0), 'EPERM')")


def test_clone3_is_hidden(walled: Any) -> None:
    expect(walled, REFUSED, "self.assertEqual(call(435, 0, 0), 'ENOSYS')")


@pytest.mark.parametrize(
    ("family", "kind"),
    [("VSOCK", 40), ("NETLINK", 16), ("ALG", 38), ("PACKET", 17), ("XDP", 44), ("CAN", 29)],
)
def test_socket_families_that_reach_out(walled: Any, family: str, kind: int) -> None:
    expect(
        walled, REFUSED, f"self.assertEqual(attempt(socket.socket, {kind}, socket.SOCK_RAW), 'EAFNOSUPPORT')"
    )


def test_raw_sockets(walled: Any) -> None:
    body = "self.assertEqual(attempt(socket.socket, socket.AF_INET, socket.SOCK_RAW, 1), 'EPERM')"
    expect(walled, REFUSED, body)


@pytest.mark.parametrize(("request_number", "name"), [(0x5412, "TIOCSTI"), (0x541C, "TIOCLINUX")])
def test_terminal_injection(walled: Any, request_number: int, name: str) -> None:
    number = 16 if os.uname().machine == "x86_64" else 29
    expect(walled, REFUSED, f"self.assertEqual(call({number}, 0, {request_number}, 0), 'EPERM')")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("CapEff", "0000000000000000"),
        ("CapPrm", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
        ("NoNewPrivs", "1"),
        ("Seccomp", "2"),
    ],
)
def test_no_privileges(walled: Any, field: str, value: str) -> None:
    solution = """
        def f(field):
            return dict(line.split(":", 1) for line in open("/proc/self/status"))[field].strip()
    """
    expect(walled, solution, f"self.assertEqual(f({field!r}), {value!r})")


def test_not_root_on_the_host(walled: Any) -> None:
    (pid,) = walled.pool.worker_pids()
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    expected = {os.getuid()} if "user namespace" in walled.pool.description else set()
    assert {int(uid) for uid in status["Uid"].split()} - {0} or expected
    if "root" in walled.pool.description.split(",")[1]:
        assert "0" not in status["Uid"].split()


def test_uid_inside_is_not_root(walled: Any) -> None:
    expect(walled, "import os\n", "self.assertNotEqual(0, os.getuid())\nself.assertNotEqual(0, os.geteuid())")


def test_becoming_root_is_refused(walled: Any) -> None:
    body = "refused = ['EPERM', 'EINVAL']\nself.assertIn(attempt(os.setuid, 0), refused)\n"
    expect(walled, REFUSED, body + "self.assertIn(attempt(os.setgid, 0), refused)")


@pytest.mark.parametrize("name", ["mem", "environ", "maps", "fd", "cwd", "root", "exe", "oom_score_adj"])
def test_the_zygote_is_closed_to_its_children(walled: Any, name: str) -> None:
    """Its memory above all: whoever writes that is judge of every later solution."""
    if os.getuid() == 0 and "user namespace" in walled.pool.description and name == "fd":
        pytest.skip(
            "root in a user namespace of its own may list it; the pool starts root's workers otherwise"
        )
    solution = (
        REFUSED
        + """
    def f(name):
        path = f"/proc/1/{name}"
        look = {"fd": os.listdir, "cwd": os.readlink, "root": os.readlink, "exe": os.readlink}
        return attempt(look.get(name, lambda p: open(p, "w" if name == "oom_score_adj" else "r")), path)
    """
    )
    expect(walled, solution, f"self.assertIn(f({name!r}), ['EACCES', 'EPERM', 'EROFS'])")


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
    walled: Any, name: str, numbers: tuple[int, int], arguments: str
) -> None:
    number = numbers[0 if os.uname().machine == "x86_64" else 1]
    body = "new = ctypes.addressof(ctypes.create_string_buffer(b'\\1' + bytes(63)))\n"
    expect(walled, REFUSED, body + f"self.assertEqual(call({number}, {arguments}), 'EPERM')")


def test_a_solution_may_lower_its_own_limits(walled: Any) -> None:
    body = "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))"
    expect(walled, "", body)


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
    expect(walled, "import os\n", f"with self.assertRaises(OSError):\n    {action}")


def test_devices(walled: Any) -> None:
    body = "self.assertEqual(sorted(os.listdir('/dev')), sorted("
    body += "['null', 'zero', 'full', 'random', 'urandom', 'fd', 'stdin', 'stdout', 'stderr', 'shm']))"
    expect(walled, "import os\n", body + "\nopen('/dev/null', 'w').write('x')\nos.urandom(3)")


@pytest.mark.parametrize("kind", ["fork", "thread"])
def test_process_storm_is_bounded(walled: Any, kind: str) -> None:
    solution = """
        import os, threading, time
        def fork():
            while True:
                try:
                    if os.fork() == 0:
                        time.sleep(60)
                except OSError:
                    return len([n for n in os.listdir("/proc") if n.isdigit()])
        def thread():
            count = 0
            try:
                while True:
                    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
                    count += 1
            except RuntimeError:
                return count
    """
    result = walled.check(solution, f"self.assertLess({kind}(), 70)")
    assert result.outcome in (Outcome.PASS, Outcome.ERROR), result.detail
    assert walled.outcome("def f():\n    return 1\n", "self.assertEqual(f(), 1)") is Outcome.PASS


def test_huge_file_is_bounded(make_sandbox: Callable[..., Any]) -> None:
    sandbox = make_sandbox(limits=Limits(timeout=0.5, file_mb=1))
    solution = "def f(n):\n    with open('/tmp/x', 'wb') as file:\n        file.write(bytes(n))\n"
    assert sandbox.outcome(solution, "f(1 << 20)") is Outcome.PASS
    assert sandbox.outcome(solution, "f((1 << 20) + 1)") is Outcome.ERROR


def test_full_scratch_disk_is_empty_again_for_the_next(
    make_sandbox: Callable[..., Any], method: Callable[..., str]
) -> None:
    sandbox = make_sandbox(limits=Limits(timeout=2.0, file_mb=4, scratch_mb=8))
    solution = """
        import errno
        def f():
            try:
                for n in range(100):
                    open(f"/tmp/{n}", "wb").write(bytes(1 << 20))
            except OSError as error:
                return errno.errorcode[error.errno], n
    """
    results = sandbox.run(solution, *[method("self.assertEqual(f(), ('ENOSPC', 8))")] * 2)
    assert [r.outcome for r in results] == [Outcome.PASS] * 2, results[0].detail


def test_thousands_of_descriptors_are_refused(walled: Any) -> None:
    solution = """
        import os
        def f():
            held = []
            try:
                while True:
                    held.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                return len(held)
    """
    expect(walled, solution, "self.assertLess(f(), 256)")


@pytest.mark.parametrize("depth", [1500])
def test_a_tree_deeper_than_any_path_is_removed(walled: Any, depth: int, method: Callable[..., str]) -> None:
    solution = f"""
        import os
        def f():
            if os.path.exists("d"):
                return "again"
            for n in range({depth}):
                os.mkdir("d")
                os.chdir("d")
            return "first"
    """
    before = walled.pool.worker_pids()
    results = walled.run(solution, *[method("self.assertEqual(f(), 'first')")] * 3)
    assert [r.outcome for r in results] == [Outcome.PASS] * 3
    assert walled.pool.worker_pids() == before


def test_scratch_without_permissions_is_restored(walled: Any, method: Callable[..., str]) -> None:
    solution = """
        import os
        def f():
            open("/tmp/x", "w").close()
            try:
                os.chmod("/tmp", 0)
            except PermissionError:
                pass
    """
    results = walled.run(solution, *[method("f()")] * 3)
    assert [r.outcome for r in results] == [Outcome.PASS] * 3


def test_the_host_sees_nothing_of_scratch(walled: Any) -> None:
    expect(walled, "", "open('/tmp/coderm-probe', 'w').close()\nopen('/dev/shm/coderm-probe', 'w').close()")
    assert not Path("/tmp/coderm-probe").exists()
    assert not Path("/dev/shm/coderm-probe").exists()


def test_a_bwrap_is_found() -> None:
    assert bwrap_paths()


def test_what_starts_the_worker_is_told(walled: Any) -> None:
    assert walled.pool.description.startswith("bubblewrap (")


def test_an_interpreter_installed_below_a_scratch_folder_works_and_stays() -> None:
    """A virtual environment in /tmp, as in a clone made there: mounted where it is, and never wiped."""
    home = Path(tempfile.mkdtemp(dir="/tmp", prefix="coderm-venv-"))
    try:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", home / "deep" / "venv"], check=True)
        source = "import os, sys, unittest\nclass T(unittest.TestCase):\n"
        source += "    def test_a(self):\n"
        source += f"        self.assertTrue(sys.prefix.startswith({str(home)!r}))\n"
        source += f"        self.assertRaises(OSError, open, {str(home / 'x')!r}, 'w')\n"
        source += "        self.assertFalse(os.path.exists('/tmp/marker'))\n"
        source += "        open('/tmp/marker', 'w').close()\n"

        async def run() -> list[str]:
            python = str(home / "deep" / "venv" / "bin" / "python")
            async with SandboxPool(workers=1, python=python) as pool:
                test = Test(source, methods=("T.test_a",))
                results = [await pool.run(Job("", (test, test))) for _ in range(2)]
                assert pool.stats.workers_replaced == 0
            return [result.outcome.value for row in results for result in row]

        assert asyncio.run(run()) == ["pass"] * 4
    finally:
        shutil.rmtree(home)
