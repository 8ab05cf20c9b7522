"""A real vLLM server with a real, tiny model, for tests that start and kill it; see scripts/vllm-cpu."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

__all__ = ["MODEL", "MODEL_FOLDER", "ROOT", "VENV_PYTHON", "RealServer", "make_ready"]

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "scripts" / "vllm-cpu"
VENV_PYTHON = ROOT / ".venv-vllm" / "bin" / "python"
MODEL = "smollm2"
MODEL_FOLDER = ROOT / ".venv-vllm" / "SmolLM2-135M-Instruct"
START = 900.0
"""Seconds that the server may take to start on a busy machine."""


def make_ready() -> None:
    """Make environment and model; at once if they are there."""
    subprocess.run([str(SCRIPT)], check=True)


class RealServer:
    """vLLM on a port of its own, in a session of its own, so that its whole process tree can be killed."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return once it answers."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(SCRIPT), "serve", str(self.port), "--enable-scale-out"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START
        while not self._is_healthy():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.5)

    def kill(self) -> None:
        """SIGKILL all of it; waits for nothing."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def wait_until_gone(self) -> None:
        """Return when none of its processes is left."""
        assert self._process is not None
        self._process.wait(60)
        deadline = time.monotonic() + 60
        while self.processes():
            assert time.monotonic() < deadline, f"left over: {self.processes()}"
            time.sleep(0.05)

    def processes(self) -> list[int]:
        """Ids of the live processes of its session: API server, engine, worker."""
        assert self._process is not None
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
                if int(session) == self._process.pid and state != "Z":
                    found.append(int(stat.parent.name))
        return found

    def log(self) -> str:
        """The end of what it printed."""
        return self._log.read_text(errors="replace")[-4000:]

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Its JSON answer; raises urllib.error.HTTPError for other than 200."""
        data = json.dumps({"model": MODEL, **body}).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def finished_requests(self) -> int:
        """How many requests it has answered with a whole text since it started."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=60) as answer:
            lines = answer.read().decode().splitlines()
        return int(
            sum(float(line.split()[-1]) for line in lines if line.startswith("vllm:request_success_total"))
        )

    def _is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=10) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False
