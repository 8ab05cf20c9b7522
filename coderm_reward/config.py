"""Settings: one frozen struct per component and one loader for YAML, dicts and flat keywords.

Leaf names are unique over all components, so verl's flat keywords (`timeout=1.0`) and YAML's
sections (`sandbox: {timeout: 1.0}`) name the same setting. Unknown keys are errors.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from coderm_reward.errors import ConfigError
from coderm_reward.types import content_hash

__all__ = [
    "AggregatorName",
    "BudgetConfig",
    "Duplicates",
    "ExecutionConfig",
    "Isolation",
    "JudgeName",
    "RewardConfig",
    "SandboxConfig",
    "ScoringConfig",
    "ShapeName",
    "VoteUnit",
    "load_config",
]

AggregatorName = Literal["majority", "majority_consensus", "dual_agreement", "combined"]
ShapeName = Literal["fraction", "binary", "vote_share"]
VoteUnit = Literal["method", "class"]
Duplicates = Literal["weight", "drop"]
JudgeName = Literal["handle", "inline"]
Isolation = Literal["auto", "bubblewrap", "landlock", "none"]

Positive = Annotated[float, Meta(gt=0)]
PositiveInt = Annotated[int, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, le=1)]


class SandboxConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How solutions are executed (DESIGN section 5)."""

    workers: PositiveInt | None = None
    """Sandbox workers; None means one per usable core."""
    isolation: Isolation = "auto"
    """How workers are walled in; auto is bubblewrap, or landlock where the host forbids namespaces."""
    sandbox_python: str | None = None
    """Interpreter whose packages candidate code may import; None means the one that runs us."""
    timeout: Positive = 1.0
    """Seconds one test method may take, three times that for loading the solution; time that the machine
    kept it waiting for a core is not charged."""
    memory: PositiveInt = 1024
    """MiB that one solution with all its processes may use."""
    processes: PositiveInt = 64
    """Processes and threads that one solution may have at once."""
    file_size: PositiveInt = 16
    """MiB of the largest file it may write."""
    output: PositiveInt = 16
    """MiB it may print per test."""
    hang_limit: Annotated[int, Meta(ge=0)] = 8
    """A solution whose first votes were all timeouts, this many and of at least two test classes, is not run
    further: the rest of its votes are TIMEOUT too (and counted as assumed). 0 runs every vote."""


class ExecutionConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which verdicts need no second run (see execution.cache)."""

    verdict_cache: str = "memory"
    """memory: for this process. off: every distinct pair of a group runs. Anything else is a file that steps,
    runs and processes of one machine share."""


class ScoringConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a matrix becomes rewards (DESIGN section 8)."""

    aggregator: AggregatorName = "majority"
    vote_unit: VoteUnit = "method"
    shape: ShapeName = "fraction"
    threshold: Share = 0.5
    """The threshold of shape `binary`."""
    acc_threshold: Share = 0.5
    neutral: Literal["group_mean"] | float = "group_mean"
    """Reward where there is no evidence: the mean of the group's scored siblings, or this number."""
    duplicates: Duplicates = "weight"
    """Whether copies of a test keep their vote, and copies of a solution their weight in clusters."""
    exclude_judges: tuple[JudgeName, ...] = ()
    """Judges (DESIGN section 5) whose verdicts are no evidence: they leave the denominator like UNKNOWN, but
    are no failure of the infrastructure. TAMPERED counts whoever found it."""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "exclude_judges", tuple(sorted(set(self.exclude_judges))))


class BudgetConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many tests each prompt gets (DESIGN section 7)."""

    estimator: Literal["constant"] = "constant"
    pass_rate: Share = 0.5
    """What the `constant` estimator says of every prompt."""
    allocator: Literal["uniform"] = "uniform"
    budget: PositiveInt | None = None
    """Mean number of generator responses per prompt; None uses every response there is."""


class RewardConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that decides a reward, in one value."""

    sandbox: SandboxConfig = SandboxConfig()
    execution: ExecutionConfig = ExecutionConfig()
    scoring: ScoringConfig = ScoringConfig()
    budget: BudgetConfig = BudgetConfig()

    def fingerprint(self) -> str:
        """Hash of every setting that can change a reward; workers and the verdict cache are not meant to."""
        settings = msgspec.to_builtins(self)
        del settings["sandbox"]["workers"]
        del settings["execution"]["verdict_cache"]
        return content_hash(msgspec.json.encode(settings, order="deterministic").decode())


