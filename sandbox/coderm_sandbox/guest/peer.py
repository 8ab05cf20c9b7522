"""One end of the conversation between judge and player: requests, answers, and requests in between.

Both ends are built from this class. An object that cannot travel by value stays with its owner and
travels as a number; what the other side wants from it, it asks for with one of the operations in
exports.py. The two ends differ in what they let the other side do (`Owner`).
"""

from __future__ import annotations

from _thread import RLock
from collections.abc import Callable, Sequence
from typing import Any

from .arrays import teach_arrays
from .channel import Channel, PlayerLostError, WireError
from .codec import Codec, UnencodableError
from .exports import Owner
from .proxies import Proxies
from .sharing import Sharing

__all__ = ["Peer"]


class Peer:
    """Asks the other process and answers it.

    Messages are lists: `["q", op, arguments, updates, forgotten, flags, extra]` asks,
    `["r", value, updates, kept, extra]` answers, `["x", exception, updates, kept, extra]` raises.
    `extra` belongs to the side (printed text, patched names); see `outgoing` and `incoming`.
    """

    def __init__(self, channel: Channel, owner: Owner, *, judge: bool) -> None:
        self.channel = channel
        self.shared = Sharing(0 if judge else 1)
        self.owner = owner
        self.proxies = Proxies(self, strict=judge)
        self.codec = Codec(self.shared, self._refer, self._resolvers())
        teach_arrays(self.codec)
        owner.attach(self)
        self.outgoing: Callable[[], Any] = lambda: None
        self.incoming: Callable[[Any], None] = lambda extra: None
        self.wants: dict[str, Callable[[Sequence[Any]], Any]] = {}
        """Requests that concern no object, by name."""
        self.failed: Callable[[BaseException], None] = lambda error: None
        """Told when the other side is gone or breaks the protocol; a test may swallow the exception."""
        self._dead: BaseException | None = None
        self._turn = RLock()
        self._depth = 0
        self._forgotten: list[int] = []

    def _refer(self, value: Any) -> list[Any]:
        mine = self.proxies.node(value)
        return self.owner.node(value) if mine is None else mine

    def _resolvers(self) -> dict[str, Callable[[list[Any]], Any]]:
        return {"h": lambda node: self.owner.find(node[1]), **self.proxies.decoders()}

    def _updates(self) -> list[Any]:
        changed = self.shared.changed()
        return [[n, self.codec.contents(self.shared.mutable(n))] for n in changed]

    def _apply(self, updates: Any) -> None:
        if type(updates) is not list:
            raise WireError("sent malformed updates")
        for update in updates:
            if type(update) is not list or len(update) != 2:
                raise WireError("sent a malformed update")
            self.codec.refill(self.shared.mutable(update[0]), update[1])
            self.shared.note(update[0])

    def ask(self, op: str, *arguments: Any) -> Any:
        """Have the other side do something, and return or raise what came of it.

        Raises:
            WireError: the other side does not keep to the protocol.
            PlayerLostError: there is no other side any more.
        """
        with self._turn:
            return self._ask(op, arguments)

    def _ask(self, op: str, arguments: Sequence[Any]) -> Any:
        if self._dead is not None:
            raise self._dead
        nested = self._depth > 0
        self._depth += 1
        try:
            encoded = self._encode(arguments)
            forgotten, self._forgotten = self._forgotten, []
            extra = self.outgoing()
            self.channel.send(["q", op, encoded, self._updates(), forgotten, int(nested), extra])
            del encoded
            return self._await(nested)
        except (WireError, PlayerLostError) as error:
            self._dead = self._dead or error
            self.failed(error)
            raise
        finally:
            self._depth -= 1

    def _encode(self, values: Sequence[Any]) -> list[Any]:
        mark = self.shared.mark()
        try:
            return self.codec.many(values)
        except UnencodableError as error:
            self.shared.rollback(mark)
            raise TypeError(f"a value cannot cross between the test and the solution: {error}") from None
        except BaseException:
            self.shared.rollback(mark)
            raise

    def _await(self, nested: bool) -> Any:
        while True:
            message = self.channel.receive()
            kind = message[0]
            if kind == "q" and len(message) == 7:
                self._answer(message, nested=True)
                continue
            if kind == "died":
                raise PlayerLostError(message[-1])
            if kind not in ("r", "x") or len(message) != 5:
                raise WireError("sent a message out of turn")
            self.incoming(message[4])
            value = self.codec.decode(message[1])
            self._apply(message[2])
            if not nested:
                self._settle(message[3])
            if kind == "r":
                return value
            if not isinstance(value, BaseException):
                raise WireError("raised what is no exception")
            if message[1][0] != "h":  # an exception of ours comes home
                self.proxies.raised(value)
            raise value

    def expect(self, *kinds: str) -> list[Any]:
        """The next message of one of these kinds; what is asked before it is answered."""
        while True:
            message = self.channel.receive()
            if message[0] in kinds:
                return message
            if message[0] == "died":
                raise PlayerLostError(message[-1])
            if message[0] != "q" or len(message) != 7:
                raise WireError("sent a message out of turn")
            self._answer(message, nested=True)

    def reset(self) -> None:
        """Forget what the two sides share."""
        self.shared.clear()
        self.proxies.reset()
        self._forgotten.clear()

    def renew(self) -> None:
        """Forget the other side altogether: the next message is another one's."""
        self.proxies.forget()
        self.reset()
        self._dead = None
        self._depth = 0

    def _settle(self, kept: Any) -> None:
        """After the last answer: forget the containers that the other side has forgotten."""
        if type(kept) is not list or not all(type(number) is int for number in kept):
            raise WireError("sent a malformed answer")
        self.shared.keep(set(kept))
        if kept:
            self._forgotten += self.shared.unused()

    def serve(self, message: list[Any]) -> None:
        """Answer one request of the other side's that is not part of an answer to ours."""
        if message[0] != "q" or len(message) != 7:
            raise WireError("sent a message out of turn")
        self._depth += 1
        try:
            self._answer(message, nested=False)
        finally:
            self._depth -= 1

    def _answer(self, message: list[Any], nested: bool) -> None:
        _, op, encoded, updates, forgotten, inner, extra = message
        self.incoming(extra)
        if type(op) is not str or type(encoded) is not list or type(forgotten) is not list:
            raise WireError("sent a malformed request")
        arguments = [self.codec.decode(part) for part in encoded]
        self._apply(updates)
        for number in forgotten:
            if type(number) is int:
                self.shared.drop(number)
        del message, encoded, updates
        kind, value = "r", None
        try:
            want = self.wants.get(op)
            result = self.owner.perform(op, arguments) if want is None else want(arguments)
            (value,) = self._encode((result,))
            del result
        except (KeyboardInterrupt, SystemExit, GeneratorExit, Exception) as error:  # noqa: BLE001
            self.owner.reraise(error)
            kind, value = "x", self._exception(error)
            BaseException.__setattr__(error, "__traceback__", None)
        del arguments
        changes = self._updates()
        kept: list[int] = []
        if not (nested or inner):
            self.shared.unused()
            kept = self.shared.numbers()
        try:
            self.channel.send([kind, value, changes, kept, self.outgoing()])
        except OverflowError as error:
            self.channel.send(["x", self.owner.exception(error), [], kept, None])

    def _exception(self, error: BaseException) -> Any:
        mark = self.shared.mark()
        try:
            mine = self.proxies.node(error)
            return self.owner.exception(error) if mine is None else mine
        except (UnencodableError, RecursionError):
            self.shared.rollback(mark)
            return self.owner.exception(RuntimeError("an exception whose arguments cannot travel"))
