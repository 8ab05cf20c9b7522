"""The watch over one vote, on a clock of our own: what is charged, what is given back, and what ends it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from coderm_sandbox.guest.processes import Usage
from coderm_sandbox.guest.watch import Reading, SupervisorGoneError, Watch

TIMEOUT = 1.0


class Machine:
    """A judge, its supervisor and the player's zygote as far as a watch knows them: sockets and a bell."""

    def __init__(self) -> None:
        self.judge, reports = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.supervisor, control = socket.socketpair()
        self.player, link = socket.socketpair()
        self.sockets = [self.judge, reports, self.supervisor, control, self.player, link]
        self.bell, self._ring = os.pipe()
        self.now = self.delay = self.share = 0.0
        self.tasks = 4
        self.memory = 0
        self.readings = 0
        limits = {"timeout": TIMEOUT, "memory_mb": 1, "processes": 40}
        self.watch = Watch(reports, self.bell, [control, link], limits, self.reading, clock=self.tick)

    def tick(self) -> float:
        """Each look at the clock takes 0.05 s, of which `share` goes by waiting for a core."""
        self.now += 0.05
        self.delay += 0.05 * self.share
        return self.now

    def reading(self) -> Reading:
        self.readings += 1
        return Reading(Usage(self.memory, self.tasks), self.delay)

    def say(self, **message: Any) -> None:
        self.judge.send(json.dumps(message).encode())

    def ring(self) -> None:
        os.write(self._ring, b"!")

    def end(self) -> None:
        """The judge's process ends: everything it holds is closed at once."""
        self.judge.close()
        os.close(self._ring)
        self._ring = -1

    def close(self) -> None:
        for one in self.sockets:
            one.close()
        for descriptor in (self.bell, self._ring):
            if descriptor >= 0:
                os.close(descriptor)


@pytest.fixture
def machine() -> Iterator[Machine]:
    machine = Machine()
    yield machine
    machine.close()


def test_times_out_at_the_timeout(machine: Machine) -> None:
    assert machine.watch.next().kind == "timeout"
    assert 1.0 <= machine.now < 1.3


def test_votes_do_not_stop_the_clock_and_are_heard_before_it_ends(machine: Machine) -> None:
    heard = 0
    machine.say(k="v", p=0)
    while (end := machine.watch.next()).kind == "message":
        assert end.message["k"] == "v"
        heard += 1
        machine.say(k="v", p=heard)  # there is always another one
    assert end.kind == "timeout"
    assert 1.0 <= machine.now < 1.3
    assert heard > 5


def test_what_ends_a_method_counts_before_the_clock(machine: Machine) -> None:
    machine.say(k="v", p=0)
    machine.say(k="m", n="T.a")
    assert [machine.watch.next().message["k"] for _ in range(2)] == ["v", "m"]
    assert machine.now == 0.0


def test_gives_back_what_was_waited(machine: Machine) -> None:
    machine.share = 0.5
    assert machine.watch.next().kind == "timeout"
    assert 2.0 <= machine.now < 2.3


def test_ends_as_starved_at_the_wall(machine: Machine) -> None:
    machine.share = 0.9
    assert machine.watch.next().kind == "starved"
    assert 4.0 <= machine.now < 4.3


def test_calls_nobody_starved_who_crowded_himself_out(machine: Machine) -> None:
    machine.share, machine.tasks = 0.9, 5
    assert machine.watch.next().kind == "timeout"
    assert 4.0 <= machine.now < 4.3


def test_gives_a_storm_nothing_back(machine: Machine) -> None:
    machine.share, machine.tasks = 0.9, 30
    assert machine.watch.next().kind == "timeout"
    assert 1.0 <= machine.now < 1.3


def test_remembers_a_storm_that_is_over(machine: Machine) -> None:
    """Who crowded the machine in the middle of a vote gets nothing back at its end."""
    machine.share, machine.tasks = 0.9, 30
    find = machine.reading

    def calm_after_three() -> Reading:
        if machine.readings == 3:
            machine.tasks = 4
        return find()

    machine.watch._reading = calm_after_three
    assert machine.watch.next().kind == "timeout"
    assert machine.readings > 3
    assert 1.0 <= machine.now < 1.3


def test_does_not_credit_waiting_before_the_start(machine: Machine) -> None:
    machine.delay = 100.0
    assert machine.watch.next().kind == "timeout"
    assert machine.now < 1.3


def test_does_not_credit_waiting_in_an_earlier_vote(machine: Machine) -> None:
    machine.share = 0.9
    assert machine.watch.next().kind == "starved"
    machine.share, before = 0.0, machine.now
    machine.watch.restart()
    assert machine.watch.next().kind == "timeout"
    assert 1.0 <= machine.now - before < 1.3


