"""A real `coderm-reward serve` in a process of its own, with recorded tests or a scripted model."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

RECIPE = Path(__file__).resolve().parents[4] / "recipes" / "offline_scoring"
COMMAND = [sys.executable, "-c", "from coderm_reward.cli import main; main()", "serve"]
PATIENCE = 120.0
"""Seconds for what takes one or two on a machine that is not busy."""


if importlib.util.find_spec("prometheus_client") is None:  # the environments of the real models
    collect_ignore_glob = ["test_*.py"]


class Service:
    """A running service; `token` goes into every request of `client`."""

    def __init__(self, *options: object, token: str | None = None, environment: dict[str, str]) -> None:
        command = [*COMMAND, "--port", "0", *map(str, options)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
        )
        self.lines: list[str] = []
        self._arrived: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            self.url = self.wait_for("listening on ").split()[-1]
        except BaseException:
            self._kill()
            raise
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self.client = httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._arrived.put(line.rstrip())
        self._arrived.put(None)

    def wait_for(self, text: str) -> str:
        """Return the next line of its log with this text."""
        while (line := self._arrived.get(timeout=PATIENCE)) is not None:
            self.lines.append(line)
            if text in line:
                return line
        raise AssertionError("\n".join(["the service ended:", *self.lines]))

    def log(self) -> str:
        """All of the log so far."""
        with contextlib.suppress(queue.Empty):
            while (line := self._arrived.get_nowait()) is not None:
                self.lines.append(line)
        return "\n".join(self.lines)

    def descendants(self) -> list[int]:
        """Pids of all processes under it, its own left out."""
        parents: dict[int, int] = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        found = [self.process.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found[1:]

    def metric(self, name: str) -> float:
        """The value of a metric, with its labels."""
        for line in self.client.get("/metrics").text.splitlines():
            if line.rpartition(" ")[0] == name:
                return float(line.rpartition(" ")[2])
        raise AssertionError(f"no metric {name}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def end(self) -> int:
        """Wait for its end, and return its exit code."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def stop(self) -> None:
        """Kill it, if it lives."""
        self.client.close()
        self._kill()

    def _kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self.process.stderr is not None
        self.process.stderr.close()


StartService = Callable[..., Service]


@pytest.fixture(scope="session")
def start_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartService]:
    """Starts services with these options: of recorded tests, or of `model`, and ends them all."""
    running: list[Service] = []

    def start(
        *options: object, model: str | None = None, token: str | None = None, **settings: Any
    ) -> Service:
        source = {} if model is not None else {"tests": str(RECIPE / "unit_tests.jsonl")}
        training = {"quiet_seconds": 0.2, **source, **settings.pop("training", {})}
        file = tmp_path_factory.mktemp("service") / "config.json"
        file.write_text(json.dumps({"training": training, **settings}), "utf-8")
        environment = {name: value for name, value in os.environ.items() if name != "CODERM_TOKEN"}
        if token is not None:
            environment["CODERM_TOKEN"] = token
        named = ["--base-url", model, "--model", "scripted"] if model is not None else []
        service = Service("--config", file, *named, *options, token=token, environment=environment)
        running.append(service)
        return service

    yield start
    for service in running:
        service.stop()


@pytest.fixture(scope="session")
def service(start_service: StartService) -> Service:
    """One with recorded tests and without a token, for all tests that leave it as it is."""
    return start_service()


@pytest.fixture(scope="session")
def groups() -> list[dict[str, Any]]:
    """Complete groups of the example, as /v1/score_batch takes them; none has a rollout that hangs."""
    found: dict[str, list[str]] = {}
    for line in (RECIPE / "dump" / "1.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        found.setdefault(row["input"], []).append(row["output"])
    return [{"prompt": prompt, "responses": responses} for prompt, responses in found.items()][:3]
