"""Values between judge and player: a graph of exact built-in types as JSON, everything else by handle.

Leaves (None, bool, int, finite and other floats, str) are themselves. Everything else is a list that
begins with a tag. Containers carry a number, by which both sides know them (see sharing.py), so
that identity, cycles and mutation survive the way. Decoding builds plain values only: no class or
function is looked up by a name that the peer chose, other than in the table of SAFE_TYPES.
"""

from __future__ import annotations

import collections
import datetime
import fractions
import types
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

from .channel import WireError
from .leaves import BIG, LEAVES, is_flat
from .moments import moment_in, moment_out, zone_out
from .sharing import Sharing
from .tables import SAFE_NAMES, SAFE_TYPES, builtin_base

__all__ = ["MALFORMED", "Codec", "UnencodableError"]

_MAX_DEPTH = 400
MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What decoding raises over values that are none; UnicodeError is a ValueError."""


class UnencodableError(Exception):
    """A value that cannot travel: too deep, or a tuple that contains itself."""


class Codec:
    """Encodes one side's values and decodes the other's; `refer` and `resolvers` know the handles."""

    def __init__(
        self,
        shared: Sharing,
        refer: Callable[[Any], list[Any]],
        resolvers: dict[str, Callable[[list[Any]], Any]],
    ) -> None:
        self.shared = shared
        self._refer = refer
        self._depth = 0
        self._fillings: dict[type, tuple[Callable[[Any], Any], Callable[[Any, Any], None]]] = {}
        self._encoders: dict[type, Callable[[Any], Any]] = {
            list: self._list,
            tuple: self._tuple,
            dict: self._dict,
            set: self._set,
            frozenset: lambda v: ["z", self.many(v)],
            bytes: lambda v: ["b", v.decode("latin-1")],
            bytearray: self._mutable("B", lambda v: v.decode("latin-1")),
            complex: lambda v: ["c", v.real, v.imag],
            range: lambda v: ["R", self.encode(v.start), self.encode(v.stop), self.encode(v.step)],
            slice: lambda v: ["sl", self.encode(v.start), self.encode(v.stop), self.encode(v.step)],
            collections.deque: self._mutable("q", self.many, lambda v: [v.maxlen]),
            collections.Counter: self._mutable("C", self.pairs),
            collections.OrderedDict: self._mutable("O", self.pairs),
            collections.defaultdict: self._mutable(
                "f", self.pairs, lambda v: [self.encode(v.default_factory)]
            ),
            Decimal: lambda v: ["D", str(v)],
            fractions.Fraction: lambda v: ["F", self.encode(v.numerator), self.encode(v.denominator)],
            datetime.date: lambda v: ["da", v.isoformat()],
            datetime.time: lambda v: moment_out(self.encode, self._refer, "ti", v),
            datetime.datetime: lambda v: moment_out(self.encode, self._refer, "dt", v),
            datetime.timedelta: lambda v: ["td", v.days, v.seconds, v.microseconds],
            datetime.timezone: lambda v: zone_out(self.encode, v),
            type({}.keys()): lambda v: ["vk", self.many(v)],
            type({}.values()): lambda v: ["vv", self.many(v)],
            type({}.items()): lambda v: ["vi", self.many(v)],
            types.TracebackType: lambda v: None,  # never crosses
            type(Ellipsis): lambda v: ["..."],
            type(NotImplemented): lambda v: ["NI"],
        }
        self._decoders: dict[str, Callable[[list[Any]], Any]] = {
            "@": lambda n: self.shared.find(n[1]),
            "I": self._int_in,
            "L": self._flat_list_in,
            "l": lambda n: self._fill_in(n, []),
            "J": self._flat_dict_in,
            "d": lambda n: self._fill_in(n, {}),
            "s": lambda n: self._fill_in(n, set()),
            "t": lambda n: self.shared.add_fixed(tuple(map(self.decode, n[2])), n[1]),
            "z": lambda n: frozenset(map(self.decode, n[1])),
            "b": lambda n: n[1].encode("latin-1"),
            "B": lambda n: self._fill_in(n, bytearray()),
            "c": lambda n: complex(_number(n[1]), _number(n[2])),
            "R": lambda n: range(*map(self.decode, n[1:4])),
            "sl": lambda n: slice(*map(self.decode, n[1:4])),
            "q": lambda n: self._fill_in(n, collections.deque(maxlen=n[3])),
            "C": lambda n: self._fill_in(n, collections.Counter()),
            "O": lambda n: self._fill_in(n, collections.OrderedDict()),
            "f": lambda n: self._fill_in(n, collections.defaultdict(self.decode(n[3]))),
            "D": lambda n: Decimal(n[1]),
            "F": lambda n: fractions.Fraction(self._int(n[1]), self._int(n[2])),
            "da": lambda n: datetime.date.fromisoformat(n[1]),
            "ti": lambda n: moment_in(self.decode, n, datetime.time),
            "dt": lambda n: moment_in(self.decode, n, datetime.datetime),
            "td": lambda n: datetime.timedelta(n[1], n[2], n[3]),
            "tz": lambda n: (
                datetime.timezone(self.decode(n[1]), *n[2:3]) if len(n) > 1 else datetime.timezone.utc
            ),
            "vk": lambda n: dict.fromkeys(map(self.decode, n[1])).keys(),
            "vv": lambda n: dict(enumerate(map(self.decode, n[1]))).values(),
            "vi": lambda n: dict(map(self.decode, n[1])).items(),
            "...": lambda n: Ellipsis,
            "NI": lambda n: NotImplemented,
            "ty": lambda n: SAFE_TYPES[n[1]],
            **resolvers,
        }

    def add(
        self, kind: type, encoder: Callable[[Any], list[Any]], tag: str, decoder: Callable[[list[Any]], Any]
    ) -> None:
        """Teach one more type (numpy arrays, where numpy is there)."""
        self._encoders[kind] = encoder
        self._decoders[tag] = decoder

    def add_filling(
        self, kind: type, contents: Callable[[Any], Any], fill: Callable[[Any, Any], None]
    ) -> None:
        """Say how the contents of one more mutable type travel (numpy arrays)."""
        self._fillings[kind] = contents, fill

    # Encoding

    def encode(self, value: Any) -> Any:
        """The JSON form of a value. Raises UnencodableError."""
        kind = type(value)
        if kind is str or value is None or kind is bool or kind is float:
            return value
        if kind is int:
            return value if -BIG < value < BIG else ["I", hex(value)]
        encoder = self._encoders.get(kind)
        if encoder is None:
            if isinstance(value, type) and value in SAFE_NAMES:
                return ["ty", SAFE_NAMES[value]]
            encoder = self._refer
        if self._depth > _MAX_DEPTH:
            raise UnencodableError("a value is nested too deeply to travel")
        self._depth += 1
        try:
            return encoder(value)
        finally:
            self._depth -= 1

    def many(self, values: Iterable[Any]) -> list[Any]:
        return [self.encode(value) for value in values]

    def pairs(self, mapping: dict[Any, Any]) -> list[Any]:
        base: Any = builtin_base(type(mapping))
        return [self.encode(part) for pair in base.items(mapping) for part in pair]

    def _list(self, value: list[Any]) -> list[Any]:
        number = self.shared.number(value)
        if number is not None:
            return ["@", number]
        number = self.shared.add(value)
        # The copy that was made for comparing: a node must not keep the container itself alive.
        return ["L", number, self.shared.known(number)] if is_flat(value) else ["l", number, self.many(value)]

    def _dict(self, value: dict[Any, Any]) -> list[Any]:
        number = self.shared.number(value)
        if number is not None:
            return ["@", number]
        number = self.shared.add(value)
        if set(map(type, value)) <= {str} and is_flat(value.values()):
            return ["J", number, value.copy()]
        return ["d", number, self.pairs(value)]

    def _set(self, value: set[Any]) -> list[Any]:
        number = self.shared.number(value)
        return ["@", number] if number is not None else ["s", self.shared.add(value), self.many(value)]

    def _tuple(self, value: tuple[Any, ...]) -> list[Any]:
        number = self.shared.number(value)
        if number is not None:
            if self.shared.is_open(number):
                raise UnencodableError("a tuple that contains itself cannot travel")
            return ["@", number]
        number = self.shared.open_fixed(value)
        parts = self.many(value)
        self.shared.close_fixed(number)
        return ["t", number, parts]

    def _mutable(
        self,
        tag: str,
        contents: Callable[[Any], Any],
        extra: Callable[[Any], list[Any]] = lambda value: [],
    ) -> Callable[[Any], list[Any]]:
        def encode(value: Any) -> list[Any]:
            number = self.shared.number(value)
            if number is not None:
                return ["@", number]
            number = self.shared.add(value)
            return [tag, number, contents(value), *extra(value)]

        return encode

    # Decoding

    def decode(self, node: Any) -> Any:
        """The value of a node. Raises WireError for whatever is none."""
        kind = type(node)
        if kind is str or node is None or kind is bool or kind is int or kind is float:
            return node
        if kind is not list or not node or type(node[0]) is not str:
            raise WireError("sent a value without a tag")
        decoder = self._decoders.get(node[0])
        if decoder is None:
            raise WireError("sent a value with an unknown tag")
        if self._depth > _MAX_DEPTH:
            raise WireError("sent a value that is nested too deeply")
        self._depth += 1
        try:
            return decoder(node)
        except MALFORMED as error:
            raise WireError(f"sent a malformed value ({type(error).__name__})") from None
        finally:
            self._depth -= 1

    def _int(self, node: Any) -> int:
        value = self.decode(node)
        if type(value) is not int:
            raise WireError("sent a malformed number")
        return value

    def _int_in(self, node: list[Any]) -> int:
        return int(node[1], 16)

    def _flat_list_in(self, node: list[Any]) -> list[Any]:
        value = node[2]
        if type(value) is not list or not set(map(type, value)) <= LEAVES:
            raise WireError("sent a malformed list")
        self.shared.add(value, node[1])
        return value

    def _flat_dict_in(self, node: list[Any]) -> dict[str, Any]:
        value = node[2]
        if type(value) is not dict or not set(map(type, value.values())) <= LEAVES:
            raise WireError("sent a malformed dict")
        self.shared.add(value, node[1])
        return value

    def _fill_in(self, node: list[Any], empty: Any) -> Any:
        self.shared.add(empty, node[1])
        self.fill(empty, node[2])
        self.shared.note(node[1])
        return empty

    def contents(self, value: Any) -> Any:
        """What `fill` needs to give a container of the peer's the contents of ours."""
        if type(value) in self._fillings:
            return self._fillings[type(value)][0](value)
        if isinstance(value, dict):
            return self.pairs(value)
        if isinstance(value, bytearray):
            return value.decode("latin-1")
        if isinstance(value, list):
            return self.many(list.__iter__(value))
        if isinstance(value, set):
            return self.many(set.__iter__(value))
        return self.many(collections.deque.__iter__(value))

    def refill(self, value: Any, contents: Any) -> None:
        """`fill` for contents that come by themselves. Raises WireError."""
        try:
            self.fill(value, contents)
        except MALFORMED as error:
            raise WireError(f"sent malformed contents ({type(error).__name__})") from None

    def fill(self, value: Any, contents: Any) -> None:
        """Replace the contents of a container, in place and by the rules of its built-in base."""
        if type(value) in self._fillings:
            self._fillings[type(value)][1](value, contents)
            return
        if isinstance(value, bytearray):
            bytearray.__setitem__(value, slice(None), contents.encode("latin-1"))
            return
        if type(contents) is not list:
            raise WireError("sent malformed contents")
        parts = [self.decode(part) for part in contents]
        if isinstance(value, dict):
            pairs = list(zip(parts[::2], parts[1::2], strict=True))
            base: Any = builtin_base(type(value))
            base.clear(value)
            for key, item in pairs:
                base.__setitem__(value, key, item)
        elif isinstance(value, list):
            list.__setitem__(value, slice(None), parts)
        elif isinstance(value, set):
            set.clear(value)
            set.update(value, parts)
        elif isinstance(value, collections.deque):
            collections.deque.clear(value)
            collections.deque.extend(value, parts)
        else:
            raise WireError("sent contents for what has none")


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise WireError("sent a malformed number")
    return float(value)
