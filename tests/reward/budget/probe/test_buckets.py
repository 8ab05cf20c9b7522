"""Batches of like length: everything once, nothing too wide, little padding."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coderm_reward.budget.probe.buckets import length_buckets

lengths = st.lists(st.integers(1, 300), max_size=60)


@given(lengths, st.integers(1, 600), st.integers(1, 16))
def test_every_prompt_is_read_once_within_the_limits(
    lengths: list[int], max_tokens: int, max_rows: int
) -> None:
    buckets = length_buckets(lengths, max_tokens, max_rows)
    assert sorted(i for bucket in buckets for i in bucket) == list(range(len(lengths)))
    for bucket in buckets:
        padded = len(bucket) * max(lengths[i] for i in bucket)
        assert len(bucket) <= max_rows
        assert padded <= max_tokens or len(bucket) == 1


@given(lengths)
def test_longest_first_and_neighbours_together(lengths: list[int]) -> None:
    order = [lengths[i] for bucket in length_buckets(lengths, 900, 8) for i in bucket]
    assert order == sorted(lengths, reverse=True)


def test_a_full_batch_is_not_split() -> None:
    assert length_buckets([5, 5, 5, 5], 20, 8) == [[0, 1, 2, 3]]
    assert length_buckets([5, 5, 5, 5], 19, 8) == [[0, 1, 2], [3]]
    assert length_buckets([], 10, 1) == []
