"""One group from its first sibling to the last answer."""

from __future__ import annotations

import asyncio
import logging
import math
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from coderm_reward.data.chat import question
from coderm_reward.data.records import GroupRecord
from coderm_reward.online.answers import failed_record, late_part, no_reward, with_given, with_truth
from coderm_reward.online.gathering import Key
from coderm_reward.online.sample import GroupOutcome, Sample, TruthSource
from coderm_reward.pipeline import RewardPipeline
from coderm_reward.types import ExecutionStats, Problem, RewardOutput, Rollout, RolloutGroup, content_hash

__all__ = ["Host", "Member", "OpenGroup"]

_log = logging.getLogger("coderm_reward")


@dataclass(frozen=True)
class Host:
    """What all groups of a scorer share."""

    pipeline: RewardPipeline
    truth: TruthSource | None
    tell: Callable[[GroupOutcome], None]
    now: Callable[[], float]
    life: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Tells its groups from those of the same prompts that an earlier process recorded."""


@dataclass(eq=False)
class Member:
    """A rollout of a group, and its answer."""

    sample: Sample
    rollout: Rollout
    arrived: float
    answer: asyncio.Future[RewardOutput]


class OpenGroup:
    """Works while siblings come, ends when `close` says that nobody else does, and knows late ones after.

    Args:
        sample: the first sibling, which describes the prompt.
        complete: all siblings join before anything happens, and then `close` comes at once.
    """

    def __init__(self, host: Host, key: Key, sample: Sample, *, complete: bool) -> None:
        self.members: list[Member] = []
        self.failed = ""
        """Why it could not be scored."""
        self._host = host
        self._key = key
        self._complete = complete
        self._siblings = sample.siblings
        rate = sample.pass_rate
        self._problem = Problem(
            key.prompt,
            question(sample.messages),
            sample.entry_point,
            sample.task_id,
            sample.reference,
            rate if rate is not None and math.isfinite(rate) and 0.0 <= rate <= 1.0 else None,
        )
        self._stream = host.pipeline.open(self._problem, sample.siblings)
        self._nobody_else = asyncio.Event()
        self._taking: list[asyncio.Task[None]] = []
        self._judging: list[asyncio.Task[None]] = []
        self._truths: dict[int, bool | None] = {}
        self._in_time = 0
        self._stats = ExecutionStats()
        self._over = asyncio.Event()
        self._gave_up = False
        self._dropped = False
        self._working: asyncio.Task[None] | None = None

    def join(self, sample: Sample, row: int) -> Member:
        """Take in a sibling that is in time."""
        member = self._member(sample, row)
        self._siblings = max(filter(None, (self._siblings, sample.siblings)), default=None)
        if not self._complete:
            self._taking.append(asyncio.create_task(self._take(len(self.members) - 1)))
        return member

    def join_late(self, sample: Sample, row: int) -> tuple[Member, asyncio.Task[None]]:
        """Take in a sibling that came after `close`, and return the task that answers it."""
        member = self._member(sample, row)
        task = asyncio.create_task(self._score_late(len(self.members) - 1))
        task.add_done_callback(lambda _: self._say(member, no_reward(self._host.pipeline.config.scoring)))
        return member, task

    def close(self) -> None:
        """Wait for nobody else: who joins from now on is late."""
        if not self._nobody_else.is_set():
            self._in_time = len(self.members)
            self._nobody_else.set()

    def drop(self) -> None:
        """End without answers or record: nobody waits for them any more."""
        self._dropped = True
        if self._working is not None:
            self._working.cancel()

    async def work(self) -> None:
        """Score the group and answer everybody who was in time, whatever happens."""
        config = self._host.pipeline.config
        self._working = asyncio.current_task()
        try:
            if self._dropped:
                return
            await self._nobody_else.wait()
            record = await asyncio.wait_for(self._finish(), config.training.answer_timeout)
            self._stats = record.stats
            self._answer(record, self.members[: self._in_time])
        except asyncio.TimeoutError:
            self._fail(f"it took more than {config.training.answer_timeout:g} s (answer_timeout)")
        except asyncio.CancelledError:
            if not self._dropped:
                self._fail("the scorer was closed")
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, training goes on
            self._fail(f"{type(error).__name__}: {error}")
            _log.debug("where that came from", exc_info=error)
        finally:
            self._over.set()  # everybody is answered, also if the rest is cut short
            await self._stop()

    def abandon(self) -> None:
        """See to it that nobody waits for a group whose work was cancelled before it began."""
        if not self._over.is_set():
            if not self._dropped:
                self._fail("the scorer was closed")
            for task in self._taking:
                task.cancel()
            self._over.set()

    async def _take(self, number: int) -> None:
        """Let one sibling work on what is there."""
        (solution,) = await self._stream.add([self.members[number].rollout])
        if self._stream.names_function and self._wants_truth():
            self._judging.append(asyncio.create_task(self._judge([number], [solution])))

    def give_up(self, member: Member) -> None:
        """Answer a member whose time is up; the group goes on."""
        seconds = self._host.pipeline.config.training.answer_timeout
        if not self._gave_up:
            self._gave_up = True
            _log.warning(
                "rollouts of prompt %s get the neutral reward with infra_error after %g s (answer_timeout)",
                self._key.prompt,
                seconds,
            )
        self._say(member, no_reward(self._host.pipeline.config.scoring))

    async def _finish(self) -> GroupRecord:
        for task in self._taking:
            await task
        members = self.members[: self._in_time]
        rollouts = [member.rollout for member in members]
        record = await self._stream.finish(self._group(members), rollouts if self._complete else ())
        for judging in self._judging:
            await judging
        await self._judge_rest(self._in_time)
        return self._with_truth(record, range(self._in_time))

    async def _score_late(self, number: int) -> None:
        """Answer a sibling that came when the group was closed: same suite, same plan. Where that fails it
        gets the neutral reward when this ends (`join_late`)."""
        member = self.members[number]
        try:
            await self._over.wait()
            if self.failed:
                return
            group = self._group(self.members[: number + 1])
            record = await self._stream.add_late(group, [member.rollout])
            before, self._stats = self._stats, record.stats  # the next one may be judged sooner
            await self._judge_rest(number + 1)
            record = self._with_truth(record, [number])
            record = late_part(record, group, number, before)
            self._answer(record, [member], late=1)
        except Exception as error:  # noqa: BLE001 - whatever it is, training goes on
            _log.warning("no reward for a late sibling of prompt %s: %r", self._key.prompt, error)

    def _member(self, sample: Sample, row: int) -> Member:
        answer = asyncio.get_running_loop().create_future()
        member = Member(sample, Rollout(row, sample.response), self._host.now(), answer)
        self.members.append(member)
        return member

    def _group(self, members: Sequence[Member]) -> RolloutGroup:
        rollouts = tuple(member.rollout for member in members)
        key, first = self._key, self.members[0].rollout.row
        parts = (self._host.life, key.step or "", key.uid or "", key.prompt, str(key.validation), str(first))
        return RolloutGroup(content_hash(*parts), self._problem, rollouts, key.run, key.step, key.uid)

    def _answer(self, record: GroupRecord, members: Sequence[Member], late: int = 0) -> None:
        """Give the rewards of a record to its rollouts, and the record to whoever listens."""
        given = [member.answer.result() if member.answer.done() else None for member in members]
        record = with_given(record, given)
        for member, rollout in zip(members, record.rollouts, strict=True):
            self._say(member, rollout.reward)
        now, last = self._host.now(), max(member.arrived for member in members)
        self._host.tell(
            GroupOutcome(
                record=record,
                validation=self._key.validation,
                siblings=len(members) if self._complete else self._siblings,
                late=late,
                waited=tuple(last - member.arrived for member in members),
                answered=tuple(now - member.arrived for member in members),
            )
        )

    def _fail(self, cause: str) -> None:
        """Answer everybody who was in time without evidence, with one line for all of them."""
        self.failed = cause
        members = self.members[: self._in_time or None]
        _log.warning(
            "group of %d rollouts of prompt %s gets the neutral reward with infra_error: %s",
            len(members),
            self._key.prompt,
            cause,
        )
        record = failed_record(self._group(members), self._host.pipeline.config, cause)
        self._answer(record, members)

    @staticmethod
    def _say(member: Member, reward: RewardOutput) -> None:
        if not member.answer.done():
            member.answer.set_result(reward)

    async def _stop(self) -> None:
        tasks = [*self._taking, *self._judging]
        for task in tasks:
            task.cancel()
        try:
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            await self._stream.aclose()

    def _wants_truth(self) -> bool:
        weight = self._host.pipeline.config.training.ground_truth_weight
        return self._host.truth is not None and (self._key.validation or weight > 0)

    def _value(self) -> Any:
        values = (member.sample.ground_truth for member in self.members)
        return next((value for value in values if value is not None), None)

    async def _judge_rest(self, upto: int) -> None:
        """Ask for the truth about those of the first members of whom it was not asked."""
        if self._wants_truth():
            rest = [i for i in range(upto) if i not in self._truths]
            await self._judge(rest, [self._stream.run.solutions[i] for i in rest])

    async def _judge(self, numbers: Sequence[int], solutions: Sequence[Any]) -> None:
        """Ask for the truth; a failure to get it tells nothing."""
        value, truth = self._value(), self._host.truth
        if value is None or truth is None or not numbers:
            return
        try:
            said = await truth.judge(self._stream.run.problem, solutions, value)
            self._truths.update(zip(numbers, said, strict=True))
        except Exception as error:  # noqa: BLE001 - whatever it is, training goes on
            _log.warning("no ground truth for prompt %s: %r", self._key.prompt, error)
            self._truths.update(dict.fromkeys(numbers))

    def _with_truth(self, record: GroupRecord, numbers: Sequence[int]) -> GroupRecord:
        config = self._host.pipeline.config
        weight = 0.0 if self._key.validation else config.training.ground_truth_weight
        truths = [self._truths.get(i) for i in numbers]
        return with_truth(record, truths, first=numbers[0], weight=weight)
