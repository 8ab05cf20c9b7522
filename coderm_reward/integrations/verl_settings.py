"""What a verl configuration says to us: our settings, and what of its own we need."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

from coderm_reward.config import RewardConfig, load_config
from coderm_reward.data.plain_values import plain
from coderm_reward.errors import ConfigError
from coderm_reward.integrations.prompt_book import DatasetFiles
from coderm_reward.integrations.ray_group_host import GroupSettings
from coderm_reward.integrations.ray_log import LogSettings
from coderm_reward.online.assembly import check_settings
from coderm_reward.training_config import LoggerName

__all__ = ["check_version", "group_settings", "is_batched", "plain_settings", "settings_from_kwargs"]

_OLDEST, _NEWEST = (0, 8), (0, 9)
_KNOWN: tuple[LoggerName, ...] = ("wandb", "tensorboard")
_log = logging.getLogger("coderm_reward")


def check_version(found: str | None = None) -> None:
    """Make sure that the verl installed is one that we know; `found` is its version, if it is known.

    Raises:
        ConfigError: there is none, or it is older than 0.8.
    """
    if found is None:
        try:
            found = version("verl")
        except PackageNotFoundError:
            raise ConfigError(
                "verl is not installed here; pip install 'coderm-reward[verl]' (0.8 or 0.9)."
            ) from None
    try:
        major, minor = (int(part) for part in found.split(".")[:2])
    except ValueError:
        _log.warning("verl calls itself %s; coderm-reward is made for 0.8 and 0.9", found)
        return
    if (major, minor) < _OLDEST:
        raise ConfigError(
            f"verl {found} has no reward loop that coderm-reward could plug into; install 'verl>=0.8,<0.10'."
        )
    if (major, minor) > _NEWEST:
        _log.warning("verl %s is newer than what coderm-reward was tested with (0.8 and 0.9)", found)


def settings_from_kwargs(kwargs: Mapping[str, Any]) -> RewardConfig:
    """Return our settings from verl's `reward_kwargs`: a `config_path`, single settings, or both.

    Raises:
        ConfigError: an unknown setting, a value of the wrong kind, or no such file.
    """
    settings = plain_settings(kwargs)
    path = settings.pop("config_path", None)
    return load_config(path, **settings)


def group_settings(config: Any, router: str | None) -> GroupSettings:
    """Return the settings of the group actors from verl's whole configuration.

    Args:
        config: verl's DictConfig, as its reward workers have it.
        router: address of verl's reward router (`host:port`), where it runs a reward model for us.

    Raises:
        ConfigError: settings that are unknown, contradict each other, or cannot mean anything in a training.
    """
    custom = _get(config, "reward", "custom_reward_function", "reward_kwargs") or {}
    settings = settings_from_kwargs(custom)
    if router is not None:
        server, model = f"http://{router}/v1", str(_get(config, "reward", "reward_model", "model_path"))
        generation = msgspec.structs.replace(settings.generation, base_url=server, model=model)
        settings = msgspec.structs.replace(settings, generation=generation)
    check_settings(settings)
    project, experiment = (
        str(_get(config, "trainer", name) or name) for name in ("project_name", "experiment_name")
    )
    return GroupSettings(
        config=settings,
        run=experiment,
        siblings=_siblings(config, "n"),
        validation_siblings=_siblings(config, "val_kwargs", "n"),
        dataset=_dataset(config),
        log=LogSettings(
            folder=str(_records_folder(settings, config)),
            loggers=_loggers(settings, config),
            run=experiment,
            project=project,
            experiment=experiment,
            groups_per_step=_groups_per_step(config),
        ),
    )


def _groups_per_step(config: Any) -> int | None:
    """The training groups of a step; None where a trainer draws more than it keeps, as DAPO's does."""
    batch, drawn = (_get(config, "data", f"{kind}_batch_size") for kind in ("train", "gen"))
    filtered = _get(config, "algorithm", "filter_groups", "enable")
    return int(batch) if batch and not filtered and drawn in (None, batch) else None


def is_batched(config: Any) -> bool:
    """Whether verl scores a whole step at a time, after its rollouts: with a colocated reward model."""
    enabled = _get(config, "reward", "reward_model", "enable")
    return bool(enabled) and not _get(config, "reward", "reward_model", "enable_resource_pool")


def _siblings(config: Any, *where: str) -> int | None:
    """How many rollouts verl draws for a prompt, as far as its configuration says."""
    found = _get(config, "actor_rollout_ref", "rollout", *where)
    return found if isinstance(found, int) and found > 0 else None


def _dataset(config: Any) -> DatasetFiles:
    def files(name: str) -> tuple[str, ...]:
        found = plain_settings(_get(config, "data", name) or [])
        return (found,) if isinstance(found, str) else tuple(map(str, found))

    found = DatasetFiles(
        train=files("train_files"),
        validation=files("val_files"),
        prompt_key=str(_get(config, "data", "prompt_key") or "prompt"),
    )
    # One by one verl hands over all columns, but never says which rollouts are validation.
    return found if is_batched(config) else msgspec.structs.replace(found, columns=())


def _records_folder(settings: RewardConfig, config: Any) -> Path:
    """As it is written: workers of different nodes may start in different folders, and must agree."""
    if settings.training.records is not None:
        return Path(settings.training.records)
    checkpoints = _get(config, "trainer", "default_local_dir")
    return Path(checkpoints) / "coderm" if checkpoints else Path("coderm_records")


def _loggers(settings: RewardConfig, config: Any) -> tuple[LoggerName, ...]:
    if settings.training.loggers is not None:
        return settings.training.loggers
    used = plain_settings(_get(config, "trainer", "logger") or [])
    return tuple(name for name in _KNOWN if name in used)


def _get(config: Any, *names: str) -> Any:
    """A value of a nested configuration; None where any part of the way is missing."""
    for name in names:
        if config is None:
            return None
        config = config.get(name)
    return config


def plain_settings(value: Any) -> Any:
    """A part of a configuration without OmegaConf's containers, its interpolations resolved.

    Raises:
        ConfigError: it holds something that is no setting.
    """
    if type(value).__module__.startswith("omegaconf"):
        from omegaconf import OmegaConf

        value = OmegaConf.to_container(value, resolve=True)
    elif isinstance(value, Mapping):
        value = {name: plain_settings(one) for name, one in value.items()}
    try:
        return plain(value)
    except ValueError as error:
        raise ConfigError(f"The reward's settings hold {value!r}, which is no setting: {error}.") from None
