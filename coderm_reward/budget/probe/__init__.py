"""The difficulty probe: a small network that reads a prompt's pass rate off a language model's hidden state.

    reading.py      prompts -> hidden states (the only part that runs a language model)
    cache.py        hidden states that were read before
    training.py     hidden states + pass rates -> a probe
    file.py         the probe, what it says, and its file
    evaluation.py   forecasts of held-out prompts against simpler forecasts
    estimator.py    the probe as a DifficultyEstimator of the main path

Importing this loads neither torch nor transformers.
"""

from __future__ import annotations

from coderm_reward.budget.probe.estimator import ProbeEstimator

__all__ = ["ProbeEstimator"]