def test_a_storm_in_an_earlier_vote_costs_the_next_one_nothing(machine: Machine) -> None:
    machine.tasks = 30
    assert machine.watch.next().kind == "timeout"
    machine.tasks, machine.share, before = 4, 0.5, machine.now
    machine.watch.restart()
    assert machine.watch.next().kind == "timeout"
    assert 2.0 <= machine.now - before < 2.3


def test_restart_takes_other_seconds(machine: Machine) -> None:
    machine.watch.restart(3.0)
    assert machine.watch.next().kind == "timeout"
    assert 3.0 <= machine.now < 3.3


def test_each_message_is_its_own_end_and_in_order(machine: Machine) -> None:
    for number in range(5):
        machine.say(k="m", n=number)
    machine.ring()
    assert [machine.watch.next().message["n"] for _ in range(5)] == [0, 1, 2, 3, 4]
    assert machine.readings == 0, "nothing had to be measured"


def test_reads_without_a_bell(machine: Machine) -> None:
    machine.say(k="m")
    assert machine.watch.next().message == {"k": "m"}


@pytest.mark.parametrize("rings", [True, False])
def test_reads_what_came_in_time_however_late(machine: Machine, rings: bool) -> None:
    machine.say(k="done")
    if rings:
        machine.ring()
    machine.now = 50.0
    assert machine.watch.next().message == {"k": "done"}


def test_the_clock_starts_anew_with_every_vote(machine: Machine) -> None:
    for number in range(3):
        machine.watch.restart()
        assert machine.watch.next().kind == "timeout"
        assert machine.now < 1.3 * (number + 1)


def test_a_bell_without_a_message_buys_no_time(machine: Machine) -> None:
    ring = machine.tick

    def ringing() -> float:
        machine.ring()
        return ring()

    machine.watch._clock = ringing
    assert machine.watch.next().kind == "timeout"
    assert 1.0 <= machine.now < 1.3


def test_sees_the_memory_limit(machine: Machine) -> None:
    machine.memory = 2 << 20
    assert machine.watch.next().kind == "memory"
    assert machine.now < 0.3, "at the first look, not at the timeout"


def test_memory_at_the_limit_is_not_over_it(machine: Machine) -> None:
    machine.memory = 1 << 20
    assert machine.watch.next().kind == "timeout"


def test_sees_limits_after_messages_that_came_before(machine: Machine) -> None:
    """What was reported stands; then the limit ends the vote."""
    machine.memory = 2 << 20
    for _ in range(10):
        machine.say(k="m")
    kinds = [machine.watch.next().kind for _ in range(11)]
    assert kinds == ["message"] * 10 + ["memory"]


@pytest.mark.parametrize(("tasks", "kind"), [(44, "timeout"), (45, "processes")])
def test_counts_processes(machine: Machine, tasks: int, kind: str) -> None:
    """Four are ours: the judge and the player, and the two that forked these."""
    machine.tasks = tasks
    assert machine.watch.next().kind == kind


def test_sees_the_end_of_the_judge(machine: Machine) -> None:
    machine.end()
    assert machine.watch.next().kind == "gone"
    assert machine.watch.next().kind == "gone"


@pytest.mark.parametrize("count", [1, 100])
def test_reads_the_last_words_of_a_judge_that_ended(machine: Machine, count: int) -> None:
    machine.judge.setblocking(False)
    for number in range(count):
        machine.say(k="m", n=number)
    machine.ring()
    machine.end()
    found = [machine.watch.next() for _ in range(count + 1)]
    assert [end.kind for end in found] == ["message"] * count + ["gone"]


@pytest.mark.parametrize(
    "who",
    [
        pytest.param(lambda machine: machine.supervisor, id="supervisor"),
        pytest.param(lambda machine: machine.player, id="zygote-of-the-player"),
    ],
)
def test_stops_when_somebody_it_needs_is_gone(
    machine: Machine, who: Callable[[Machine], socket.socket]
) -> None:
    who(machine).close()
    with pytest.raises(SupervisorGoneError):
        machine.watch.next()


def test_stops_when_the_zygote_of_the_player_ends_while_it_is_measured(machine: Machine) -> None:
    def gone() -> Reading:
        raise SupervisorGoneError

    machine.watch._reading = gone
    with pytest.raises(SupervisorGoneError):
        machine.watch.next()


def test_a_judge_that_closes_its_reports_only_is_gone(machine: Machine) -> None:
    machine.judge.close()
    assert machine.watch.next().kind == "gone"
