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

from coderm_sandbox import Job, SandboxPool, Test
from coderm_sandbox.isolation import bwrap_paths


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepting = threading.Thread(target=lambda: server.accept()[0].close(), daemon=True)
        accepting.start()
        yield server.getsockname()[1]
        with socket.create_connection(server.getsockname()):
            accepting.join()


def test_no_network(walled: Any, listening: int, probes: str) -> None:
    walled.expect(
        probes,
        f"self.assertIn(attempt(socket.create_connection, ('127.0.0.1', {listening})), "
        "['ECONNREFUSED', 'ENETUNREACH'])",
    )


def test_no_interface_but_its_own_loopback(walled: Any) -> None:
    body = "lines = open('/proc/net/dev').read().splitlines()[2:]\n"
    walled.expect("", body + "self.assertEqual([line.split(':')[0].strip() for line in lines], ['lo'])")


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/etc/shadow", "/sys", "/var", "/boot", "/usr/bin/env", "/bin/sh"]
)
def test_no_file_of_the_host(walled: Any, path: str) -> None:
    walled.expect("import os\n", f"self.assertFalse(os.path.exists({path!r}))")


def test_no_secret_beside_what_is_mounted(walled: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x")
    walled.expect("import os\n", f"self.assertFalse(os.path.exists({str(secret)!r}))")


def test_repository_is_not_visible(walled: Any) -> None:
    names = [str(Path(__file__)), str(Path(__file__).parents[2] / "pyproject.toml")]
    walled.expect("import os\n", f"self.assertEqual([p for p in {names!r} if os.path.exists(p)], [])")


@pytest.mark.parametrize(
    "folder", ["/", "/usr", "/usr/lib", "/dev", "/sandbox", "/sandbox/coderm_guest", "/proc", sys.prefix]
)
def test_nothing_can_be_written_outside_scratch(walled: Any, folder: str, probes: str) -> None:
    body = "refused = ['EROFS', 'EACCES', 'ENOENT', 'EPERM']\n"
    walled.expect(probes, body + f"self.assertIn(attempt(open, os.path.join({folder!r}, 'x'), 'w'), refused)")


def test_guest_code_cannot_be_changed(walled: Any, probes: str) -> None:
    body = "self.assertIn(attempt(open, '/sandbox/coderm_guest/runner.py', 'r+'), ['EROFS', 'EACCES'])"
    walled.expect(probes, body)


def test_no_environment_of_the_host(
    make_sandbox: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODERM_SECRET_KEY", "x")
    sandbox = make_sandbox()
    body = "import os\nself.assertEqual([n for n in os.environ if 'SECRET' in n], [])\n"
    sandbox.expect("", body + "self.assertEqual(os.environ['HOME'], '/tmp')")


def test_no_process_of_the_host_in_proc(walled: Any) -> None:
    body = "self.assertEqual(sorted(int(n) for n in os.listdir('/proc') if n.isdigit())[0], 1)\n"
    body += "self.assertLess(len([n for n in os.listdir('/proc') if n.isdigit()]), 5)"
    walled.expect("import os\n", body)


@pytest.mark.parametrize("number", [2, 9, 15, 19, 11])
def test_signals_to_the_zygote_change_nothing(walled: Any, number: int) -> None:
    before = walled.pool.worker_pids()
    walled.expect(
        "import os\ndef f(n):\n    os.kill(1, n)\n    return 1\n", f"self.assertEqual(f({number}), 1)"
    )
    assert walled.pool.worker_pids() == before


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
    walled.expect(solution, f"self.assertEqual(f({field!r}), {value!r})")


def test_not_root_on_the_host(walled: Any) -> None:
    judges, players = walled.pool.worker_pids()
    for pid in (judges, players):
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        expected = {os.getuid()} if "user namespace" in walled.pool.description else set()
        assert {int(uid) for uid in status["Uid"].split()} - {0} or expected
        if "root" in walled.pool.description.split(",")[1]:
            assert "0" not in status["Uid"].split()


def test_uid_inside_is_not_root(walled: Any) -> None:
    walled.expect("import os\n", "self.assertNotEqual(0, os.getuid())\nself.assertNotEqual(0, os.geteuid())")


def test_becoming_root_is_refused(walled: Any, probes: str) -> None:
    body = "refused = ['EPERM', 'EINVAL']\nself.assertIn(attempt(os.setuid, 0), refused)\n"
    walled.expect(probes, body + "self.assertIn(attempt(os.setgid, 0), refused)")


@pytest.mark.parametrize("name", ["mem", "environ", "maps", "fd", "cwd", "root", "exe", "oom_score_adj"])
def test_the_zygote_is_closed_to_its_children(walled: Any, name: str, probes: str) -> None:
    """Its memory above all: whoever writes that is judge of every later solution."""
    if os.getuid() == 0 and "user namespace" in walled.pool.description and name == "fd":
        pytest.skip(
            "root in a user namespace of its own may list it; the pool starts root's workers otherwise"
        )
    solution = (
        probes
        + """
    def f(name):
        path = f"/proc/1/{name}"
        look = {"fd": os.listdir, "cwd": os.readlink, "root": os.readlink, "exe": os.readlink}
        return attempt(look.get(name, lambda p: open(p, "w" if name == "oom_score_adj" else "r")), path)
    """
    )
    walled.expect(solution, f"self.assertIn(f({name!r}), ['EACCES', 'EPERM', 'EROFS'])")


def test_devices(walled: Any) -> None:
    body = "self.assertEqual(sorted(os.listdir('/dev')), sorted("
    body += "['null', 'zero', 'full', 'random', 'urandom', 'fd', 'stdin', 'stdout', 'stderr', 'shm']))"
    walled.expect("import os\n", body + "\nopen('/dev/null', 'w').write('x')\nos.urandom(3)")


@pytest.mark.parametrize("kind", ["pid", "net", "ipc", "mnt"])
def test_judge_and_player_share_no_namespace(walled: Any, kind: str) -> None:
    """A player finds neither the judge's process, nor its sockets, nor its files."""
    judges, players = walled.pool.worker_pids()
    assert os.readlink(f"/proc/{judges}/ns/{kind}") != os.readlink(f"/proc/{players}/ns/{kind}")


def test_a_player_holds_one_channel_and_nothing_else(walled: Any) -> None:
    solution = """
        import os
        def f():
            held = []
            for fd in range(256):
                try:
                    held.append(os.readlink(f"/proc/self/fd/{fd}").partition(":")[0])
                except OSError:
                    pass
            return held
    """
    walled.expect(solution, "self.assertEqual(f(), ['/dev/null'] * 3 + ['socket'])")


@pytest.mark.parametrize(
    "action",
    [
        *(f"open('/proc/1/{name}').close()" for name in ("mem", "environ", "maps")),
        *(f"os.readlink('/proc/1/{name}')" for name in ("cwd", "root", "exe")),
        "open('/proc/1/oom_score_adj', 'w').close()",
        "open('/etc/passwd')",
        "open('/sandbox/coderm_guest/judge.py', 'r+')",
        "socket.socket(socket.AF_INET).connect(('127.0.0.1', 1))",
        "socket.socket(40, socket.SOCK_RAW)",
        "os.setuid(0)",
        "os.nice(1)",
        "os.sched_setaffinity(0, {0})",
    ],
)
def test_a_test_text_reaches_no_more_than_a_solution(walled: Any, action: str) -> None:
    """It is executed in the judges' sandbox when it is inspected."""
    text = f"""
        import os, socket, unittest
        try:
            {action}
        except OSError:
            class T(unittest.TestCase):
                def test_refused(self): ...
    """
    (found,) = walled.inspect(text)
    assert found.methods == ("T.test_refused",), found.reason


def test_the_host_sees_nothing_of_scratch(walled: Any) -> None:
    walled.expect("", "open('/tmp/coderm-probe', 'w').close()\nopen('/dev/shm/coderm-probe', 'w').close()")
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
