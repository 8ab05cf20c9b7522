"""One group record -> what its section of the report shows, within the limits on the file's size (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from markupsafe import Markup

from coderm_reward.data.records import GroupRecord
from coderm_reward.report.groups import GroupNumbers
from coderm_reward.report.text import Block, code_block
from coderm_reward.report.views import EntryView, FailureView, GroupView, ReportLimits, TestView
from coderm_reward.types import ExecutionMatrix, Verdict

__all__ = ["group_title", "group_view"]

_MAX_STRIP = 3_000
"""Method verdicts that one rollout lists."""
_MAX_LISTED = 300
"""Tests, and rollouts without detail, that one group lists."""


class _Budget:
    """Hands out the bytes of text that a group may show, first come, first served."""

    def __init__(self, max_chars: int, bytes_left: int) -> None:
        self._max_chars, self.left = max_chars, bytes_left

    def block(self, text: str) -> Block:
        block = code_block(text, self._max_chars, self.left)
        self.left -= len(block.html.encode())
        return block


def group_title(record: GroupRecord) -> str:
    """Return the name that readers know a group by: its task, else function, with its step."""
    name = record.task_id or record.entry_point or f"prompt {record.prompt_hash}"
    return f"{name} · step {record.step}" if record.step is not None else name


def group_view(
    record: GroupRecord, numbers: GroupNumbers, limits: ReportLimits, text_bytes: int
) -> GroupView:
    """Return the view of one group whose texts take at most `text_bytes` bytes.

    Of more distinct rollouts than the limit allows, those shown are spread evenly over the ranking from
    best to worst. At most half of the text is question and code; the rest is the source of tests, those
    first about which rollouts are most split.
    """
    matrix = record.matrix()
    clusters = _clusters(record, numbers)
    chosen = set(_spread(len(clusters), limits.max_rollouts_per_group))
    text = _Budget(limits.max_text_chars, text_bytes // 2)
    question = text.block(record.question)
    entries = tuple(
        _entry(record, matrix, number, positions, limits, text)
        for number, positions in enumerate(clusters)
        if number in chosen
    )
    tests = _test_views(
        record, numbers, _Budget(limits.max_text_chars, text_bytes - text_bytes // 2 + text.left)
    )
    others = [
        (tuple(record.rollouts[p].row for p in positions), record.rollouts[positions[0]])
        for number, positions in enumerate(clusters)
        if number not in chosen
    ]
    entry_of = {p: number for number, positions in enumerate(clusters) for p in positions}
    return GroupView(
        record=record,
        numbers=numbers,
        title=group_title(record),
        question=question,
        entries=entries,
        others=tuple(others[:_MAX_LISTED]),
        others_left_out=max(0, len(others) - _MAX_LISTED),
        tests=tests,
        tests_left_out=max(0, len(record.tests) - _MAX_LISTED),
        entry_of_rollout=tuple(
            entry_of[p] if entry_of[p] in chosen else None for p in range(len(record.rollouts))
        ),
    )


def _clusters(record: GroupRecord, numbers: GroupNumbers) -> list[list[int]]:
    """Group positions of rollouts that would look the same, in the order of their scores."""
    clusters: dict[object, list[int]] = {}
    for position in numbers.rollout_order:
        r = record.rollouts[position]
        clusters.setdefault((r.status, r.solution, r.classes, r.methods, r.reward), []).append(position)
    return list(clusters.values())


def _spread(total: int, limit: int) -> list[int]:
    """Return at most `limit` of `range(total)`, first and last included, evenly spaced."""
    if total <= limit:
        return list(range(total))
    if limit < 2:
        return list(range(limit))
    return [round(i * (total - 1) / (limit - 1)) for i in range(limit)]


def _entry(
    record: GroupRecord,
    matrix: ExecutionMatrix,
    number: int,
    positions: Sequence[int],
    limits: ReportLimits,
    text: _Budget,
) -> EntryView:
    first = record.rollouts[positions[0]]
    has_code = bool(matrix.has_code[positions[0]])
    classes = [Verdict(int(v)) for v in matrix.class_verdicts[positions[0]]] if has_code else []
    verdicts = [Verdict(int(v)) for v in matrix.method_verdicts[positions[0]]] if has_code else []
    methods: list[list[Verdict]] = [[] for _ in record.tests]
    for test, verdict in zip(matrix.method_test, verdicts, strict=False):
        methods[test].append(verdict)
    details = record.details.get(first.solution, {})
    failed = [t for t, verdict in enumerate(classes) if verdict not in (Verdict.PASS, Verdict.INVALID_TEST)]
    failed.sort(key=lambda t: (record.tests[t].id not in details, t))
    strip, left_out = _strip(methods)
    return EntryView(
        number=number,
        rows=tuple(record.rollouts[p].row for p in positions),
        status=first.status,
        reward=first.reward,
        code=text.block(first.code),
        failures=tuple(
            FailureView(
                number=t + 1,
                class_name=record.tests[t].class_name,
                verdict=classes[t],
                judge={"H": "handle", "I": "inline"}.get(first.judges[t], "apart"),
                methods=_by_verdict(record.tests[t].methods, methods[t]),
                detail=details.get(record.tests[t].id, ""),
                listed=t < _MAX_LISTED,
            )
            for t in failed[: limits.max_failures_per_rollout]
        ),
        failed=len(failed),
        strip=strip,
        strip_left_out=left_out,
    )


def _by_verdict(
    names: Sequence[str], verdicts: Sequence[Verdict]
) -> tuple[tuple[Verdict, tuple[str, ...]], ...]:
    """Return the names by verdict, in the verdicts' order, without those that pass."""
    found: dict[Verdict, list[str]] = {v: [] for v in Verdict if v is not Verdict.PASS}
    for name, verdict in zip(names, verdicts, strict=True):
        if verdict is not Verdict.PASS:
            found[verdict].append(name)
    return tuple((verdict, tuple(members)) for verdict, members in found.items() if members)


def _strip(methods: Sequence[Sequence[Verdict]]) -> tuple[Markup, int]:
    """Return the letters of each test's methods, a dot for a pass, and how many are left out."""
    parts: list[str] = []
    room = _MAX_STRIP
    for number, verdicts in enumerate(methods, 1):
        if len(verdicts) > room:
            break
        room -= len(verdicts)
        runs = ((verdict, len(list(run))) for verdict, run in groupby(verdicts))
        letters = "".join(
            "·" * n if v is Verdict.PASS else f'<b class="v{v.letter}">{v.letter * n}</b>' for v, n in runs
        )
        parts.append(f"<i>{number}</i>{letters}")
    left_out = sum(map(len, methods)) - (_MAX_STRIP - room)
    return Markup(" ".join(parts)), left_out


def _test_views(record: GroupRecord, numbers: GroupNumbers, text: _Budget) -> tuple[TestView, ...]:
    rates = iter(numbers.method_pass_rates)
    methods = [tuple((name, next(rates)) for name in test.methods) for test in record.tests]
    listed = range(min(len(record.tests), _MAX_LISTED))
    by_split = sorted(listed, key=lambda t: (abs((numbers.tests[t].pass_rate or 0.0) - 0.5), t))
    sources = {t: text.block(record.tests[t].source) for t in by_split}
    return tuple(
        TestView(
            number=t + 1,
            test=record.tests[t],
            numbers=numbers.tests[t],
            methods=methods[t],
            invalid=record.invalid.get(record.tests[t].id),
            marked=record.marked.get(record.tests[t].id),
            source=sources[t],
        )
        for t in listed
    )
