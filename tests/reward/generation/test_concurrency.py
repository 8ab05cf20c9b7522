"""The rules of how many requests a server gets, and when it counts as dead: pure, on a made-up clock."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coderm_reward.generation.concurrency import (
    DROPS_TO_DEAD,
    FEWEST_SAMPLES,
    FIRST_LIMIT,
    HOLD_ROUNDS,
    ROUNDS_TO_DEAD,
    TIMEOUTS_TO_DEAD,
    AdaptiveLimit,
    ServerHealth,
    retry_after_seconds,
)

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=timezone.utc)
EVENTS = st.tuples(
    st.sampled_from(["answer", "refusal"]), st.floats(0, 5), st.integers(0, 3000), st.integers(1, 300)
)


class Simulated:
    """A server that answers in the same time up to its capacity, and beyond it in proportion."""

    def __init__(self, limit: AdaptiveLimit, capacity: int) -> None:
        self.limit, self.capacity, self.now = limit, capacity, 0.0

    def rounds(self, count: int) -> int:
        """Send so many waves, each as large as the limit; returns the limit after them."""
        for _ in range(count):
            sent, wave = self.now, self.limit.limit
            self.now += 10 * max(1.0, wave / self.capacity)
            for _ in range(wave):
                self.limit.succeeded(self.now, sent=sent, tokens=100, in_flight=wave)
        return self.limit.limit


def test_it_doubles_to_the_maximum_while_latency_holds() -> None:
    server = Simulated(AdaptiveLimit(500, first=4), capacity=10_000)
    assert [server.rounds(1) for _ in range(8)] == [4, 8, 16, 32, 64, 128, 256, 500]


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 1000))
def test_it_settles_around_what_the_server_can_take(capacity: int) -> None:
    settled = Simulated(AdaptiveLimit(1024, first=8), capacity).rounds(60)
    assert min(capacity, 8) <= settled <= max(8, 2 * capacity)
    assert settled >= capacity / 2


def test_growth_without_gain_is_taken_back_and_tried_again_later() -> None:
    server = Simulated(AdaptiveLimit(1024, first=64), capacity=64)
    assert [server.rounds(1) for _ in range(4)] == [128, 128, 64, 64]
    assert server.rounds(HOLD_ROUNDS - 1) == 64
    server.capacity = 1000
    assert server.rounds(1) == 72


def test_one_slow_round_proves_nothing() -> None:
    server = Simulated(AdaptiveLimit(1024, first=64), capacity=64)
    assert server.rounds(2) == 128
    server.capacity = 1000
    assert server.rounds(1) == 256


def test_nothing_is_learned_while_the_limit_is_not_used_up() -> None:
    limit = AdaptiveLimit(256)
    for _ in range(1000):
        limit.succeeded(1.0, sent=0.0, tokens=100, in_flight=FIRST_LIMIT - 1)
    assert limit.limit == FIRST_LIMIT


def test_latency_is_counted_per_token() -> None:
    limit = AdaptiveLimit(64, first=8)
    for tokens in (100, 100, 800, 100) * 2:
        limit.succeeded(tokens / 100, sent=0.0, tokens=tokens, in_flight=8)
    for tokens in (800, 800, 800, 100) * 2:
        limit.succeeded(10 + tokens / 100, sent=10.0, tokens=tokens, in_flight=16)
    assert limit.limit == 32


def test_a_refusal_halves_once_per_wave_and_blocks() -> None:
    limit = AdaptiveLimit(256, first=64)
    for refusal in range(30):
        limit.refused(10.0 + refusal, sent=1.0, in_flight=64 - refusal, wait=2.0)
    assert (limit.limit, limit.blocked_until) == (32, 41.0)
    limit.refused(50.0, sent=45.0, in_flight=32, wait=0.0)
    assert limit.limit == 16
    limit.refused(60.0, sent=55.0, in_flight=1, wait=0.0)
    assert limit.limit == 1


def test_after_a_refusal_it_grows_by_an_eighth() -> None:
    limit = AdaptiveLimit(256, first=64)
    limit.refused(1.0, sent=0.0, in_flight=64, wait=0.0)
    server = Simulated(limit, capacity=10_000)
    server.now = 2.0
    assert [server.rounds(1) for _ in range(3)] == [36, 40, 45]


def test_answers_to_what_was_sent_under_another_limit_tell_nothing() -> None:
    limit = AdaptiveLimit(256, first=64)
    limit.refused(10.0, sent=0.0, in_flight=64, wait=0.0)
    for _ in range(100):
        limit.succeeded(11.0, sent=5.0, tokens=1, in_flight=32)
    assert limit.limit == 32


@given(st.integers(1, 300), st.integers(1, 300), st.lists(EVENTS, max_size=200))
def test_the_limit_stays_between_one_and_its_maximum(
    maximum: int, first: int, events: list[tuple[str, float, int, int]]
) -> None:
    limit, now = AdaptiveLimit(maximum, first), 0.0
    for kind, seconds, tokens, in_flight in events:
        now += seconds
        if kind == "answer":
            limit.succeeded(now, sent=now - seconds, tokens=tokens, in_flight=in_flight)
        else:
            before = limit.limit
            limit.refused(now, sent=now - seconds, in_flight=in_flight, wait=seconds)
            assert limit.limit <= before
            assert limit.blocked_until >= now + seconds
        assert 1 <= limit.limit <= maximum


def test_few_answers_are_no_round() -> None:
    limit = AdaptiveLimit(256, first=2)
    for _ in range(FEWEST_SAMPLES - 1):
        limit.succeeded(1.0, sent=0.0, tokens=1, in_flight=2)
    assert limit.limit == 2


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("1e9", None),
        ("0", 0.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
        ("Sat, 21 Nov 2026 12:00:10", 10.0),
        ("Sat, 99 Nov 2026 12:00:10 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(header, NOW) == seconds


@given(st.text())
def test_no_header_breaks_it(header: str) -> None:
    found = retry_after_seconds(header, NOW)
    assert found is None or found >= 0


def health(patience: float = 60.0) -> ServerHealth:
    return ServerHealth("http://there/v1", patience=patience, cooldown=10.0)


def test_a_server_that_nobody_can_connect_to_is_dead_after_some_rounds() -> None:
    server, now, pauses = health(), 0.0, []
    for _ in range(ROUNDS_TO_DEAD):
        assert not server.dead
        pauses.append(server.unreachable(now, sent=now, connected=False, why="refused"))
        now += 1 + pauses[-1]
    assert server.dead
    assert pauses[0] == 0 < pauses[1] < pauses[2] < pauses[3]
    sentence = server.turn_away(now)
    assert "http://there/v1" in sentence
    assert "refused" in sentence


def test_attempts_of_one_moment_are_one_round() -> None:
    server = health()
    for _ in range(256):
        assert server.unreachable(1.0, sent=0.5, connected=False, why="refused") == 0
    assert not server.dead


def test_one_answer_starts_the_count_again() -> None:
    server = health()
    for round_ in range(20):
        server.unreachable(float(round_), sent=float(round_), connected=False, why="refused")
        if round_ % (ROUNDS_TO_DEAD - 1) == ROUNDS_TO_DEAD - 2:
            server.answered(float(round_))
        assert not server.dead


def test_connections_that_break_need_many_to_prove_anything() -> None:
    server = health()
    for drop in range(DROPS_TO_DEAD):
        assert not server.dead
        server.unreachable(float(drop), sent=float(drop), connected=True, why="reset")
    assert server.dead


def test_a_server_that_lets_everything_run_out_is_dead() -> None:
    server = health()
    for _ in range(TIMEOUTS_TO_DEAD):
        assert not server.dead
        server.timed_out(60.0, sent=0.0)
    assert "60 s" in server.turn_away(60.0)


def test_timeouts_beside_answers_prove_nothing() -> None:
    server = health()
    server.answered(30.0)
    for _ in range(100):
        server.timed_out(60.0, sent=0.0)
    assert not server.dead


def test_a_server_that_only_refuses_is_dead_when_patience_ends() -> None:
    server = health()
    for now in range(60):
        server.refused(float(now))
        assert not server.dead
    server.refused(60.0)
    assert "429" in server.turn_away(60.0)


def test_one_request_per_cooldown_tries_a_dead_server_and_an_answer_revives_it() -> None:
    server = health()
    for now in range(ROUNDS_TO_DEAD):
        server.unreachable(float(now), sent=float(now), connected=False, why="refused")
    died = float(ROUNDS_TO_DEAD - 1)
    assert server.turn_away(died + 9) != ""
    assert [server.turn_away(died + 10), server.turn_away(died + 10) != ""] == ["", True]
    server.unreachable(died + 11, sent=died + 10, connected=False, why="refused")
    assert server.turn_away(died + 20) != ""
    assert server.turn_away(died + 21) == ""
    server.answered(died + 22)
    assert not server.dead
    assert server.turn_away(died + 22) == ""


def test_a_refusal_shows_that_it_lives() -> None:
    server = health()
    for now in range(ROUNDS_TO_DEAD):
        server.unreachable(float(now), sent=float(now), connected=False, why="refused")
    server.refused(20.0)
    assert not server.dead
