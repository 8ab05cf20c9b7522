"""The process of the judges: one solution after another, as the judges' zygote orders."""

from __future__ import annotations

import ast
import os
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from . import processes, runner, wire
from .channel import Channel
from .endings import OUR_FAILURE
from .inspection import inspect_plain_test, inspect_test
from .judge import Judge, Reports
from .judgedtest import JudgedTest, TextReading
from .limiting import allow_cpu, close_others, limit_cpu, settle
from .peer import Peer
from .solution import UNREADABLE
from .stateless import solution_is_stateless

__all__ = ["bench_main"]


class Bench:
    """The process of the judges: one solution after another, as long as nothing is left of any of them."""

    def __init__(
        self,
        orders: socket.socket,
        reports: Reports,
        known: dict[tuple[str, bool], TextReading],
        limits: dict[str, Any],
    ) -> None:
        self._orders = orders
        self._reports = reports
        self._texts = {number: (text[0], reading) for number, (text, reading) in enumerate(known.items())}
        """Sources and what is known of them, by the zygote's numbers."""
        self._limits = limits
        self._tests: list[JudgedTest] = []
        self._judge: Judge | None = None
        self._hosted = False
        """Whether the solution is known to be harmless."""
        self._peer: Peer | None = None

    def sit(self) -> None:
        """Follow orders until nobody is left to give them."""
        while (order := wire.recv_frame(self._orders)) is not None:
            if order["op"] == "job":
                self._take_on(order["tests"], order["solution"], order["stateless"], order["forked"])
            elif order["op"] == "rest":
                self._let_go()
            elif order["op"] == "inspect":
                self._inspect(order["s"], order["c"], order["v"])
            elif order["own"]:
                self._in_a_fork(partial(self._run, order))
            else:
                self._run(order)
                self._reports.tell({"k": "end", "status": 0}, ring=True)

    def _let_go(self) -> None:
        if self._judge is not None:
            peer = self._judge.close()
            self._peer = peer if self._hosted else None
            self._judge = None

    def _take_on(
        self, tests: list[dict[str, Any]], solution: str | None, stateless: bool, forked: bool
    ) -> None:
        """Begin a job; `solution` is its text if it is to be read, to see whether it is stateless. `forked`:
        a test needs a process of its own even then."""
        _, (descriptor,), _, _ = socket.recv_fds(self._orders, 1, 1)
        self._let_go()
        self._hosted = stateless
        self._tests = [self._test(test) for test in tests]
        allow_cpu(self._limits, sum(len(test.methods) for test in self._tests))
        self._judge = Judge(
            Channel(socket.socket(fileno=descriptor)), self._reports, self._limits, self._tidied, self._peer
        )
        # A text can bring down whoever parses it: then it is read no more, and does without the fast way.
        stateless = stateless or (solution is not None and _is_stateless(solution))
        if not self._judge.load(stateless, forked or not stateless):
            self._judge.report_failure()

    def _tidied(self) -> bool:
        """Have the zygotes remove what the player left so far; False if nobody is there to do it."""
        self._reports.tell({"k": "tidy"}, ring=True)
        return wire.recv_frame(self._orders) is not None

    def _test(self, test: dict[str, Any]) -> JudgedTest:
        """A test from its order, which brings the text and what is known of it the first time."""
        number = test["number"]
        if number is None:
            source, reading = test["s"], TextReading()
        else:
            if "s" in test:
                self._texts[number] = test["s"], TextReading.unpacked(test["read"])
            source, reading = self._texts[number]
        return JudgedTest(source, test["c"], test["m"], reading, test["v"])

    def _in_a_fork(self, work: Callable[[], None]) -> None:
        pid = os.fork()
        if pid:
            self._reports.tell({"k": "end", "status": os.waitpid(pid, 0)[1]}, ring=True)
            return
        processes.die_with_parent()
        try:
            work()
        except BaseException:  # noqa: BLE001  (it must not go on as a second judge)
            os._exit(OUR_FAILURE)
        os._exit(0)

    def _inspect(self, *test: Any) -> None:
        allow_cpu(self._limits, 1)  # what this process had for the last job may be used up
        found = inspect_plain_test(*test)
        if found is None:
            self._in_a_fork(partial(self._inspect_by_running, *test))
        else:
            self._reports.tell({"k": "inspected", **found})
            self._reports.tell({"k": "end", "status": 0}, ring=True)

    def _inspect_by_running(self, *test: Any) -> None:
        limit_cpu(self._limits, 1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._reports.tell({"k": "inspected", **inspect_test(*test)})

    def _run(self, order: dict[str, Any]) -> None:
        judge = self._judge
        if judge is None:
            raise RuntimeError("ordered to run a test before a solution")
        tests = self._tests[order["first"] : order["last"]]
        if order["ahead"] and not judge.look_ahead(tests):
            judge.report_failure()
            return
        for index in range(order["first"], order["last"]):
            test = self._tests[index]
            keys = test.methods[order["start"] if index == order["first"] else 0 :]
            if not judge.run(test, keys, order["fork"], order["soft"]):
                break
        judge.report_failure()


def _is_stateless(source: str) -> bool:
    try:
        return solution_is_stateless(ast.parse(source))
    except UNREADABLE:
        return False


def bench_main(
    orders: socket.socket,
    reports: socket.socket,
    bell: int,
    known: dict[tuple[str, bool], TextReading],
    limits: dict[str, Any],
    home: str,
) -> None:
    """Judge solutions, or inspect tests, as the zygote says; `known` are the texts it has read."""
    processes.die_with_parent()
    # The zygote must be able to look at us; that it is hidden itself is what counts.
    processes.set_dumpable(True)
    close_others(reports.fileno(), orders.fileno(), bell)
    settle(limits, home)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.setrecursionlimit(sys.getrecursionlimit() + runner.FRAMES)
    Bench(orders, Reports(reports, bell), known, limits).sit()
