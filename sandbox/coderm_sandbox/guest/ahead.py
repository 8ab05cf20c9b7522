"""Ask a harmless solution in one message what its tests will ask it one by one.

The calls of a test whose arguments are written out are known before it runs. Where a solution is harmless
(harmless.py) it does not matter whether, when and how often they are made, so that their answers can be had
together and each be used where the test calls. Only a plain value is used that way: what raised, printed,
changed or gave back an argument, took long, or returned an object of the solution's is asked for again.
"""

from __future__ import annotations

import ast
import functools
import marshal
import signal
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from .channel import WireError
from .codec import Codec, UnencodableError
from .leaves import BIG
from .sharing import Sharing

__all__ = ["AheadAnswers", "KnownCall", "calls_in", "fingerprint", "look_ahead"]

_MOST_CALLS = 64
_LONGEST = 1 << 12
_SECONDS = 0.02
"""How long all calls of a job may take together before the rest is left to the tests."""
_AGAIN = 0.005
_LARGEST = 1 << 16
_FRAMES = 3
"""Frames below a call that is made ahead, beyond those below one that a test makes."""
_KEPT: dict[type, str] = {list: "l", tuple: "t"}  # no sets: their order depends on how they were made
_MADE: dict[str, Callable[[Any], Any]] = {"l": list, "t": tuple}


class KnownCall(NamedTuple):
    """A call that a test makes: of a name, with arguments as they travel, and their fingerprint."""

    name: str
    arguments: list[Any]
    key: bytes


def calls_in(tree: ast.AST) -> tuple[KnownCall, ...]:
    """The different calls of plain names in a test whose arguments are all written out."""
    found: dict[tuple[str, bytes], KnownCall] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
            call = _known(node.func.id, node.args)
            if call is not None:
                found.setdefault((call.name, call.key), call)
                if len(found) == _MOST_CALLS:
                    break
    return tuple(found.values())


def _known(name: str, nodes: Sequence[ast.expr]) -> KnownCall | None:
    try:
        values = tuple(map(ast.literal_eval, nodes))
        key = fingerprint(values)
        if key is None or len(key) > _LONGEST:
            return None
        return KnownCall(name, [_wire(value) for value in values], key)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def fingerprint(values: tuple[Any, ...]) -> bytes | None:
    """The same bytes for the same values of the same exact types; None for what is not all plain."""
    try:
        return marshal.dumps(values, 2)  # version 2 knows no references, which depend on who holds what
    except ValueError:
        return None


def _wire(value: Any) -> Any:
    """A literal as JSON. ValueError for those that are too rare."""
    kind = type(value)
    if kind is str or value is None or kind is bool or kind is float:
        return value
    if kind is int and -BIG < value < BIG:
        return value
    if kind is dict:
        return ["d", *[_wire(part) for pair in value.items() for part in pair]]
    if kind not in _KEPT:
        raise ValueError("a literal of another type")
    return [_KEPT[kind], *map(_wire, value)]


def _value(node: Any, made: list[Any]) -> Any:
    """The literal of its JSON; the containers are entered into `made`."""
    if type(node) is not list:
        return node
    parts = [_value(part, made) for part in node[1:]]
    value = dict(zip(parts[::2], parts[1::2], strict=True)) if node[0] == "d" else _MADE[node[0]](parts)
    made.append(value)
    return value


def _repeats(values: tuple[Any, ...]) -> bool:
    """Whether some container is in there twice: what was written out were different ones."""
    seen: set[int] = set()
    rest: list[Any] = [values]
    while rest:
        value = rest.pop()
        parts = [*value.keys(), *value.values()] if type(value) is dict else value
        found = [part for part in parts if type(part) in _KEPT or type(part) is dict]
        rest += found
        numbers = [id(part) for part in found if part != ()]
        if len(set(numbers)) < len(numbers) or seen.intersection(numbers):
            return True
        seen.update(numbers)
    return False


def _refuse(value: Any) -> list[Any]:
    raise UnencodableError("an object of the solution's")


@functools.cache
def _plain_codec(first: int) -> tuple[Sharing, Codec]:
    """A codec for plain values only, apart from all that the two sides share."""
    shared = Sharing(first)
    return shared, Codec(shared, _refuse, {})


