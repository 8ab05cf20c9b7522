"""The zygote of the judges: answers the supervisor, with judges that it forks and players that it asks for.

Requests come one at a time over the control socket:
  {"op": "run", "solution", "tests": [{"s": source, "c": class or null, "m": [methods], "v": whether its
   assertions vote}], "limits", "strict"}
  {"op": "inspect", "tests", "limits"}
Answers: {"a": [one object per test, in order, then corrections of some, see softrun.py]}, in as many frames
as it takes, then {"end": true, "clean"};
{"alive": true} now and then where nothing else is sent for long. The players' zygote (playerzygote.py)
serves this one, over a socket that the supervisor makes and hands over.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any

from . import processes, wire
from .bench import bench_main
from .endings import OUR_FAILURE
from .jobrun import JobRun
from .judgedtest import REMEMBERED, REMEMBERED_CHARACTERS, JudgedTest, TextReading, read_text
from .pair import Pair
from .playerzygote import RemotePlayer
from .scratch import Scratch
from .softrun import SoftRun
from .watch import Reading, SupervisorGoneError, Watch

__all__ = ["PRELOAD", "JudgeZygote", "warm"]

PRELOAD = (
    *("unittest.mock", "unittest.async_case", "array", "asyncio", "csv", "dataclasses", "enum", "hashlib"),
    *("inspect", "queue", "statistics", "struct", "tempfile", "textwrap", "threading", "traceback", "uuid"),
)
"""What tests import, beyond what we do: imported before the first fork."""
_JOBS_PER_JUDGE = 256


def _mode(tests: list[JudgedTest], may_be_hosted: bool) -> str:
    """How the player is started; see RemotePlayer."""
    if any(test.reading.inline for test in tests):
        return "inline"
    return "host" if may_be_hosted and all(test.reading.traceless for test in tests) else "fork"


class _Bench:
    """A forked process of judges and our ends of what it is connected with."""

    def __init__(self, known: dict[tuple[str, bool], TextReading], limits: dict[str, Any], home: str) -> None:
        self.limits = limits
        self.jobs = 0
        self.news = 0
        self._told = {text: number for number, text in enumerate(known)}
        """The texts of which it has been told what they say of themselves, and their numbers there."""
        self.reports, told = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._orders, ordered = socket.socketpair()
        self.bell, ring = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.setsid()
                bench_main(ordered, told, ring, known, limits, home)
            finally:
                os._exit(OUR_FAILURE)
        for ended in (told, ordered):
            ended.close()
        os.close(ring)

    def order(self, command: dict[str, Any]) -> None:
        """Say what to do next."""
        with contextlib.suppress(OSError):  # it has ended: that shows with the reports
            wire.send_frame(self._orders, command)

    def take_on(
        self, tests: list[JudgedTest], solution: str | None, stateless: bool, channel: socket.socket
    ) -> None:
        """Hand over the tests of a job and the channel to its player; see `Bench`."""
        self.order(
            {
                "op": "job",
                "solution": solution,
                "stateless": stateless,
                "forked": not all(test.reading.traceless for test in tests),
                "tests": [
                    {**self._text(test), "c": test.class_name, "m": test.methods, "v": test.soft}
                    for test in tests
                ],
            }
        )
        with contextlib.suppress(OSError):
            socket.send_fds(self._orders, [b"c"], [channel.fileno()])

    def _text(self, test: JudgedTest) -> dict[str, Any]:
        """The text of a test for `Bench`: its number, and the first time what we know of it."""
        if test.reading.code is None:
            return {"number": None, "s": test.source}
        number = self._told.get(test.text)
        if number is not None:
            return {"number": number}
        number = self._told[test.text] = len(self._told)
        self.news += 1
        return {"number": number, "s": test.source, "read": test.reading.packed()}

    def close(self) -> None:
        self.reports.close()
        self._orders.close()
        os.close(self.bell)


class JudgeZygote:
    """Serves the supervisor's requests until the control socket closes."""

    def __init__(self, control: socket.socket, scratch: Scratch) -> None:
        self._control = control
        self._scratch = scratch
        self._known: dict[tuple[str, bool], TextReading] = {}
        self._base_rss = self._enough = 0
        self._answers: list[dict[str, Any]] = []
        self._bench: _Bench | None = None
        self._inspects = False

    def serve(self) -> None:
        if wire.recv_frame(self._control) is None:
            return
        _, (link,), _, _ = socket.recv_fds(self._control, 1, 1)
        self._player = RemotePlayer(socket.socket(fileno=link))
        while True:
            request = wire.recv_frame(self._control)
            if request is None:
                return
            try:
                clean = self._job(request)
                self._flush()
                wire.send_frame(self._control, {"end": True, "clean": clean})
            except (SupervisorGoneError, ConnectionError):
                return
            if not clean:
                return

    def _test(self, test: dict[str, Any], solution: str) -> JudgedTest:
        judged = JudgedTest(test["s"], test["c"], test["m"], soft=test["v"])
        if len(judged.source) > REMEMBERED_CHARACTERS:
            return judged
        known = self._known.get(judged.text) or read_text(*judged.text)
        if known is None:  # no test at all
            return judged._replace(methods=[])
        self._known[judged.text] = known
        while len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]
        return judged._replace(reading=known.for_solution(solution))

    def _send(self, message: dict[str, Any]) -> None:
        if "alive" in message:
            self._flush(message)
        else:
            self._answers.append(message)

    def _flush(self, otherwise: dict[str, Any] | None = None) -> None:
        if self._answers:
            wire.send_frame(self._control, {"a": self._answers})
            self._answers = []
        elif otherwise is not None:
            wire.send_frame(self._control, otherwise)

    def _job(self, request: dict[str, Any]) -> bool:
        """Run all tests of one request; True if nothing of it can have been left behind."""
        self._enough = request["limits"]["memory_mb"] << 20
        inspecting = request["op"] == "inspect"
        if inspecting:
            tests = [JudgedTest(t["s"], t["c"], [], soft=t["v"]) for t in request["tests"]]
        else:
            tests = [self._test(test, request["solution"]) for test in request["tests"]]
        softly = SoftRun(tests, self._send)
        run = JobRun(request, tests, softly.take)
        clean = self._drive(run, request, tests)
        again = softly.tests()
        if clean and again:
            self._flush()  # what is known stays known if the worker dies now
            clean = self._drive(JobRun(request, again, softly.correct, before=run), request, again)
        return clean

    def _drive(self, run: JobRun, request: dict[str, Any], tests: list[JudgedTest]) -> bool:
        inspecting = request["op"] == "inspect"
        clean = True
        while clean and not run.finished():
            pair = self._start(request, tests, inspecting, run)
            try:
                run.drive(pair, self)
            finally:
                clean = self._settle(keep=not run.spoiled)
                if not inspecting:
                    clean = self._player.end(ordinary=not run.spoiled) and clean
        return clean

    def _settle(self, keep: bool) -> bool:
        """After a player: keep the judge where it has nothing of it; False if something stays."""
        bench = self._bench
        fresh = bench is not None and bench.jobs < _JOBS_PER_JUDGE and bench.news < REMEMBERED
        if keep and bench is not None and fresh and self._is_slim(bench):
            bench.order({"op": "rest"})
            clean = processes.kill_strays(bench.pid) and self._scratch.wipe()
            if clean:
                return True
        self._dismiss()
        return processes.kill_all() and self._scratch.wipe()

    def _is_slim(self, bench: _Bench) -> bool:
        """Whether what solutions made it hold leaves the next one its memory."""
        return processes.rss(bench.pid) - self._base_rss < self._enough // 8

    def _dismiss(self) -> None:
        if self._bench is not None:
            self._bench.close()
            self._bench = None

    def _start(self, request: dict[str, Any], tests: list[JudgedTest], inspecting: bool, run: JobRun) -> Pair:
        limits = request["limits"]
        if self._bench is None or self._bench.limits != limits:
            if self._bench is not None:
                self._dismiss()
                processes.kill_all()
            self._base_rss = processes.own_rss()
            self._bench = _Bench(self._known, limits, self._scratch.home)
        bench = self._bench
        bench.jobs += 1
        self._inspects = inspecting
        others = [self._control] if inspecting else [self._control, self._player.link]
        reading = self._read_alone if inspecting else self._read_both
        watch = Watch(bench.reports, bench.bell, others, limits, reading)
        hosted = False
        if not inspecting:
            ours, played = socket.socketpair()
            votes = sum(len(test.methods) for test in tests)
            solution, mode = request["solution"], _mode(tests, run.may_be_hosted)
            hosted = self._player.start(solution, limits, votes, mode, played)
            played.close()
            bench.take_on(tests, solution if run.readable and not hosted else None, hosted, ours)
            ours.close()
        return Pair(bench.order, watch, hosted)

    def _read_alone(self) -> Reading:
        ran, waited = processes.descendants_scheduled()
        return Reading(processes.usage(self._base_rss, self._enough), waited, ran)

    def _read_both(self) -> Reading:
        here, there = self._read_alone(), self._player.reading()
        usage = processes.Usage(
            max(here.usage.memory, there.usage.memory), here.usage.tasks + there.usage.tasks
        )
        return Reading(usage, here.waited + there.waited, here.ran + there.ran)

    def forkable(self) -> bool:
        """Whether all that the loaded solution holds is memory of its own, which a fork copies."""
        return self._player.forkable()

    def tidy(self) -> bool:
        """Between two tests: no stray process, nothing in scratch. False asks for a new pair."""
        assert self._bench is not None
        mine = processes.kill_strays(self._bench.pid) and self._scratch.wipe()
        return (self._inspects or self._player.tidy()) and mine

    def tidy_player(self) -> bool:
        return self._player.tidy()

    def player_status(self) -> int | None:
        return self._player.status()


def warm(control: socket.socket, scratch: Scratch) -> JudgeZygote:
    """The zygote, ready to serve."""
    return JudgeZygote(control, scratch)
