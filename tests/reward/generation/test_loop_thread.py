"""An event loop in a thread: nobody who hands it work as it ends waits for ever."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import CancelledError

import pytest

from coderm_reward.generation.loop_thread import LoopThread


def test_what_comes_while_the_loop_ends_is_refused() -> None:
    thread = LoopThread("test")
    begun, ending, may_end = threading.Event(), threading.Event(), asyncio.Event()

    async def slow_to_end() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ending.set()
            await may_end.wait()

    running = thread.submit(slow_to_end())
    assert begun.wait(20)
    stopping = threading.Thread(target=thread.stop, daemon=True)
    stopping.start()
    assert ending.wait(20)
    with pytest.raises((RuntimeError, CancelledError)):
        thread.submit(asyncio.sleep(600)).result(5)
    thread.call(may_end.set)
    stopping.join(20)
    assert not stopping.is_alive()
    assert running.cancelled()
    with pytest.raises(RuntimeError):
        thread.submit(asyncio.sleep(0))
    thread.stop()
