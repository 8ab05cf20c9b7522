"""Values between two peers over a socket: exact types, identity, cycles, and containers both sides change.

The player's side is a thread of ours that runs no candidate code.
"""

from __future__ import annotations

import collections
import copy
import datetime
import decimal
import functools
import math
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from coderm_sandbox.guest.channel import Channel, PlayerLostError
from coderm_sandbox.guest.exports import Owner
from coderm_sandbox.guest.lending import JudgeOwner
from coderm_sandbox.guest.peer import Peer

RUN = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
MUTABLE = (list, dict, set, bytearray, collections.deque)


def shape(value: Any) -> str:
    """A text that two values share if and only if they are the same graph of the same exact types."""
    seen: dict[int, int] = {}

    def of(one: Any) -> str:
        kind = type(one).__name__
        if isinstance(one, (list, dict, collections.deque, tuple)) and one != ():
            if id(one) in seen:
                return f"@{seen[id(one)]}"
            seen[id(one)] = len(seen)
        if isinstance(one, dict):
            factory = getattr(one, "default_factory", "")
            pairs = ",".join(f"{of(key)}: {of(item)}" for key, item in one.items())
            return f"{kind} {factory}({pairs})"
        if isinstance(one, (set, frozenset)):
            return f"{kind}{sorted(map(repr, one))}{sorted(type(part).__name__ for part in one)}"
        if isinstance(one, (list, tuple, collections.deque)):
            return f"{kind} {getattr(one, 'maxlen', '')}({','.join(map(of, one))})"
        if isinstance(one, int):
            return f"{kind} {one:x}"
        return f"{kind} {one!r}"

    return of(value)


def containers(root: Any) -> list[Any]:
    """The lists, dicts and deques of a graph, in an order that both sides find."""
    found: list[Any] = []

    def walk(one: Any) -> None:
        if isinstance(one, (list, dict, collections.deque)) and all(one is not other for other in found):
            found.append(one)
            for part in one.values() if isinstance(one, dict) else one:
                walk(part)
        elif type(one) is tuple:
            for part in one:
                walk(part)

    walk(root)
    return found


CHANGES: dict[str, Callable[[Any, Any], Any]] = {
    "grow": lambda one, other: one.update({len(one): other}) if isinstance(one, dict) else one.append(other),
    "clear": lambda one, other: one.clear(),
    "reverse": lambda one, other: None if isinstance(one, dict) else one.reverse(),
    "drop": lambda one, other: one.popitem() if isinstance(one, dict) else one.pop(),
    "to-end": lambda one, other: (
        one.move_to_end(next(iter(one))) if isinstance(one, collections.OrderedDict) else None
    ),
    "replace": lambda one, other: one.__setitem__(next(iter(one)) if isinstance(one, dict) else 0, other),
}


def change(root: Any, what: str, first: int, second: int) -> None:
    """Change one container of a graph; what it is given may be another one of it, or a number."""
    all_of_them = containers(root)
    one = all_of_them[first % len(all_of_them)]
    other = all_of_them[second % len(all_of_them)] if second % 3 else second
    if one or what == "grow":
        CHANGES[what](one, other)


