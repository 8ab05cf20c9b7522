"""`coderm-reward serve`: the reward as an HTTP service."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from coderm_reward.cli import options, score_options
from coderm_reward.cli.console import note
from coderm_reward.config import load_config
from coderm_reward.errors import ConfigError

__all__ = ["serve"]

_SERVICE, _LIMITS, _REWARD = "Service", "Limits", "Reward"


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.", rich_help_panel=_SERVICE)] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="0 takes a free one.", rich_help_panel=_SERVICE)
    ] = 8400,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the bearer token that requests must carry; else it is CODERM_TOKEN of the "
            "environment.",
            rich_help_panel=_SERVICE,
            show_default=False,
        ),
    ] = None,
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure",
            help="Listen on other addresses than this machine's own without a token.",
            rich_help_panel=_SERVICE,
        ),
    ] = False,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            help="A name that requests may call this service by, besides localhost. May be repeated.",
            rich_help_panel=_SERVICE,
            show_default=False,
        ),
    ] = None,
    drain: Annotated[
        float,
        typer.Option(
            min=0,
            help="Seconds that requests under way have to finish after SIGTERM or Ctrl-C.",
            rich_help_panel=_SERVICE,
        ),
    ] = 30.0,
    max_body: Annotated[int, typer.Option(min=1, help="MiB of one request.", rich_help_panel=_LIMITS)] = 32,
    max_responses: Annotated[
        int, typer.Option(min=1, help="Responses of one group.", rich_help_panel=_LIMITS)
    ] = 256,
    max_text: Annotated[
        int, typer.Option(min=1, help="Characters of a response, and of a prompt.", rich_help_panel=_LIMITS)
    ] = 200_000,
    max_in_flight: Annotated[
        int,
        typer.Option(
            min=1, help="Rollouts in flight over all clients; more get a 429.", rich_help_panel=_LIMITS
        ),
    ] = 4096,
    config: options.ConfigFile = None,
    model: options.Model = None,
    base_url: options.BaseUrl = None,
    engine: options.Engine = None,
    store: options.StoreFile = None,
    template: options.Template = None,
    responses: Annotated[
        int | None,
        typer.Option(help="Test responses per prompt. \\[default: 16]", rich_help_panel="Model"),
    ] = None,
    aggregator: Annotated[
        str | None,
        typer.Option(help="As of `score`. \\[default: majority]", rich_help_panel=_REWARD),
    ] = None,
    vote_unit: Annotated[
        str | None, typer.Option(help="As of `score`. \\[default: method]", rich_help_panel=_REWARD)
    ] = None,
    quiet_seconds: Annotated[
        float | None,
        typer.Option(
            help="A group of which no sibling came for so long is scored with those who came. "
            "\\[default: 10]",
            rich_help_panel=_REWARD,
        ),
    ] = None,
    records: Annotated[
        str | None,
        typer.Option(
            help="Folder for group records and metrics, as of a training. \\[default: none are kept]",
            rich_help_panel=_SERVICE,
            show_default=False,
        ),
    ] = None,
    workers: score_options.Workers = None,
    isolation: score_options.Isolation = None,
    sandbox_python: score_options.SandboxPython = None,
    timeout: score_options.Timeout = None,
    memory: score_options.Memory = None,
    verdict_cache: score_options.VerdictCacheFile = None,
) -> None:
    """Answer rollouts with rewards over HTTP: POST /v1/score and /v1/score_batch; see docs/serve.md.

    For example: coderm-reward serve --base-url http://localhost:8000/v1 --store suites.db

    Whoever may post can spend this machine's CPU, and has code of their own run in the sandbox.
    """
    settings = load_config(
        config,
        model=model,
        base_url=base_url,
        engine=engine,
        store=store,
        template=template,
        responses=responses,
        aggregator=aggregator,
        vote_unit=vote_unit,
        quiet_seconds=quiet_seconds,
        records=records,
        workers=workers,
        isolation=isolation,
        sandbox_python=sandbox_python,
        timeout=timeout,
        memory=memory,
        verdict_cache=verdict_cache,
    )
    try:
        from coderm_reward.integrations.http_models import ServiceLimits
        from coderm_reward.integrations.http_server import Access, listen, read_token, run_service
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in (
            "fastapi",
            "starlette",
            "uvicorn",
            "prometheus_client",
        ):
            raise
        raise ConfigError(
            f"serve needs {error.name}, which is not installed; pip install 'coderm-reward[serve]'."
        ) from None
    limits = ServiceLimits(
        max_body=max_body * 2**20,
        max_responses=max_responses,
        max_text=max_text,
        max_in_flight=max_in_flight,
    )
    token = read_token(token_file)
    access = Access.decide(host, token, allowed_hosts=allowed_host or (), insecure=insecure)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for chatty in ("httpx", "uvicorn"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    with listen(host, port) as listener:
        asyncio.run(
            run_service(
                settings,
                listener,
                access,
                limits=limits,
                drain_seconds=drain,
                started=lambda url: note(f"listening on {url}"),
            )
        )
    note("stopped")