class AheadAnswers:
    """The judge's side: what is known of a solution's functions, by their stand-ins."""

    def __init__(self) -> None:
        self._shared, self._codec = _plain_codec(0)
        self._by_name: dict[str, dict[bytes, Any]] = {}
        self._by_function: dict[int, dict[bytes, Any]] = {}

    def enter(self, calls: Iterable[KnownCall], answers: Any) -> None:
        """Note the answers to these calls. Raises WireError if they are not in order."""
        calls = list(calls)
        if type(answers) is not list or len(answers) != len(calls):
            raise WireError("sent malformed answers")
        for call, answer in zip(calls, answers, strict=True):
            if type(answer) is list and len(answer) == 1:
                self._by_name.setdefault(call.name, {})[call.key] = answer
            elif answer is not None:
                raise WireError("sent malformed answers")

    def bind(self, names: dict[str, Any], is_function: Callable[[Any], bool]) -> None:
        """Now that the stand-ins of the solution's functions are there."""
        for name, answers in self._by_name.items():
            if is_function(names.get(name)):
                self._by_function[id(names[name])] = answers

    def find(self, function: Any, values: tuple[Any, ...]) -> list[Any] | None:
        """[the answer] if it is known. Raises WireError for a malformed one."""
        answers = self._by_function.get(id(function))
        answer = None if answers is None else answers.get(fingerprint(values) or b"")
        if answer is None or _repeats(values):
            return None
        try:
            # A copy: what is decoded from a node can be the node's own list.
            return [self._codec.decode(marshal.loads(marshal.dumps(answer[0])))]
        finally:
            self._shared.clear()

    def clear(self) -> None:
        """Forget everything: the solution is not what it was, or has gone."""
        self._by_name.clear()
        self._by_function.clear()


class _TookLongError(BaseException):
    """Out of a call that had taken its time; no Exception, or a solution might catch it."""


class _Clock:
    """Raises in this process once the time is over, again and again until it is stopped."""

    def __enter__(self) -> _Clock:
        self._runs, self.rang = True, False
        self._before = signal.signal(signal.SIGALRM, self._ring)
        signal.setitimer(signal.ITIMER_REAL, _SECONDS, _AGAIN)
        return self

    def _ring(self, number: int, frame: types.FrameType | None) -> None:
        if self._runs:
            self.rang = True  # the solution may catch what is raised here
            raise _TookLongError

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> bool:
        self._runs = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._before)
        return kind is _TookLongError


def look_ahead(
    calls: Sequence[Any],
    find: Callable[[str], Any],
    call: Callable[[Any, list[Any]], Any],
    quiet: Callable[[], bool],
) -> list[Any]:
    """The player's side: [answer] for each (name, arguments), or None where the test has to ask.

    `find` gives the function of a name or None, `call` calls it, `quiet` says whether that printed nothing.
    """
    found: list[Any] = []
    frames = sys.getrecursionlimit()
    sys.setrecursionlimit(frames + _FRAMES)
    with _Clock() as clock:
        found.extend(_answers(calls, find, call, lambda: quiet() and not clock.rang))
    quiet()  # what a call that took too long has printed
    _plain_codec(1)[0].clear()
    sys.setrecursionlimit(frames)
    return found + [None] * (len(calls) - len(found))


def _answers(
    calls: Sequence[Any],
    find: Callable[[str], Any],
    call: Callable[[Any, list[Any]], Any],
    quiet: Callable[[], bool],
) -> Iterator[Any]:
    shared, codec = _plain_codec(1)
    for name, nodes in calls:
        function = find(name)
        made: list[Any] = []
        arguments = [_value(node, made) for node in nodes]
        before = fingerprint(tuple(arguments))
        answer = None
        if function is not None:
            try:
                value = call(function, arguments)
                size = len(fingerprint((value,)) or b"")
                answer = [codec.encode(value)] if 0 < size < _LARGEST else None
            except Exception:  # noqa: BLE001
                answer = None  # the test will meet it again
            if not quiet() or before != fingerprint(tuple(arguments)):
                answer = None
            if any(shared.number(value) is not None for value in made):
                answer = None
            shared.clear()
        yield answer
