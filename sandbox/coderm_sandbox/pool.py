"""The pool: warm workers, one job each at a time, replaced when they die or may be dirty."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import logging
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any

from coderm_sandbox import messages
from coderm_sandbox.audit import disagreements, is_audited, sample
from coderm_sandbox.errors import PoolClosedError, SandboxUnavailableError, WorkerDiedError
from coderm_sandbox.guest import wire
from coderm_sandbox.interpreter import describe_interpreter
from coderm_sandbox.isolation import AUTO, Launch, fallback, launches
from coderm_sandbox.places import Place, PoolStats, cores_for, usable_cores
from coderm_sandbox.types import (
    MAX_SOURCE_BYTES,
    Inspection,
    Job,
    Limits,
    Outcome,
    Test,
    TestResult,
)
from coderm_sandbox.worker import Worker

__all__ = ["SandboxPool"]

_log = logging.getLogger("coderm_sandbox")
_TESTS_PER_INSPECTION = 16
_DEATHS_PER_JOB = 3
_START_DELAYS = (0.0, 0.2, 1.0, 5.0)


class SandboxPool:
    """Runs solutions against unit tests in isolated workers.

    Use as an async context manager, within one event loop. `run` and `inspect` wait for a free
    worker: that is the backpressure; nothing is queued beyond the callers that wait. Whatever a
    program does ends as an Outcome; only a sandbox that cannot be had at all raises.

    Args:
        workers: how many; None means one per usable core.
        limits: what one solution may use.
        isolation: a level of coderm_sandbox.isolation.LEVELS, or auto: bubblewrap, else landlock.
        python: the interpreter that runs candidate code; None means the one running us.
        pin: keep each worker on one core of its own, where there are as many cores as workers.
        audit_share: of the jobs that used the fast way of stateless solutions, run two tests of this share
            once more with a process for each; a disagreement is counted, told, and has all tests of the job
            run again so, which decides.

    Raises:
        SandboxUnavailableError: on entering, if no worker of that level can be started here.
    """

    def __init__(
        self,
        *,
        workers: int | None = None,
        limits: Limits | None = None,
        isolation: str = AUTO,
        python: str | None = None,
        pin: bool = True,
        audit_share: float = 0.01,
    ) -> None:
        self.size = workers if workers is not None else usable_cores()
        if self.size < 1:
            raise ValueError(f"workers must be at least 1, not {workers}")
        self.limits = limits or Limits()
        self.isolation = isolation
        self.stats = PoolStats()
        self.description = ""
        """How workers are isolated, in words, once the pool has started."""
        self._python = python or sys.executable
        self._launch: Launch | None = None
        self._idle: asyncio.LifoQueue[Place] = asyncio.LifoQueue()
        self._workers: set[Worker] = set()
        self._pin = pin
        self._audit_share = audit_share
        self._closed = False

    async def __aenter__(self) -> SandboxPool:
        if self.isolation == "none":
            _log.warning(
                "isolation is off: candidate code runs with your files, your network and your rights"
            )
        cores = cores_for(self.size) if self._pin else [None] * self.size
        first = await self._start_first(cores[0])
        self._workers.add(first)
        for core in cores[:0:-1]:
            self._idle.put_nowait(Place(core))  # started by the first job that needs it
        self._idle.put_nowait(Place(cores[0], {False: first}))
        return self

    async def _start_first(self, core: int | None) -> Worker:
        python = await asyncio.to_thread(describe_interpreter, self._python)
        reasons = []
        for launch in launches(self.isolation, python, self.limits):
            try:
                worker = await Worker.start(launch, core=core)
            except SandboxUnavailableError as error:
                reasons.append(str(error))
                continue
            self._launch, self.description = launch, launch.describe
            warning = fallback(launch, reasons) if self.isolation == AUTO else ""
            if warning:
                _log.warning(warning)
            return worker
        raise SandboxUnavailableError("; ".join(filter(None, [launch.instead_of, *reasons])))

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill every worker with all it runs and reap it. Jobs in flight or waiting end as UNKNOWN."""
        self._closed = True
        for worker in list(self._workers):
            self._discard(worker)

    def _discard(self, worker: Worker) -> None:
        worker.kill()
        self._workers.discard(worker)

    def worker_pids(self) -> list[int]:
        """Host pids of the zygotes that are running."""
        return [pid for worker in self._workers if worker.alive for pid in worker.pids]

    async def _worker(self, place: Place, numpy: bool) -> Worker:
        """A live worker at a place. Raises WorkerDiedError if none will start."""
        worker = place.workers.pop(numpy, None)
        if worker is not None and not worker.alive:
            self._discard(worker)
            self.stats.workers_replaced += 1
            worker = None
        if worker is None or self._closed:
            worker = await self._start_another(place.core, numpy)
        place.workers[numpy] = worker
        return worker

    async def _start_another(self, core: int | None, numpy: bool) -> Worker:
        assert self._launch is not None
        failure: Exception | None = None
        for delay in _START_DELAYS:
            await asyncio.sleep(delay)
            if self._closed:
                raise PoolClosedError("the sandbox pool was closed")
            try:
                worker = await Worker.start(self._launch, core=core, preload=["numpy"] if numpy else [])
            except SandboxUnavailableError as error:
                _log.warning("a replacement worker did not start: %s", error)
                failure = error
                continue
            if self._closed:
                worker.kill()
                raise PoolClosedError("the sandbox pool was closed")
            self._workers.add(worker)
            return worker
        raise WorkerDiedError(f"no worker can be started any more ({failure})")

    @contextlib.asynccontextmanager
    async def _exchange(
        self, op: str, tests: Sequence[Test], *, numpy: bool = False, votes: bool = False, **fields: Any
    ) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """The answers of a worker that is ours for as long."""
        if self._launch is None:
            raise RuntimeError("the pool is not running; use it as `async with SandboxPool() as pool`")
        place = await self._idle.get()
        try:
            worker = await self._worker(place, numpy)
            requests = [messages.request(test, votes) for test in tests]
            async with contextlib.aclosing(worker.exchange(op, requests, self.limits, **fields)) as answers:
                yield answers
        finally:
            self._idle.put_nowait(place)

    async def run(self, job: Job) -> list[TestResult]:
        """Return what each test of the job says about its solution, in order.

        The tests must carry their `methods` (see inspect). A test whose worker dies under it, or
        that the machine starves, is run once more; then its outcome is UNKNOWN.
        """
        self.stats.jobs += 1
        self.stats.tests += len(job.tests)
        if wire.weight(job.solution) > MAX_SOURCE_BYTES:
            too_long = "the solution is longer than the sandbox accepts"
            return [messages.uniform(test, Outcome.ERROR, too_long) for test in job.tests]
        results, lost, again, fast = await self._run_tests(job, range(len(job.tests)))
        if fast and is_audited(job.solution, self._audit_share):
            sampled = sample(job.solution, sorted(fast))
            if await self._audit(job, sampled, results) and (rest := fast.difference(sampled)):
                await self._audit(job, sorted(rest), results)
        unknown = [i for i, result in results.items() if messages.lacks_evidence(result)]
        starved = [i for i in unknown if i not in lost]
        if starved:
            for worker in self._workers:  # their cores are not theirs alone: the kernel finds others
                worker.unpin()
            self.stats.retried += len(starved)
            second, _, _, _ = await self._run_tests(job, starved)
            results.update(second)
            again.update(starved)
        self.stats.unknown += sum(r.outcome is Outcome.UNKNOWN for r in results.values())
        return [dataclasses.replace(results[i], retried=i in again) for i in range(len(job.tests))]

    async def _audit(self, job: Job, indices: Sequence[int], results: dict[int, TestResult]) -> int:
        """Run tests again with a process for each; where that says something else, that is what counts.

        Returns how much it said otherwise.
        """
        strict, lost, _, _ = await self._run_tests(job, indices, strict=True)
        wrong = disagreements(results, {i: strict[i] for i in indices if i not in lost})
        self.stats.audited += len(indices)
        self.stats.audit_disagreements += wrong
        if wrong:
            _log.warning("the fast way gave %d other verdicts than a process per test", wrong)
            results.update((i, one) for i, one in strict.items() if one.outcome is not Outcome.UNKNOWN)
        return wrong

    async def _run_tests(
        self, job: Job, indices: Sequence[int], strict: bool = False
    ) -> tuple[dict[int, TestResult], set[int], set[int], set[int]]:
        """One pass over some tests of a job, with a second chance for the test a worker dies under.

        Returns the results, and which of them were lost with their worker, had a second chance, and
        were reached on the fast way.
        """
        unsettled: dict[int, dict[str, Any]] = {}
        numpy = any("numpy" in text for text in (job.solution, *(job.tests[i].source for i in indices)))
        fast: set[int] = set()
        results: dict[int, TestResult] = {}
        lost: set[int] = set()
        deaths: collections.Counter[int] = collections.Counter()
        while pending := [i for i in indices if i not in results]:
            batch = messages.batch(job.tests, pending)
            if not batch:
                first, why = pending[0], "the test is longer than the sandbox accepts"
                results[first] = messages.uniform(job.tests[first], Outcome.INVALID_TEST, why)
                continue
            try:
                before = len(results)
                async with self._exchange(
                    "run",
                    [job.tests[i] for i in batch],
                    numpy=numpy,
                    solution=job.solution,
                    strict=strict,
                ) as answers:
                    async for answer in answers:
                        index = batch[answer["i"]]
                        results[index] = messages.result(job.tests[index], answer)
                        unsettled[index] = answer
                        if answer["f"]:
                            fast.add(index)
                if len(results) == before:
                    raise WorkerDiedError("a sandbox worker had to be replaced before its first verdict")
            except WorkerDiedError as error:
                for i, answer in unsettled.items():
                    if answer.get("more"):  # its soft run is lost
                        results[i] = messages.result(job.tests[i], answer, unreached=Outcome.UNKNOWN)
                suspect = next((i for i in batch if i not in results), batch[-1])
                deaths[suspect] += 1
                self.stats.retried += 1
                given_up = {suspect} if deaths[suspect] > 1 else set()
                if deaths.total() > _DEATHS_PER_JOB or isinstance(error, PoolClosedError):
                    given_up = set(pending)
                given_up -= results.keys()
                for i in given_up:
                    results[i] = messages.uniform(job.tests[i], Outcome.UNKNOWN, str(error))
                lost |= given_up
                _log.warning("%s; tests of its job without a verdict now: %d", error, len(given_up))
        return results, lost, set(deaths), fast

    async def inspect(self, tests: Sequence[Test], *, votes: bool = False) -> list[Inspection]:
        """Say of each test, without any solution, whether it is one and which methods it has.

        Args:
            votes: say as well how many assertions of each method vote (see Test).

        Raises:
            WorkerDiedError: no worker can be had any more; a test is not to blame for that.
        """
        chunks = [tests[i : i + _TESTS_PER_INSPECTION] for i in range(0, len(tests), _TESTS_PER_INSPECTION)]
        inspected = await asyncio.gather(*(self._inspect_chunk(chunk, votes) for chunk in chunks))
        return [inspection for chunk in inspected for inspection in chunk]

    async def _inspect_chunk(self, tests: Sequence[Test], votes: bool) -> list[Inspection]:
        found: list[Inspection] = []
        failures = 0
        while len(found) < len(tests):
            before = len(found)
            batch = [tests[i] for i in messages.batch(tests, range(before, len(tests)))]
            if not batch:
                found.append(Inspection(False, "is longer than the sandbox accepts"))
                continue
            why = ""
            async with self._exchange("inspect", batch, votes=votes) as answers:
                try:
                    async for answer in answers:
                        if answer.get("starved"):
                            why = "the machine gave it no processor time"
                            break
                        found.append(messages.inspection(answer))
                except WorkerDiedError as error:
                    why = str(error)
            failures = failures + 1 if len(found) == before else 0
            if failures > 1:
                found.append(Inspection(False, f"cannot be inspected ({why or 'its worker was replaced'})"))
                failures = 0
        return found
