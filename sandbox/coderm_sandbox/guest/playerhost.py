"""One process for many harmless solutions, one after another (harmless.py): no fork, no exit for each.

It lives only as long as nothing else runs beside it: the zygote ends it before it forks a player for a
solution that is not known to be harmless, and after any end that is not the ordinary one. If its very first
solution is not harmless it becomes the player of that one and of no other.
"""

from __future__ import annotations

import os
import signal
import socket
from typing import Any

from . import processes, wire
from .channel import PlayerLostError, WireError
from .endings import OUR_FAILURE
from .harmless import harmless_code
from .limiting import allow_cpu, close_others
from .player import Player, player_main

__all__ = ["PlayerHost"]

_JOBS = 256
_ANSWER_SECONDS = 5.0
"""How long it may take to read a solution, and to let go of one whose judge has gone."""
_YES, _NO, _ONCE, _IDLE = b"y", b"n", b"o", b"i"


class PlayerHost:
    """The zygote's view of the process, which is made here."""

    def __init__(self, player: Player, limits: dict[str, Any]) -> None:
        self.limits = limits
        self.was_reaped = False
        """Whether it ended by itself and its pid may be another's by now."""
        self._jobs = 0
        self._orders, orders = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setsid()
                _serve(player, orders, limits)
            finally:
                os._exit(OUR_FAILURE)
        orders.close()
        self._orders.settimeout(_ANSWER_SECONDS)

    def takes(self, request: dict[str, Any], channel: int) -> str:
        """How it serves this solution: "many" for as one of many, "once", or "" for not at all.

        After "once" the process is like any fork for one solution, and this object is closed.
        """
        self._jobs += 1
        try:
            wire.send_frame(self._orders, {"solution": request["solution"], "votes": request["votes"]})
            answer = self._orders.recv(1)
            if answer not in (_YES, _ONCE):
                return ""
            socket.send_fds(self._orders, [b"c"], [channel])
        except OSError:
            return ""
        if answer == _YES:
            return "many"
        self._orders.close()
        return "once"

    def is_idle(self) -> bool:
        """Whether it has let go of its solution and is fit for another one."""
        try:
            return self._orders.recv(1) == _IDLE and self._jobs < _JOBS
        except OSError:
            return False

    def end(self) -> None:
        """Kill the process; safe if it has gone."""
        self._orders.close()
        if not self.was_reaped:
            os.kill(self.pid, signal.SIGKILL)  # our own unreaped child, so the pid cannot be another's
            os.waitpid(self.pid, 0)


def _serve(player: Player, orders: socket.socket, limits: dict[str, Any]) -> None:
    """Serve solutions until the zygote has gone."""
    processes.die_with_parent()
    close_others(orders.fileno())
    fresh = True
    while (order := wire.recv_frame(orders)) is not None:
        try:
            code = harmless_code(order["solution"])
        except (SyntaxError, ValueError):
            code = None  # no program: nothing of it will run
        else:
            if code is None:
                if fresh:
                    _become_player(player, orders, {**order, "limits": limits, "mode": "fork"})
                    return
                orders.sendall(_NO)
                continue
        fresh = False
        orders.sendall(_YES)
        with _channel(orders) as channel:
            allow_cpu(limits, order["votes"])
            player.connect(channel, limits, inline=False)
            try:
                if player.load(order["solution"], code):
                    player.serve()
            except (WireError, PlayerLostError):
                pass  # its judge has let go of it
        player.renew()
        orders.sendall(_IDLE)


def _become_player(player: Player, orders: socket.socket, request: dict[str, Any]) -> None:
    orders.sendall(_ONCE)
    channel = _channel(orders)
    orders.close()
    player_main(player, channel, request)


def _channel(orders: socket.socket) -> socket.socket:
    _, (descriptor,), _, _ = socket.recv_fds(orders, 1, 1)
    return socket.socket(fileno=descriptor)
