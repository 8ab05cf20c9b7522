"""A rehearsal in the players' zygote: what the interpreter learns of our code, every fork inherits.

Python specialises code while it runs, and writes that into the code. Done after a fork, every player
would do it again, each time on a page of its own.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
from typing import Any

from .player import Player
from .solution import SOLUTION_MODULES

__all__ = ["rehearse"]

_ROUNDS = 40
_SOLUTION = """
from typing import List
import math
N = 3
def f(x, *y, **z):
    return x
def g(x):
    raise ValueError(x)
"""
_LIMITS = {"output_mb": 1}


def _values(n: int) -> list[Any]:
    """Arguments as they travel; containers have numbers from `n` on, which no other message has."""
    return [
        *(1, 1.5, "a", None, True, ["L", n, [1, 2]], ["t", n + 2, [1, 2]], ["J", n + 4, {"a": 1}]),
        *(["l", n + 6, [["L", n + 8, ["a"]]]], ["d", n + 10, [1, 2]], ["s", n + 12, [1, 2]]),
    ]


def _messages() -> list[list[Any]]:
    """Requests as a judge would send them, for a function that answers and one that raises."""
    messages: list[list[Any]] = [["q", "names", [], [], [], 0, None]]
    for n in range(2 * _ROUNDS):
        for value in _values(100 * n):
            messages.append(["q", "call", [["h", n % 2], "", value], [], [], 0, None])
    calls = [["fg"[n % 2], [n, "a", ["l", 1, 2], ["t", 1.5], ["d", "a", None]]] for n in range(_ROUNDS)]
    messages += [["ahead", calls]] * 2  # a look through all memory comes after each
    return messages


def rehearse() -> None:
    """Serve made-up requests with a player that is thrown away."""
    limit, path = sys.getrecursionlimit(), list(sys.argv)
    ours, theirs = socket.socketpair()
    player = Player()
    player.connect(theirs, _LIMITS, inline=False)
    player.load(_SOLUTION)
    for message in _messages():
        body = json.dumps(message).encode("ascii")
        ours.sendall(struct.pack("!I", len(body)) + body)
        player.serve_one()
        ours.recv(1 << 16)
    ours.close()
    theirs.close()
    sys.setrecursionlimit(limit)
    sys.argv[:] = path
    for name in SOLUTION_MODULES:
        sys.modules.pop(name, None)
