"""Group records of a run in progress, so that a run can be killed at any moment and gone on with.

While a run is under way its records are in `<name>.groups.jsonl.part`; a finished run renames the file.
So an earlier result stays whole until the new one is, and a `.part` file means an unfinished run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from coderm_reward.data.records import GroupRecord, read_records
from coderm_reward.data.sidecar import RecordWriter, sidecar_path, write_records
from coderm_reward.errors import OutputError
from coderm_reward.group_run import group_content
from coderm_reward.types import RolloutGroup

__all__ = ["RunRecords"]


class RunRecords:
    """The records of one scoring run: those an earlier run left, and those added now.

    Args:
        out: the first output; its name gives the sidecar's.
        resume: take over what an unfinished or finished run with the same settings recorded.
        overwrite: start again although an unfinished run is there.

    Raises:
        OutputError: an unfinished run is there and neither was asked for, or the place is not writable.
    """

    def __init__(self, out: Path, *, resume: bool, overwrite: bool) -> None:
        self.path = sidecar_path(out)
        self._part = self.path.with_name(self.path.name + ".part")
        self.resuming = resume
        if self._part.exists() and self._part.stat().st_size and not (resume or overwrite):
            raise OutputError(
                f"{self._part} holds the groups of an unfinished run; go on with --resume, "
                "or start again with --overwrite."
            )
        self._writer: RecordWriter | None = None

    def open(
        self,
        groups: Sequence[RolloutGroup],
        settings: Callable[[RolloutGroup], str],
        *,
        retry: bool = False,
    ) -> dict[str, GroupRecord]:
        """Start recording and return the records, by group id, that need no scoring any more.

        With `retry`, these are not the ones that lack tests which might be had now.

        Raises:
            OutputError: what is there was scored with other settings or tests.
        """
        kept: dict[str, GroupRecord] = {}
        if self.resuming:
            source = self._part if self._part.exists() else self.path
            old = list(read_records(source)) if source.exists() else []
            kept = _matching(old, groups, settings)
            known = {record.content for record in old}
            if old and not kept and any(group_content(group) in known for group in groups):
                raise OutputError(
                    f"{source} was scored with other settings or tests; resume with the same ones, "
                    "or leave --resume out."
                )
        kept = {group: r for group, r in kept.items() if not (retry and r.lacks_responses)}
        carry_over = self.resuming and not self._part.exists()
        self._writer = RecordWriter(self._part, resume=self.resuming)
        for record in kept.values() if carry_over else ():
            self._writer.write(record)
        return kept

    def add(self, record: GroupRecord) -> None:
        """Append one record; it survives the death of this process from here on."""
        assert self._writer is not None
        self._writer.write(record)

    def close(self) -> None:
        """Stop recording and keep the unfinished file (an empty one is removed)."""
        if self._writer is not None:
            self._writer.close()
            if self._part.exists() and not self._part.stat().st_size:
                self._part.unlink()

    def finish(self, records: Sequence[GroupRecord]) -> None:
        """Make this run's records, in the order given, the sidecar."""
        self.close()
        write_records(self.path, records)
        self._part.unlink(missing_ok=True)


def _matching(
    old: Sequence[GroupRecord], groups: Sequence[RolloutGroup], settings: Callable[[RolloutGroup], str]
) -> dict[str, GroupRecord]:
    """Group id -> its record: of the same id, or else of the same step and texts under another path."""
    by_id = {record.group: record for record in old}
    by_content = {(record.step, record.uid, record.content): record for record in old}
    found = {}
    for group in groups:
        content = group_content(group)
        record = by_id.get(group.id) or by_content.get((group.step, group.uid, content))
        if record is not None and record.content == content and record.settings == settings(group):
            found[group.id] = _in_this_run(record, group)
    return found


def _in_this_run(record: GroupRecord, group: RolloutGroup) -> GroupRecord:
    """The record under this run's name and rows: more input files or another path may have changed them."""
    rollouts = tuple(
        msgspec.structs.replace(old, row=new.row)
        for old, new in zip(record.rollouts, group.rollouts, strict=True)
    )
    return msgspec.structs.replace(record, group=group.id, run=group.run, rollouts=rollouts)
