"""The settings of a reward inside a training loop; a section of RewardConfig like the others."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

__all__ = ["LoggerName", "TrainingConfig"]

LoggerName = Literal["wandb", "tensorboard"]
Positive = Annotated[float, Meta(gt=0)]
PositiveInt = Annotated[int, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, le=1)]


class TrainingConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What only matters while a training loop runs (DESIGN section 9)."""

    tests: str | None = None
    """A file of recorded unit tests that takes the place of a model."""
    records: str | None = None
    """Folder for group records and metrics; None is a folder beside the checkpoints of the loop, if it has
    any, else `coderm_records`."""
    loggers: tuple[LoggerName, ...] | None = None
    """Where metrics go besides a file; None is those that the loop itself uses."""
    quiet_seconds: Positive = 10.0
    """A group of which no sibling came for so long is scored with those who came."""
    answer_timeout: Positive = 1800.0
    """Seconds after which a rollout gets the neutral reward, whatever holds its group up."""
    group_actors: PositiveInt = 2
    """Ray actors in which siblings meet; each prompt has one that is its own."""
    failure_share: Annotated[float, Meta(gt=0, le=1)] = 0.2
    """Of the last `failure_window` rollouts, the share without reward for our own failures that stops the
    training with an error."""
    failure_window: PositiveInt = 200
    ground_truth_weight: Share = 0.0
    """Weight of the dataset's own tests in the training reward, where a row has any; they are always run in
    validation, and otherwise only if this is not 0."""
