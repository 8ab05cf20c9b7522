"""Rewards for code RL from generated unit tests (CodeRM, arXiv 2501.01054).

The main path is `coderm_reward.pipeline.RewardPipeline`; the command line is `coderm-reward`. Importing
this package loads no torch, ray, vllm or verl.
"""

from coderm_reward.config import RewardConfig, load_config
from coderm_reward.errors import CodermError
from coderm_reward.types import (
    CodeStatus,
    Difficulty,
    ExecutionMatrix,
    Message,
    Problem,
    RewardOutput,
    Rollout,
    RolloutGroup,
    Solution,
    TestSuite,
    UnitTest,
    Verdict,
)

__all__ = [
    "CodeStatus",
    "CodermError",
    "Difficulty",
    "ExecutionMatrix",
    "Message",
    "Problem",
    "RewardConfig",
    "RewardOutput",
    "Rollout",
    "RolloutGroup",
    "Solution",
    "TestSuite",
    "UnitTest",
    "Verdict",
    "load_config",
]
__version__ = "0.1.0"
