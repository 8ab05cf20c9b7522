"""The zygote that forks players, and the judges' zygote's view of it. Requests come over one socket:

{"op": "start", "solution", "limits", "votes", "inline"} and then one byte with the player's end of a
channel; {"op": "reading"}, "forkable", "tidy", "status" and "end", each answered by one frame.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import Any

from . import processes, wire
from .endings import OUR_FAILURE
from .limiting import DESCRIPTORS, settle
from .player import Player, player_main
from .scratch import Scratch
from .warmup import rehearse
from .watch import Reading, SupervisorGoneError

__all__ = ["PRELOAD", "PlayerZygote", "RemotePlayer", "warm"]

PRELOAD = ("bisect", "cmath", "copy", "heapq", "itertools", "math", "re", "string", "typing")
"""What most solutions import."""

_STATUS_SECONDS = 0.5
"""How long a player that closed its channel may take to be gone."""


class RemotePlayer:
    """What the judges' zygote asks of the players' one.

    Every method raises SupervisorGoneError when that is gone.
    """

    def __init__(self, link: socket.socket) -> None:
        self.link = link

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        self._send(message)
        try:
            answer = wire.recv_frame(self.link)
        except OSError:
            answer = None
        if answer is None:
            raise SupervisorGoneError
        return answer

    def _send(self, message: dict[str, Any]) -> None:
        try:
            wire.send_frame(self.link, message)
        except OSError:
            raise SupervisorGoneError from None

    def start(
        self, solution: str, limits: dict[str, Any], votes: int, inline: bool, channel: socket.socket
    ) -> None:
        """Fork a player that loads the solution and answers on the channel."""
        fields = {"solution": solution, "limits": limits, "votes": votes, "inline": inline}
        self._send({"op": "start", **fields})
        try:
            socket.send_fds(self.link, [b"c"], [channel.fileno()])
        except OSError:
            raise SupervisorGoneError from None

    def reading(self) -> Reading:
        """What the player's processes use."""
        answer = self._ask({"op": "reading"})
        usage = processes.Usage(answer["memory"], answer["tasks"])
        return Reading(usage, answer["waited"], answer["ran"])

    def forkable(self) -> bool:
        """Whether a fork of the player is a copy of it."""
        return bool(self._ask({"op": "forkable"})["ok"])

    def tidy(self) -> bool:
        """Kill everything but the loaded player and empty its scratch; False if that cannot be had."""
        return bool(self._ask({"op": "tidy"})["ok"])

    def status(self) -> int | None:
        """The wait status of a player that ended by itself."""
        return self._ask({"op": "status"})["status"]  # type: ignore[no-any-return]

    def end(self) -> bool:
        """Kill the player with all it started and empty its scratch; False if something stays."""
        return bool(self._ask({"op": "end"})["ok"])


class PlayerZygote:
    """Forks one player at a time and looks after it."""

    def __init__(self, link: socket.socket, scratch: Scratch) -> None:
        self._link = link
        self._scratch = scratch
        self._mappings = processes.shared_mappings("self")
        self._pid = 0
        self._status: int | None = None
        self._base_rss = self._enough = 0
        self._player = Player()
        self._limits: dict[str, Any] = {}
        self._answers = {
            "reading": self._reading,
            "forkable": self._forkable,
            "tidy": self._tidy,
            "status": self._status_of,
            "end": self._end,
        }

    def serve(self) -> None:
        """Serve until the link closes."""
        with contextlib.suppress(OSError):
            while (request := wire.recv_frame(self._link)) is not None:
                if request["op"] == "start":
                    self._start(request)
                else:
                    wire.send_frame(self._link, self._answers[request["op"]]())
        processes.kill_all()

    def _start(self, request: dict[str, Any]) -> None:
        _, (descriptor,), _, _ = socket.recv_fds(self._link, 1, 1)
        if request["limits"] != self._limits:
            self._limits = request["limits"]
            settle(self._limits, self._scratch.home)
        self._base_rss, self._enough = processes.own_rss(), request["limits"]["memory_mb"] << 20
        self._status = None
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                player_main(self._player, socket.socket(fileno=descriptor), request)
            finally:
                os._exit(OUR_FAILURE)
        os.close(descriptor)
        self._pid = pid

    def _reading(self) -> dict[str, Any]:
        used = processes.usage(self._base_rss, self._enough)
        ran, waited = processes.descendants_scheduled()
        return {"memory": used.memory, "tasks": used.tasks, "ran": ran, "waited": waited}

    def _forkable(self) -> dict[str, Any]:
        shares = processes.shares_with_forks(self._pid, DESCRIPTORS, self._mappings)
        return {"ok": not shares and self._scratch.is_empty()}

    def _tidy(self) -> dict[str, Any]:
        return {"ok": processes.kill_strays(self._pid) and self._scratch.wipe()}

    def _status_of(self) -> dict[str, Any]:
        deadline = time.monotonic() + _STATUS_SECONDS
        while self._status is None and time.monotonic() < deadline:
            try:
                pid, status = os.waitpid(self._pid, os.WNOHANG)
            except ChildProcessError:  # it has been reaped with the rest
                break
            if pid:
                self._status = status
            else:
                time.sleep(0.001)
        return {"status": self._status}

    def _end(self) -> dict[str, Any]:
        return {"ok": processes.kill_all() and self._scratch.wipe()}


def warm(control: socket.socket, scratch: Scratch) -> PlayerZygote:
    """The zygote, ready to serve."""
    rehearse()
    return PlayerZygote(control, scratch)
