"""One process for many harmless solutions, one after another (harmless.py): no fork, no exit for each.

It lives only as long as nothing else runs beside it: the zygote ends it before it forks a player for a
solution that is not known to be harmless, and after any end that is not the ordinary one.
"""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING, Any

from . import processes, wire
from .channel import PlayerLostError, WireError
from .endings import OUR_FAILURE
from .harmless import harmless_code
from .limiting import allow_cpu, close_others

if TYPE_CHECKING:
    from .player import Player

__all__ = ["PlayerHost"]

_JOBS = 256
_ANSWER_SECONDS = 5.0
"""How long it may take to read a solution, and to let go of one whose judge has gone."""
_YES, _NO, _IDLE = b"y", b"n", b"i"


class PlayerHost:
    """The zygote's view of the process, which is made here."""

    def __init__(self, player: Player, limits: dict[str, Any]) -> None:
        self.limits = limits
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

    def takes(self, request: dict[str, Any], channel: int) -> bool:
        """Whether it serves this solution on the channel; if not, or if it died of it, a fork has to."""
        self._jobs += 1
        try:
            wire.send_frame(self._orders, {"solution": request["solution"], "votes": request["votes"]})
            if self._orders.recv(1) != _YES:
                return False
            socket.send_fds(self._orders, [b"c"], [channel])
        except OSError:
            return False
        return True

    def is_idle(self) -> bool:
        """Whether it has let go of its solution and is fit for another one."""
        try:
            return self._orders.recv(1) == _IDLE and self._jobs < _JOBS
        except OSError:
            return False

    def end(self) -> None:
        """Kill the process; safe if it has gone."""
        self._orders.close()
        os.kill(self.pid, signal.SIGKILL)  # our own unreaped child, so the pid cannot be another's
        os.waitpid(self.pid, 0)


def _serve(player: Player, orders: socket.socket, limits: dict[str, Any]) -> None:
    """Serve solutions until the zygote has gone."""
    processes.die_with_parent()
    close_others(orders.fileno())
    while (order := wire.recv_frame(orders)) is not None:
        try:
            code = harmless_code(order["solution"])
        except (SyntaxError, ValueError):
            code = None  # no program: nothing of it will run
        else:
            if code is None:
                orders.sendall(_NO)
                continue
        orders.sendall(_YES)
        _, (descriptor,), _, _ = socket.recv_fds(orders, 1, 1)
        allow_cpu(limits, order["votes"])
        with socket.socket(fileno=descriptor) as channel:
            player.connect(channel, limits, inline=False)
            try:
                if player.load(order["solution"], code):
                    player.serve()
            except (WireError, PlayerLostError):
                pass  # its judge has let go of it
        player.renew()
        orders.sendall(_IDLE)
