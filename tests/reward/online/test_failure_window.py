"""When a training stops for want of rewards."""

from __future__ import annotations

import pickle
import threading
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coderm_reward.errors import TooManyFailuresError
from coderm_reward.online.failure_window import FailureWindow


def failed_at(window: FailureWindow, causes: list[str | None]) -> list[int]:
    """The places at which it raised."""
    places = []
    for place, cause in enumerate(causes):
        try:
            window.add(cause)
        except TooManyFailuresError:
            places.append(place)
    return places


@given(
    st.lists(st.sampled_from([None, None, "server", "sandbox"]), max_size=60),
    st.sampled_from([0.01, 0.1, 0.2, 0.29, 0.3, 0.5, 0.7, 1.0]),
    st.integers(1, 20),
)
def test_it_raises_exactly_while_more_than_the_share_failed(
    causes: list[str | None], share: float, size: int
) -> None:
    most = Fraction(str(share)) * size
    expected = [
        place
        for place, cause in enumerate(causes)
        if cause is not None
        and sum(c is not None for c in causes[max(0, place - size + 1) : place + 1]) > most
    ]
    window = FailureWindow(share, size)
    assert failed_at(window, causes) == expected
    assert window.causes == {c: causes.count(c) for c in ("server", "sandbox") if c in causes}


def test_the_window_need_not_be_full() -> None:
    assert failed_at(FailureWindow(0.2, 200), ["gone"] * 42) == [40, 41]


def test_a_share_that_binary_fractions_miss_is_taken_at_its_word() -> None:
    assert failed_at(FailureWindow(0.29, 100), ["gone"] * 30) == [29]


def test_a_share_of_one_never_stops() -> None:
    assert failed_at(FailureWindow(1.0, 3), ["gone"] * 9) == []


def test_successes_push_failures_out_of_the_window() -> None:
    window = FailureWindow(0.5, 4)
    assert failed_at(window, ["a", "a", None, None, "a", "a", "a"]) == [6]


def test_the_error_is_one_sentence_with_the_commonest_cause_and_the_fix() -> None:
    window = FailureWindow(0.4, 5)
    window.add("the sandbox pool is gone.")
    window.add("the model server does not answer")
    with pytest.raises(TooManyFailuresError) as caught:
        window.add("the model server does not answer")
    assert str(caught.value) == (
        "3 of the last 3 rollouts got no reward for infrastructure reasons (2 of them: the model server does "
        "not answer), more than 0.4 of 5; repair that and go on from the last checkpoint, or raise "
        "training.failure_share."
    )
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_threads_lose_no_count() -> None:
    window = FailureWindow(1.0, 10_000)
    threads = [
        threading.Thread(target=lambda n=n: [window.add(f"cause {n % 2}") for _ in range(500)])
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert window.causes == {"cause 0": 2000, "cause 1": 2000}
