"""Generators and coroutines of the other side: real ones here, which ask for each step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .proxies import Proxies

__all__ = ["async_generator", "coroutine", "generator"]


class _Number:
    """Names an object of the other side that has no stand-in of its own."""

    def __init__(self, proxies: Proxies, number: int) -> None:
        proxies.keep_number(self, number)


def generator(proxies: Proxies, number: int) -> Any:
    return _run_generator(proxies, _Number(proxies, number))


def _run_generator(proxies: Proxies, target: Any) -> Any:
    step: tuple[Any, ...] = ("send", None)
    while True:
        try:
            value = proxies.ask(step[0], target, *step[1:])
        except StopIteration as stop:
            return stop.value
        try:
            step = ("send", (yield value))
        except GeneratorExit:
            if proxies.node(target) is not None:  # else it is only being forgotten
                proxies.ask("close", target)
            raise
        except BaseException as error:  # noqa: BLE001  (thrown in by the test: the other side's to handle)
            step = ("throw", error)


def coroutine(proxies: Proxies, number: int) -> Any:
    return _run_coroutine(proxies, _Number(proxies, number))


async def _run_coroutine(proxies: Proxies, target: Any) -> Any:
    return proxies.ask("await", target)


def async_generator(proxies: Proxies, number: int) -> Any:
    return _run_async_generator(proxies, _Number(proxies, number))


async def _run_async_generator(proxies: Proxies, target: Any) -> Any:
    step: tuple[Any, ...] = ("asend", None)
    while True:
        try:
            value = proxies.ask("await", proxies.ask(step[0], target, *step[1:]))
        except StopAsyncIteration:
            return
        step = ("asend", (yield value))
