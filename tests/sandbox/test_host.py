"""What is said of this host agrees with what it can do."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from coderm_sandbox import SandboxPool
from coderm_sandbox.host import Fact, host_facts, which_isolation
from coderm_sandbox.isolation import bwrap_paths


@pytest.fixture(scope="module")
def facts() -> dict[str, Fact]:
    return {fact.name: fact for fact in host_facts()}


@pytest.mark.parametrize(
    "name",
    [
        "kernel", "Python of the sandbox", "user namespaces", "sysctl kernel.unprivileged_userns_clone",
        "sysctl user.max_user_namespaces", "sysctl kernel.apparmor_restrict_unprivileged_userns", "seccomp",
        "Landlock", "cgroups", "process tree in /proc", "time waited for a core in /proc", "usable cores",
        "memory",
    ],
)  # fmt: skip
def test_is_looked_at(facts: dict[str, Fact], name: str) -> None:
    assert facts[name].found


def test_every_bwrap_is_tried(facts: dict[str, Fact]) -> None:
    assert [name[6:] for name in facts if name.startswith("bwrap ")] == bwrap_paths()


def test_landlock_is_tried_for_real(facts: dict[str, Fact]) -> None:
    assert "worker was ready in" in facts["Landlock"].found
    assert facts["Landlock"].ok is True


def test_landlock_that_cannot_be_had_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bubblewrap may still work; the reason is told."""
    monkeypatch.setattr("coderm_sandbox.isolation.NEWEST_ABI", 0)
    (fact,) = [fact for fact in host_facts() if fact.name == "Landlock"]
    assert fact.ok is None
    assert "cannot be started" in fact.found


def test_advice_goes_with_what_is_missing(facts: dict[str, Fact]) -> None:
    for fact in facts.values():
        assert bool(fact.advice) == (fact.ok is False), fact


def test_facts_can_be_had_within_an_event_loop(facts: dict[str, Fact]) -> None:
    async def inside() -> list[Fact]:
        return host_facts()

    assert [fact.name for fact in asyncio.run(inside())] == list(facts)


def test_isolation_is_the_one_the_pool_uses() -> None:
    async def both() -> tuple[tuple[str | None, str], str]:
        async with SandboxPool(workers=1) as pool:
            return await which_isolation(), pool.description

    (level, why), description = asyncio.run(both())
    assert (level, why) == ("bubblewrap", description)


def test_without_bwrap_it_is_landlock_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coderm_sandbox.isolation.bwrap_paths", list)
    monkeypatch.setattr("coderm_sandbox.host.bwrap_paths", list)
    level, why = asyncio.run(which_isolation())
    assert level == "landlock"
    assert "instead of bubblewrap (There is no bwrap" in why
    monkeypatch.setattr("coderm_sandbox.isolation.NEWEST_ABI", 0)
    level, why = asyncio.run(which_isolation())
    assert level is None
    assert "no bwrap" in why
    assert "ABI 0" in why
    (fact,) = [fact for fact in host_facts() if fact.name == "bwrap"]
    assert fact.ok is False
    assert "apt-get install bubblewrap" in fact.advice


def broken_bwrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    path = tmp_path / "bwrap"
    path.write_text(
        "#!/bin/sh\n[ $1 = --version ] && echo bubblewrap 9.9 && exit\n"
        "echo 'bwrap: Creating new namespace failed: Operation not permitted' >&2\nexit 1\n"
    )
    path.chmod(0o755)
    for module in ("isolation", "host"):
        monkeypatch.setattr(f"coderm_sandbox.{module}.bwrap_paths", lambda: [str(path)])
    return str(path)


@pytest.mark.parametrize(
    ("place", "words"), [("kubernetes", "securityContext"), ("docker", "--security-opt seccomp=unconfined")]
)
def test_a_container_that_forbids_namespaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, words: str
) -> None:
    path = broken_bwrap(tmp_path, monkeypatch)
    if place == "kubernetes":
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    else:
        monkeypatch.setattr("coderm_sandbox.host._container", lambda: place)
    (fact,) = [fact for fact in host_facts() if fact.name == f"bwrap {path}"]
    assert fact.ok is False
    assert "bubblewrap 9.9" in fact.found
    assert "Operation not permitted" in fact.found
    assert words in fact.advice
    level, why = asyncio.run(which_isolation())
    assert level == "landlock"
    assert "(bwrap: Creating new namespace failed: Operation not permitted)" in why


@pytest.mark.skipif(os.geteuid() != 0, reason="limits the namespaces of this user")
def test_user_namespaces_are_tried_for_real() -> None:
    limit = Path("/proc/sys/user/max_user_namespaces")
    code = "from coderm_sandbox.host import *; "
    code += "print([fact.ok for fact in host_facts() if fact.name == 'user namespaces'])"
    inner = f'echo 0 > {limit} && exec python -c "{code}"'
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", inner],
        capture_output=True, text=True, check=False, env={**os.environ, "PATH": path},
    )  # fmt: skip
    if done.returncode:
        pytest.skip(done.stderr)
    assert done.stdout.strip() == "[False]"
