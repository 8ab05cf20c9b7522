"""The zygote that forks players, and the judges' zygote's view of it. Requests come over one socket:

{"op": "start", "solution", "limits", "votes", "mode"} and then one byte with the player's end of a
channel; {"op": "hosted"}, "reading", "forkable", "tidy", "status", "rest" and "end": one frame answers each.
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
from .player import Player, forget_cached, player_main
from .playerhost import PlayerHost
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
        self, solution: str, limits: dict[str, Any], votes: int, mode: str, channel: socket.socket
    ) -> bool:
        """Have a player load the solution and answer on the channel; True if it is known to be stateless.

        `mode` is "fork"; "inline" if tests will run inside the player; or "host" where no test needs a
        process of its own, so that a harmless solution need not have one either.
        """
        self._send({"op": "start", "solution": solution, "limits": limits, "votes": votes, "mode": mode})
        try:
            socket.send_fds(self.link, [b"c"], [channel.fileno()])
        except OSError:
            raise SupervisorGoneError from None
        return mode == "host" and bool(self._ask({"op": "hosted"})["ok"])

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

    def end(self, ordinary: bool) -> bool:
        """Kill the player with all it started and empty its scratch; False if something stays.

        A player that serves one solution after another stays after an ordinary end, to which belongs that
        the judge has closed the channel.
        """
        return bool(self._ask({"op": "rest" if ordinary else "end"})["ok"])


class PlayerZygote:
    """Forks one player at a time and looks after it."""

    def __init__(self, link: socket.socket, scratch: Scratch) -> None:
        self._link = link
        self._scratch = scratch
        self._mappings = processes.shared_mappings("self")
        self._pid = 0
        self._status: int | None = None
        self._base_rss = self._enough = 0
        self._addresses = 0
        """What a process that serves many had mapped when it was made."""
        self._player = Player()
        self._limits: dict[str, Any] = {}
        self._host: PlayerHost | None = None
        self._answers = {
            "hosted": lambda: {"ok": self._host is not None},
            "rest": self._rest,
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
            self._dismiss()
        self._base_rss, self._enough = processes.own_rss(), request["limits"]["memory_mb"] << 20
        self._status = None
        if request["mode"] == "host":
            self._offer(request, descriptor)
        if request["mode"] != "host" or not self._pid:
            self._dismiss()  # what might do anything is never beside what is still to serve others
            self._pid = os.fork()
            if self._pid == 0:
                try:
                    os.setsid()
                    player_main(self._player, socket.socket(fileno=descriptor), request)
                finally:
                    os._exit(OUR_FAILURE)
        os.close(descriptor)

    def _offer(self, request: dict[str, Any], descriptor: int) -> None:
        """Have the process for harmless solutions take this one, if that is what it is."""
        if self._host is None:
            self._host = PlayerHost(self._player, self._limits)
            self._addresses = processes.memory_of(self._host.pid)[0]
        taken = self._host.takes(request, descriptor)
        self._pid = self._host.pid if taken else 0
        if taken == "once":
            self._host = None

    def _dismiss(self) -> None:
        if self._host is not None:
            self._host.end()
            self._host = None

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
                if self._host is not None:
                    self._host.was_reaped = True
            else:
                time.sleep(0.001)
        return {"status": self._status}

    def _rest(self) -> dict[str, Any]:
        """After an ordinary end: keep a process that serves many, if it is fit for the next one."""
        if self._host is None or not self._host.is_idle():
            return self._end()
        mapped, resident = processes.memory_of(self._pid)
        if max(resident - self._base_rss, mapped - self._addresses) > self._enough // 8:
            return self._end()
        return self._tidy()

    def _end(self) -> dict[str, Any]:
        self._dismiss()
        return {"ok": processes.kill_all() and self._scratch.wipe()}


def warm(control: socket.socket, scratch: Scratch) -> PlayerZygote:
    """The zygote, ready to serve."""
    rehearse()
    forget_cached()
    return PlayerZygote(control, scratch)