_SECTIONS: dict[str, type[Struct]] = {
    "sandbox": SandboxConfig,
    "execution": ExecutionConfig,
    "scoring": ScoringConfig,
    "budget": BudgetConfig,
}
_LEAVES = {leaf: section for section, struct in _SECTIONS.items() for leaf in struct.__struct_fields__}


def load_config(source: str | Path | Mapping[str, Any] | None = None, /, **overrides: Any) -> RewardConfig:
    """Return the settings of a YAML file or mapping, with flat keyword overrides on top.

    Overrides that are None are ignored, so a command line can pass all its options through.

    Raises:
        ConfigError: unreadable file, unknown key, wrong type or value out of range.
    """
    where = "the settings"
    tree: dict[str, Any] = {}
    if isinstance(source, (str, Path)):
        where = str(source)
        try:
            loaded = msgspec.yaml.decode(Path(source).read_bytes())
        except FileNotFoundError:
            raise ConfigError(f"Config file {source} does not exist; check --config.") from None
        except OSError as error:
            raise ConfigError(f"Config file {source} cannot be read ({error.strerror}).") from None
        except msgspec.DecodeError as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"Config file {source} is not YAML ({reason}); correct it.") from None
        source = {} if loaded is None else loaded
    if source is not None:
        if not isinstance(source, Mapping):
            raise ConfigError(f"{where} must hold a mapping of settings, not {type(source).__name__}.")
        for key, value in source.items():
            _place(tree, str(key), value, where)
    for key, value in overrides.items():
        if value is not None:
            _place(tree, key, value, "the options")
    try:
        config = msgspec.convert(tree, RewardConfig)
    except msgspec.ValidationError as error:
        raise ConfigError(_explain(error, tree)) from None
    for section in _SECTIONS:
        for leaf, value in msgspec.structs.asdict(getattr(config, section)).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ConfigError(f"Setting {section}.{leaf} must be a finite number, not {value}.")
    return config


def _place(tree: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Put one setting, given as a section or as a flat leaf, into the nested tree."""
    is_leaf = key in _LEAVES and not isinstance(value, Mapping)  # `budget` names a section and a number
    if key in _SECTIONS and not is_leaf:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: {key!r} must be a mapping of settings, not {value!r}.")
        for leaf, leaf_value in value.items():
            if _LEAVES.get(str(leaf)) != key:
                raise ConfigError(
                    _unknown(f"{key}.{leaf}", str(leaf), _SECTIONS[key].__struct_fields__, where)
                )
            tree.setdefault(key, {})[str(leaf)] = leaf_value
        return
    section = _LEAVES.get(key)
    if section is None:
        raise ConfigError(_unknown(key, key, (*_SECTIONS, *_LEAVES), where))
    tree.setdefault(section, {})[key] = value


def _explain(error: msgspec.ValidationError, tree: Mapping[str, Any]) -> str:
    """One sentence on a value of the wrong kind, with the values that are right."""
    path = re.search(r"\$\.(\w+)\.(\w+)", str(error))
    if path is None:
        return f"Bad settings: {error}."
    section, leaf = path.groups()
    value = tree[section][leaf]
    hint = get_type_hints(_SECTIONS[section])[leaf]
    listed = get_origin(hint) is tuple
    choices = [c for c in _choices(hint) if isinstance(c, str)] + ["a number"] * (float in get_args(hint))
    if listed:
        return f"Setting {section}.{leaf} cannot be {value!r}; give a list of {', '.join(choices)}."
    if choices and "enum" in str(error):
        return f"Setting {section}.{leaf} cannot be {value!r}; choose one of {', '.join(choices)}."
    reason = str(error).split(" - at")[0].replace("`", "").replace("Expected", "expected")
    also = f" or one of {', '.join(choices)}" if choices else ""
    return f"Setting {section}.{leaf} cannot be {value!r}: {reason}{also}."


def _choices(hint: Any) -> tuple[Any, ...]:
    """The literal values in a type, also as members of a union."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    return tuple(choice for part in get_args(hint) for choice in _choices(part))


def _unknown(shown: str, key: str, known: tuple[str, ...], where: str) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known are: {', '.join(known)}."
    return f"Unknown setting {shown!r} in {where}; {hint}"
