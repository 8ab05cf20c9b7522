"""Rewards while a training loop runs: rollouts come one by one and groups meet (DESIGN section 9)."""
