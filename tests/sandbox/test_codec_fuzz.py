"""What a judge makes of bytes and messages that no honest player sends: a value, or an error that says so."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import threading
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from coderm_sandbox.guest.channel import MAX_MESSAGE, Channel, PlayerLostError, WireError
from coderm_sandbox.guest.exports import Owner
from coderm_sandbox.guest.lending import JudgeOwner
from coderm_sandbox.guest.peer import Peer

RUN = settings(deadline=None, max_examples=500)


class Lent:
    """An object of a test."""

    shown = 1


def judged(data: bytes, expect: bool = False) -> Any:
    """What a judge that has asked for something gets from these bytes, after which the player ends.

    Returns the value, or the exception where it is one that may come of it.
    """
    ours, theirs = socket.socketpair()
    peer = Peer(Channel(ours), JudgeOwner(), judge=True)
    writer = threading.Thread(target=_write, args=(theirs, data))
    writer.start()
    try:
        if expect:
            return peer.expect("ready", "loaded")
        return peer.ask("call", Lent(), "", [1, [2]], {"a": {3}})
    except (WireError, PlayerLostError) as error:
        return error
    except BaseException as error:
        if not peer.proxies.was_raised(error):
            raise
        return error
    finally:
        ours.close()
        writer.join()


def _write(sock: socket.socket, data: bytes) -> None:
    with sock:
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(1 << 16):  # so that the judge can say what it likes
                pass
        except OSError:
            pass  # the judge had heard enough


def frame(message: Any) -> bytes:
    body = json.dumps(message).encode("ascii")
    return struct.pack("!I", len(body)) + body


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 9),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from(
        ["", "1", "int", "list", "dict", "ValueError", "0x10", "2020-01-01", "__class__", "eval"]
    ),
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
TAGS = sorted(Peer(Channel(), Owner(), judge=True).codec._decoders)
NODES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(TAGS), st.integers(-1, 9), inner, inner, inner, inner).map(list),
        st.tuples(st.sampled_from(TAGS), st.integers(-1, 9), st.lists(inner, max_size=4), inner).map(list),
        st.tuples(st.sampled_from(TAGS), inner).map(list),
        st.tuples(st.sampled_from(TAGS), st.lists(inner, max_size=4)).map(list),
        st.lists(inner, max_size=3),
    ),
    max_leaves=10,
)
UPDATES = st.lists(st.tuples(st.integers(-1, 9), NODES).map(list), max_size=2) | JSON
OPERATIONS = st.sampled_from(["call", "method", "get", "set", "del", "special", "send", "await", "x"]) | JSON
MESSAGES = st.one_of(
    st.tuples(st.sampled_from(["r", "x"]), NODES, UPDATES, JSON | st.just([]), JSON).map(list),
    st.tuples(
        st.just("q"),
        OPERATIONS,
        st.lists(NODES | st.just(["h", 0]) | st.just("shown"), max_size=4),
        UPDATES | st.just([]),
        st.just([]) | JSON,
        st.integers(0, 1),
        JSON,
    ).map(list),
    JSON,
)


@RUN
@given(st.binary(max_size=64), st.booleans())
@example(b"\xff\xff\xff\xff", False)
@example(struct.pack("!I", MAX_MESSAGE + 1), False)
@example(struct.pack("!I", MAX_MESSAGE) + b"[", False)
@example(b"\0\0\0\0", False)
@example(struct.pack("!I", 4) + b'["r"', False)
@example(struct.pack("!I", 5000) + b"[" * 5000, False)
@example(struct.pack("!I", 100000) + b"[" * 50000 + b"]" * 50000, False)
@example(struct.pack("!I", 9000) + b'["' + b"1" * 8996 + b'"]', False)
@example(struct.pack("!I", 9000) + b"[" + b"1" * 8998 + b"]", False)
def test_bytes(data: bytes, expect: bool) -> None:
    assert isinstance(judged(data, expect), (WireError, PlayerLostError))


@RUN
@given(st.lists(MESSAGES, min_size=1, max_size=3), st.booleans())
@example([["r", ["B", 1, ""], [[1, 5]], [], None]], False)
@example([["r", ["d", 1, []], [[1, [1]]], [], None]], False)
@example([["r", ["d", 1, []], [[1, [["l", 3, []], 1]]], [], None]], False)
@example([["r", ["s", 1, [["l", 3, []]]], [], [], None]], False)
@example([["r", ["t", 1, [["@", 1]]], [], [], None]], False)
@example([["r", ["l", 1, [["@", 1]]], [], [], None]], False)
@example([["r", ["ty", "eval"], [], [], None]], False)
@example([["r", ["g", "os", "system"], [], [], None]], False)
@example([["x", ["X", "SystemExit", [0], None, 0], [], [], None]], False)
@example([["x", ["sx", "os", "system"], [], [], None]], False)
@example([["x", ["sx", "subprocess", "Popen"], [], [], None]], False)
@example([["q", "call", [["ty", "int"], "", "1"], [], [], 1, None]], False)
@example([["q", "special", [["h", 0], "__init__"], [], [], 1, None]], False)
@example([["q", "get", [["h", 0], "__class__"], [], [], 1, None]], False)
@example([["q", "set", [["h", 0], "shown", ["h", 0]], [], [], 1, None]], False)
def test_messages(messages: list[Any], expect: bool) -> None:
    judged(b"".join(map(frame, messages)) + frame(["r", 1, [], [], None]), expect)


@RUN
@given(st.lists(MESSAGES, min_size=1, max_size=2), st.data())
def test_messages_with_a_wrong_byte(messages: list[Any], data: Any) -> None:
    """The length stays right, so that what is damaged is the message and not only its end."""
    whole = bytearray(b"".join(map(frame, messages)))
    place = data.draw(st.integers(0, len(whole) - 1).filter(lambda n: n > 3))
    whole[place] = data.draw(st.integers(0, 255))
    judged(bytes(whole))


@pytest.mark.parametrize("kind", ["l", "t"])
def test_a_deep_value(kind: str) -> None:
    start = "".join(f'["{kind}",{2 * number + 1},[' for number in range(900))
    body = f'["r",{start}{"]]" * 900},[],[],null]'.encode()
    assert isinstance(judged(struct.pack("!I", len(body)) + body), WireError)


@pytest.mark.parametrize(
    "node",
    [
        ["F", "1e999999999", None],
        ["F", ["D", "1e999999999"], None],
        ["I", "f" * 1_000_000],
        ["D", "1e999999999"],
        ["R", 0, ["I", "f" * 100_000], 1],
        ["q", 1, [], 1 << 60],
        ["td", 10**30, 0, 0],
        ["z", [["D", "1e999999999"], ["F", 1, ["I", "f" * 10_000]]]],
        ["C", 1, ["a", ["I", "f" * 1_000_000]]],
    ],
    ids=lambda node: json.dumps(node)[:40],
)
def test_a_short_node_is_not_a_long_computation(node: Any) -> None:
    """In a process of its own, with a processor limit: it may say no, but not compute for ever."""
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (5, 5))\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "from coderm_sandbox.guest.channel import Channel, WireError\n"
        "from coderm_sandbox.guest.lending import JudgeOwner\n"
        "from coderm_sandbox.guest.peer import Peer\n"
        "import json\n"
        "peer = Peer(Channel(), JudgeOwner(), judge=True)\n"
        "try:\n"
        "    peer.codec.decode(json.loads(sys.stdin.read()))\n"
        "except WireError:\n"
        "    pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(node), text=True, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_nothing_is_imported_or_run_by_a_message() -> None:
    """Every audit event of an import, a compilation or a process, while a judge reads all kinds of nodes."""
    code = """if True:
        import json, sys
        from coderm_sandbox.guest.channel import Channel, WireError
        from coderm_sandbox.guest.lending import JudgeOwner
        from coderm_sandbox.guest.peer import Peer
        peer = Peer(Channel(), JudgeOwner(), judge=True)
        nodes = json.loads(sys.stdin.read())
        loaded, seen = set(sys.modules), []
        watched = ("exec", "compile", "os.system", "subprocess.Popen", "os.exec", "os.fork", "open")
        sys.addaudithook(lambda event, arguments: seen.append(event) if event in watched else None)
        for node in nodes:
            try:
                peer.codec.decode(node)
            except WireError:
                pass
        assert seen == [], seen
        assert set(sys.modules) == loaded, set(sys.modules) - loaded
    """
    names = ["os", "os.system", "subprocess", "antigravity", "builtins.eval", "test_solution", "eval", "type"]
    nodes = [[tag, *rest] for tag in TAGS for name in names for rest in ([name], [name, "system"])]
    done = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(nodes), text=True, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, "")
