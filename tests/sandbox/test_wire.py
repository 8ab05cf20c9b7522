"""Frames and the filter program, as bytes."""

from __future__ import annotations

import contextlib
import json
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderm_sandbox.guest import seccomp, wire

TEXT = st.text(st.characters(), max_size=50)  # lone surrogates included


@given(st.dictionaries(TEXT, st.one_of(TEXT, st.integers(), st.none(), st.lists(TEXT))))
def test_a_frame_comes_back_as_it_was(message: dict[str, object]) -> None:
    left, right = socket.socketpair()
    with left, right:
        wire.send_frame(left, message)
        assert wire.recv_frame(right) == message


@given(TEXT)
def test_weight_is_never_too_little(text: str) -> None:
    assert wire.weight(text) >= len(json.dumps(text))


def test_weight_of_long_texts_is_exact() -> None:
    text = "x\n" * (1 << 20)
    assert wire.weight(text) == len(json.dumps(text))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_an_error(data: bytes) -> None:
    with contextlib.suppress(wire.FrameError):
        assert isinstance(wire.decode_body(data), dict)


def test_a_closed_peer_is_none() -> None:
    left, right = socket.socketpair()
    left.close()
    with right:
        assert wire.recv_frame(right) is None


def test_a_frame_that_is_too_long_is_refused() -> None:
    left, right = socket.socketpair()
    with left, right:
        left.sendall(wire.HEADER.pack(wire.MAX_FRAME + 1))
        with pytest.raises(wire.FrameError):
            wire.recv_frame(right)
    with pytest.raises(wire.FrameError):
        wire.encode({"x": "y" * wire.MAX_FRAME})


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_is_a_program_the_kernel_takes(machine: str) -> None:
    program = seccomp.build_filter(machine)
    assert len(program) % 8 == 0
    assert len(program) // 8 <= 4096
    jumps = [(program[i + 2], program[i + 3]) for i in range(0, len(program), 8)]
    assert all(at + 1 + max(jump) < len(jumps) for at, jump in enumerate(jumps) if max(jump))


def test_other_machines_have_no_filter() -> None:
    assert not seccomp.supported("riscv64")
    assert seccomp.supported("aarch64")
