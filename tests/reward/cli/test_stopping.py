"""Ending work by a signal."""

from __future__ import annotations

import os
import signal

import pytest

from coderm_reward.cli.stopping import StoppedError, stoppable


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_whose_exception_was_lost_is_told_at_the_next_look(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stoppable() as check:
        check()
        with pytest.raises(StoppedError):
            os.kill(os.getpid(), number)
        with pytest.raises(StoppedError) as stopped:
            check()
    assert stopped.value.exit_code == 128 + number
    assert signal.getsignal(number) is before
