"""The commands, put together."""

from __future__ import annotations

import typer

from coderm_reward.cli.ablate import ablate
from coderm_reward.cli.doctor import doctor
from coderm_reward.cli.evaluate import evaluate
from coderm_reward.cli.generate import generate
from coderm_reward.cli.probe import probe
from coderm_reward.cli.replay import replay
from coderm_reward.cli.report import report
from coderm_reward.cli.score import score
from coderm_reward.cli.serve import serve

__all__ = ["app"]

app = typer.Typer(
    help="Rewards for code RL from generated unit tests: generate tests, score rollouts, evaluate rewards.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (score, generate, evaluate, ablate, replay, report, serve, doctor):
    app.command()(command)
app.add_typer(probe, name="probe")