class Pair:
    """The judge's peer, and a thread that answers it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.judge = Peer(Channel(ours), JudgeOwner(), judge=True)
        self._player = Peer(Channel(theirs), Owner(), judge=False)
        self._held: Any = None
        self._player.wants.update(
            echo=lambda arguments: arguments[0],
            copy=lambda arguments: copy.deepcopy(arguments[0]),
            same=lambda arguments: arguments[0] is arguments[1],
            shape=lambda arguments: shape(arguments[0]),
            hold=self._hold,
            held=lambda arguments: self._held,
            held_shape=lambda arguments: shape(self._held),
            change=lambda arguments: change(self._held, *arguments),
        )
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _hold(self, arguments: list[Any]) -> None:
        self._held = arguments[0]

    def _serve(self) -> None:
        try:
            while True:
                self._player.serve(self._player.channel.receive())
        except PlayerLostError:
            pass  # the judge has closed its end
        finally:
            self._player.channel.close()  # or nobody would ever answer the judge

    def ask(self, op: str, *arguments: Any) -> Any:
        return self.judge.ask(op, *arguments)

    def close(self) -> None:
        self.judge.channel.close()
        self._thread.join()


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.close()


ZONES = st.one_of(
    st.none(),
    st.just(datetime.timezone.utc),
    st.builds(
        datetime.timezone,
        st.timedeltas(min_value=datetime.timedelta(hours=-23), max_value=datetime.timedelta(hours=23)),
        st.text(st.characters(codec="utf-8"), max_size=3),
    ),
)
HASHABLE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(1 << 9000), 1 << 9000),
    st.floats(),
    st.text(st.characters(), max_size=8),
    st.binary(max_size=8),
    st.complex_numbers(),
    st.decimals(allow_nan=False),
    st.fractions(),
    st.dates(),
    st.times(timezones=ZONES),
    st.datetimes(timezones=ZONES),
    st.timedeltas(),
    st.just(...),
)
KEYS = st.one_of(HASHABLE, st.tuples(HASHABLE, HASHABLE), st.frozensets(HASHABLE, max_size=3))
LEAVES = st.one_of(
    HASHABLE,
    st.builds(range, st.integers(-99, 99), st.integers(-99, 99), st.integers(1, 9)),
    st.builds(slice, st.integers(), st.none(), st.integers(1 << 70, 1 << 80)),
    st.just(NotImplemented),
    st.sampled_from([int, str, list, ValueError, decimal.Decimal, collections.deque]),
    st.sampled_from([decimal.Decimal("NaN"), decimal.Decimal("sNaN12"), decimal.Decimal("-0E+7")]),
    st.binary(max_size=8).map(bytearray),
    st.frozensets(HASHABLE, max_size=4),
    st.sets(HASHABLE, max_size=4),
)


def _grown(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    pairs = st.dictionaries(KEYS, inner, max_size=3)
    return st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        pairs,
        pairs.map(collections.OrderedDict),
        pairs.map(lambda found: collections.defaultdict(list, found)),
        st.dictionaries(HASHABLE, st.integers(), max_size=3).map(collections.Counter),
        st.builds(collections.deque, st.lists(inner, max_size=4), st.none() | st.integers(0, 3)),
    )


VALUES = st.recursive(LEAVES, _grown, max_leaves=12)


@RUN
@given(VALUES)
@example(-0.0)
@example([math.nan, math.inf, -math.inf, 5e-324])
@example(["\ud800", "\udfff\ud800", "\0", "\U0010ffff", {"\ud800": "\ud800"}])
@example([1 << 8192, -(1 << 8192), (1 << 8192) - 1, 1 << 100_000])
@example([True, 1, 1.0, {True: 1}, {1.0: True}])
@example([(), (), [], {}, set(), frozenset(), b"", bytearray(), ""])
@example(collections.deque([1, 2, 3], 2))
@example(datetime.datetime(2020, 1, 1, 2, fold=1))
@example({(1, (2, frozenset({3}))): [(4,), (4,)]})
def test_a_value_comes_back_as_it_went(pair: Pair, value: Any) -> None:
    before = shape(value)
    assert pair.ask("shape", value) == before
    assert shape(pair.ask("echo", value)) == before
    assert shape(pair.ask("copy", value)) == before
    assert shape(value) == before, "sending changes nothing"


@RUN
@given(VALUES.filter(lambda value: isinstance(value, MUTABLE)))
def test_a_container_comes_back_as_itself(pair: Pair, value: Any) -> None:
    assert pair.ask("echo", value) is value
    assert pair.ask("same", value, value) is True
    (found,) = pair.ask("echo", [value])
    assert found is value


@RUN
@given(VALUES.filter(lambda value: isinstance(value, MUTABLE)))
def test_equal_containers_stay_two(pair: Pair, value: Any) -> None:
    one, two = pair.ask("echo", (value, copy.copy(value)))
    assert one is value is not two


@RUN
@given(VALUES, st.integers(1, 60))
def test_deep_nesting(pair: Pair, value: Any, depth: int) -> None:
    for level in range(depth):
        value = [value] if level % 2 else {"x": (value,)}
    assert pair.ask("shape", value) == shape(value)


@pytest.mark.parametrize("kind", [list, tuple])
def test_too_deep_is_said_and_harms_nothing(pair: Pair, kind: Any) -> None:
    value: Any = kind()
    for _ in range(3000):
        value = kind([value])
    with pytest.raises((TypeError, RecursionError)):
        pair.ask("echo", value)
    assert pair.ask("echo", [1]) == [1]


@st.composite
def graphs(draw: Any) -> Any:
    """Containers that hold each other, themselves and plain values; all reached from the first."""
    default = functools.partial(collections.defaultdict, int)
    kinds = st.sampled_from([list, dict, collections.deque, collections.OrderedDict, default])
    made = [kind() for kind in draw(st.lists(kinds, min_size=1, max_size=5))]
    for one in made:
        parts = draw(st.lists(st.one_of(st.sampled_from(made), HASHABLE), max_size=4))
        CHANGES["grow"](one, 0)
        for part in parts:
            CHANGES["grow"](one, (part, 1) if draw(st.booleans()) else part)
    root = made[0]
    for one in made[1:]:
        CHANGES["grow"](root, one)
    return root


STEPS = st.lists(
    st.tuples(st.booleans(), st.sampled_from(sorted(CHANGES)), st.integers(0, 99), st.integers(0, 99)),
    max_size=8,
)


@RUN
@given(graphs())
def test_cycles(pair: Pair, root: Any) -> None:
    before = shape(root)
    assert pair.ask("shape", root) == shape(pair.ask("copy", root)) == before
    assert pair.ask("echo", root) is root
    assert shape(root) == before


@RUN
@given(graphs(), STEPS)
def test_both_sides_see_every_change(pair: Pair, root: Any, steps: list[tuple[bool, str, int, int]]) -> None:
    """One side changes a container, then the other; after each message both hold the same graph."""
    pair.ask("hold", root)
    for here, what, first, second in steps:
        if here:
            change(root, what, first, second)
        else:
            pair.ask("change", what, first, second)
        assert pair.ask("held_shape") == shape(root)
    assert pair.ask("held") is root


def test_the_order_of_an_ordered_dict_is_a_change(pair: Pair) -> None:
    value = collections.OrderedDict(a=1, b=2, c=3)
    pair.ask("hold", value)
    value.move_to_end("a")
    assert pair.ask("held_shape") == shape(collections.OrderedDict(b=2, c=3, a=1))
    pair.ask("change", "to-end", 0, 0)
    assert list(value) == ["c", "a", "b"]


def test_nothing_is_remembered_of_what_nobody_holds() -> None:
    pair = Pair()
    pair.ask("hold", [[], {}])
    for _ in range(50):
        pair.ask("shape", [[], {}, ([],)])
    assert len(pair.judge.shared.numbers()) == 3, "the other side holds these"
    pair.ask("hold", None)
    pair.ask("shape", 1)
    assert pair.judge.shared.numbers() == []
    pair.close()


def test_a_time_zone_without_a_name_gets_none(pair: Pair) -> None:
    assert pair.ask("shape", datetime.timezone(datetime.timedelta(hours=1))).endswith("(seconds=3600))")
