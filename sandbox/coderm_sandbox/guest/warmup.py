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
_VALUES: tuple[Any, ...] = (
    *(1, 1.5, "a", None, True, ["L", 0, [1, 2]], ["t", 0, [1, 2]], ["J", 0, {"a": 1}]),
    *(["l", 0, [["L", 2, ["a"]]]], ["d", 0, [1, 2]], ["s", 0, [1, 2]]),
)


def _messages() -> list[list[Any]]:
    """Requests as a judge would send them; containers get new numbers each time."""
    number = 100
    messages: list[list[Any]] = [["q", "names", [], [], [], 0, None]]
    for _ in range(_ROUNDS):
        for value in _VALUES:
            for function in (0, 1):
                number += 10
                text = (
                    json.dumps(value)
                    .replace('", 0, [', f'", {number}, [')
                    .replace(", 0, {", f", {number}, {{")
                )
                part = json.loads(text.replace('["L", 2,', f'["L", {number + 2},'))
                messages.append(["q", "call", [["h", function], "", part], [], [], 0, None])
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
