"""The processes of one training as seen from a reward function: their siblings meet, and they share cores."""

from __future__ import annotations

import datetime
import os
import sys
from typing import Any, TypeVar

__all__ = ["Ranks", "local_processes", "share_of_cores"]

T = TypeVar("T")


class Ranks:
    """All processes that call the reward function together; every one of them takes part in each exchange.

    Uses a process group of its own over the CPU (gloo), so that nothing of ours comes between the trainer's
    own messages. Without torch.distributed, or with one process, there is only this one.

    Args:
        patience: seconds to wait for the others in an exchange.
        alone: leave the others out.
    """

    def __init__(self, patience: float, *, alone: bool = False) -> None:
        self.size, self.rank = 1, 0
        distributed: Any = None if alone else sys.modules.get("torch.distributed")
        if distributed is not None and distributed.is_available() and distributed.is_initialized():
            self.size, self.rank = distributed.get_world_size(), distributed.get_rank()
        self._distributed = distributed
        self._group: Any = None
        if self.size > 1:
            timeout = datetime.timedelta(seconds=patience)
            self._group = self._distributed.new_group(backend="gloo", timeout=timeout)

    def exchange(self, value: T) -> list[T]:
        """Return the values that all processes gave, in the order of their ranks."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        self._distributed.all_gather_object(values, value, group=self._group)
        return values


def local_processes() -> int:
    """How many processes of this training run on this machine, as torchrun and accelerate say; else 1."""
    said = os.environ.get("LOCAL_WORLD_SIZE", "")
    return int(said) if said.isdigit() and int(said) > 0 else 1


def share_of_cores(cores: int, processes: int) -> int:
    """Sandbox workers for one of several processes: its share of the cores, one at least."""
    return max(1, cores // processes)
