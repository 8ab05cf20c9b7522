"""Which prompts are read together: those of like length, so that little of a batch is padding. Pure."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["length_buckets"]


def length_buckets(lengths: Sequence[int], max_tokens: int, max_rows: int) -> list[list[int]]:
    """Return the indices of `lengths` in batches of at most `max_rows` rows and `max_tokens` tokens with
    padding.

    Longest first, so that a batch that does not fit into memory shows at once. A prompt longer than
    `max_tokens` is a batch by itself. Every index is in one batch; the same lengths give the same batches.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    buckets: list[list[int]] = []
    width = 0
    for i in order:
        full = not buckets or len(buckets[-1]) >= max_rows or (len(buckets[-1]) + 1) * width > max_tokens
        if full:
            buckets.append([])
            width = lengths[i]
        buckets[-1].append(i)
    return buckets
