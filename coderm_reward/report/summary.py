"""The summary as rows of text: the command line's final table and the report's first one."""

from __future__ import annotations

from coderm_reward.report.groups import JudgeCounts
from coderm_reward.report.numbers import Summary
from coderm_reward.types import Verdict

__all__ = ["summary_rows"]


def summary_rows(summary: Summary, *, wall_seconds: float | None = None) -> list[tuple[str, str]]:
    """Return (what, value) rows in reading order.

    `wall_seconds` is how long this run took to execute these very records; with it there is a rate of
    pairs per second. Leave it out where records came from an earlier run.
    """
    s = summary
    rows = [
        ("rollouts", f"{s.rollouts:,}"),
        ("groups", f"{s.groups:,} ({_count(s.prompts, 'prompt')})"),
        ("tests parsed", f"{s.tests_parsed:,} (from {_count(s.responses, 'response')})"),
        ("dropped in parsing", _reasons(s.tests_dropped)),
        ("repaired in parsing", _reasons(s.tests_repaired)),
        *_if(s.tests_screened, "screened before running", _reasons(s.tests_screened)),
        ("invalid tests", f"{s.tests_invalid:,}"),
        *_if(s.tests_marked, "tests the reference fails", f"{s.tests_marked:,}, without a vote"),
        *_if(s.responses_failed, "responses missing", _reasons(s.responses_failed)),
        *_if(
            s.completion_tokens,
            "tokens",
            f"{s.completion_tokens:,} written by the model, {s.prompt_tokens:,} read",
        ),
        ("groups without a usable test", f"{s.groups_without_tests:,}"),
        ("mean reward", _mean(s.mean_reward)),
        ("mean acc", _mean(s.mean_acc)),
        *_if(s.known_truth, "mean acc_true", f"{_mean(s.acc_true)} ({_count(s.known_truth, 'rollout')})"),
        ("groups without reward spread", f"{s.zero_spread_groups:,} of {s.comparable_groups:,}"),
        ("class verdicts", _verdicts(s.verdicts.classes)),
        ("method verdicts", _verdicts(s.verdicts.methods)),
        *_if(any(s.verdicts.assertions.values()), "assertion verdicts", _verdicts(s.verdicts.assertions)),
        ("judges", _judges(s.judges)),
        (
            "timeouts",
            f"{_count(s.verdicts.methods[Verdict.TIMEOUT], 'method vote')} "
            f"in {_count(s.timeout_rollouts, 'rollout')}, {s.assumed_timeouts:,} assumed",
        ),
        ("no code", f"{s.no_code:,}"),
        ("unsupported format", f"{s.unsupported_format:,}"),
        ("tampered", f"{s.tampered:,}"),
        ("neutral rewards", f"{s.neutral:,}"),
        ("infra errors", f"{s.infra_errors:,} (and {_count(s.retried, 'vote')} run again)"),
        ("pairs asked", f"{s.pairs:,}, of which {s.pairs_distinct:,} distinct ({s.dedupe_rate:.1%} saved)"),
        ("verdict cache", f"{_count(s.cache_hits, 'hit')} ({s.hit_rate:.1%} of the distinct pairs)"),
        ("pairs run", f"{s.pairs_run:,}"),
    ]
    if wall_seconds is None:
        return [*rows, ("seconds", f"{s.exec_seconds:,.1f} executing, summed over groups that overlap")]
    rate = f"{s.pairs_run / wall_seconds:,.0f}" if wall_seconds > 0 else "none"
    return [*rows, ("seconds", f"{wall_seconds:,.1f}"), ("pairs run per second", rate)]


def _if(there: object, name: str, value: str) -> list[tuple[str, str]]:
    """The row, where there is anything to say."""
    return [(name, value)] if there else []


def _reasons(counts: dict[str, int]) -> str:
    listed = ", ".join(f"{n:,} {reason}" for reason, n in counts.items())
    return f"{sum(counts.values()):,}" + (f": {listed}" if listed else "")


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def _mean(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _verdicts(counts: dict[Verdict, int]) -> str:
    """Return the verdicts that occur, PASS first, UNKNOWN last."""
    total = sum(counts.values())
    order = [*(v for v in Verdict if v is not Verdict.UNKNOWN), Verdict.UNKNOWN]
    return (
        ", ".join(f"{v.label} {counts[v]:,} ({counts[v] / total:.1%})" for v in order if counts[v]) or "none"
    )


def _judges(judges: JudgeCounts) -> str:
    """Return every judge with its share of the judged pairs."""
    total = sum(judges.pairs.values())
    shares = ", ".join(
        f"{judge.name.lower()} {n:,} ({n / total if total else 0.0:.1%})" for judge, n in judges.pairs.items()
    )
    return shares + (f"; {_count(judges.excluded, 'pair')} excluded" if judges.excluded else "")
