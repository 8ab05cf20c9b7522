"""Settings: one frozen struct per component and one loader for YAML, dicts and flat keywords.

Leaf names are unique over all components, so verl's flat keywords (`timeout=1.0`) and YAML's
sections (`sandbox: {timeout: 1.0}`) name the same setting. Unknown keys are errors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from coderm_reward.config_messages import bad_setting, unknown_setting
from coderm_reward.errors import ConfigError
from coderm_reward.training_config import TrainingConfig
from coderm_reward.types import content_hash

__all__ = [
    "AggregatorName",
    "AllocatorName",
    "BudgetConfig",
    "DifficultyName",
    "Duplicates",
    "EngineName",
    "ExecutionConfig",
    "GenerationConfig",
    "Isolation",
    "JudgeName",
    "ObjectiveName",
    "ReliabilityRule",
    "RewardConfig",
    "SandboxConfig",
    "ScoringConfig",
    "ScreenName",
    "ShapeName",
    "TemplateName",
    "VoteUnit",
    "load_config",
]

AggregatorName = Literal["majority", "majority_consensus", "dual_agreement", "combined", "bayes"]
ShapeName = Literal["fraction", "binary", "vote_share"]
ReliabilityRule = Literal["none", "shrink", "filter"]
VoteUnit = Literal["method", "class", "assertion"]
Duplicates = Literal["weight", "drop"]
JudgeName = Literal["handle", "inline"]
DifficultyName = Literal["constant", "dataset", "history", "pilot", "probe"]
AllocatorName = Literal["uniform", "greedy", "price", "sequential"]
ObjectiveName = Literal["best_of_n", "advantage"]
Isolation = Literal["auto", "bubblewrap", "landlock", "none"]
EngineName = Literal["vllm"]
TemplateName = Literal["auto", "coderm", "instruct"]
ScreenName = Literal["imports", "network", "files", "reference"]

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


class GenerationConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where unit tests come from when a model writes them (DESIGN section 6).

    The defaults of sampling are the paper's for CodeRM-8B. A key for a hosted server is read from the
    environment and never from here.
    """

    model: str = "KAKA22/CodeRM-8B"
    """Name of the model, as the server or the engine knows it."""
    base_url: str | None = None
    """An OpenAI-compatible server, such as http://localhost:8000/v1."""
    engine: EngineName | None = None
    """An engine in this process instead of a server."""
    store: str = "memory"
    """memory: for this process. Anything else is the file that keeps every response."""
    responses: PositiveInt = 16
    """Responses per prompt where no budget says otherwise."""
    template: TemplateName = "auto"
    """What the model is asked (see generation.prompts); auto: coderm for CodeRM models, else instruct."""
    temperature: Annotated[float, Meta(ge=0)] = 0.8
    top_p: Annotated[float, Meta(gt=0, le=1)] = 0.95
    max_tokens: PositiveInt = 2048
    """New tokens of one response."""
    context: PositiveInt = 4096
    """Tokens that prompt and response may take together; solutions that do not fit stay out of prompts."""
    generation_seed: int = 0
    """Every response draws with a seed of its own, made from this, its prompt and its number."""
    request_timeout: Positive = 300.0
    """Seconds one request may take, retry included."""
    requests_at_once: PositiveInt = 256
    """Requests in flight at most; fewer while the server is slow to answer."""
    choices_per_request: Annotated[int, Meta(ge=1, le=4)] = 1
    """Responses asked for in one request."""
    gpu_memory_utilization: Annotated[float, Meta(gt=0, le=1)] = 0.4
    """Of an engine in this process: its share of the GPU's memory."""
    tensor_parallel_size: PositiveInt = 1
    """Of an engine in this process: GPUs that share the model."""
    screen: tuple[ScreenName, ...] = ("imports", "network", "files")
    """Tests thrown away unrun: those that import what is not there, that use the network, or files and
    processes. reference: a test that the dataset's reference solution fails has no vote."""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "screen", tuple(sorted(set(self.screen))))
        if self.max_tokens >= self.context:
            raise ValueError(
                f"max_tokens {self.max_tokens} leaves no room for a prompt in a context of {self.context}"
            )


class ScoringConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a matrix becomes rewards (DESIGN section 8)."""

    aggregator: AggregatorName = "majority"
    vote_unit: VoteUnit = "method"
    """What votes: test methods, whole classes, or single assertions, after each of which a method goes on."""
    shape: ShapeName = "fraction"
    threshold: Share = 0.5
    """The threshold of shape `binary`."""
    acc_threshold: Share = 0.5
    neutral: Literal["group_mean"] | float = "group_mean"
    """Reward where there is no evidence: the mean of the group's scored siblings, or this number."""
    reliability_rule: ReliabilityRule = "none"
    """What a group's reliability does to its rewards: nothing, shrink them towards their mean by it (Kelley),
    or make them all the mean where it is below `min_reliability`: no gradient, and `filtered` says so."""
    min_reliability: Share = 0.5
    """The threshold of rule `filter`."""
    duplicates: Duplicates = "weight"
    """Whether copies of a test keep their vote, and copies of a solution their weight in clusters."""
    exclude_judges: tuple[JudgeName, ...] = ()
    """Judges (DESIGN section 5) whose verdicts are no evidence: they leave the denominator like UNKNOWN, but
    are no failure of the infrastructure. TAMPERED counts whoever found it."""
    exclude_own_tests: bool = False
    """Whether a test has no vote on the solution that stood in its prompt, nor on any behaving like it."""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "exclude_judges", tuple(sorted(set(self.exclude_judges))))


class BudgetConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many generator responses each prompt gets (DESIGN section 7)."""

    budget: PositiveInt | None = None
    """Mean number of generator responses per prompt; None uses every response there is."""
    allocator: AllocatorName = "uniform"
    """Who gets more and who less; all but uniform need a budget."""
    difficulty: DifficultyName = "constant"
    """How hard a prompt is taken to be: the estimator of its pass rate."""
    objective: ObjectiveName = "best_of_n"
    """What allocators greedy and price count as the gain of a test."""
    min_budget: Annotated[int, Meta(ge=0)] = 1
    """Responses that every prompt gets."""
    max_budget: PositiveInt | None = None
    """Responses that no prompt gets more than; None is four times the budget."""
    chunk: PositiveInt = 4
    """Responses that allocator sequential hands out at a time."""
    pass_rate: Share = 0.5
    """What estimator constant says of every prompt, and what the others say before they know anything."""
    prior_strength: Positive = 2.0
    """How many observations that is worth to them."""
    pass_rate_trials: Positive = 8.0
    """Attempts behind the pass rates of estimator dataset."""
    pilot: PositiveInt = 4
    """Responses that estimator pilot looks at first."""
    history: str = "memory"
    """Where estimator history keeps what it learns. memory: for this run. Anything else is a file that runs
    and processes share."""
    history_decay: Share = 0.5
    """What an outcome of estimator history weighs after each further visit of its prompt."""
    probe: str | None = None
    """The file of estimator probe, as `coderm-reward probe train` writes it."""
    probe_model: str | None = None
    """Where the model that it reads lies on this machine; None is where it lay in training."""


class RewardConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that decides a reward, in one value."""

    sandbox: SandboxConfig = SandboxConfig()
    execution: ExecutionConfig = ExecutionConfig()
    generation: GenerationConfig = GenerationConfig()
    scoring: ScoringConfig = ScoringConfig()
    budget: BudgetConfig = BudgetConfig()
    training: TrainingConfig = TrainingConfig()

    def fingerprint(self) -> str:
        """Hash of every setting that can change a reward; workers and the verdict cache are not meant to.

        Which model writes the tests, and how, is part of the generator's own fingerprint.
        """
        settings = msgspec.to_builtins(self)
        settings["generation"] = {"screen": settings["generation"]["screen"]}
        del settings["sandbox"]["workers"]
        del settings["execution"]["verdict_cache"]
        settings["training"] = {"ground_truth_weight": settings["training"]["ground_truth_weight"]}
        return content_hash(msgspec.json.encode(settings, order="deterministic").decode())


_SECTIONS: dict[str, type[Struct]] = {
    "sandbox": SandboxConfig,
    "execution": ExecutionConfig,
    "generation": GenerationConfig,
    "scoring": ScoringConfig,
    "budget": BudgetConfig,
    "training": TrainingConfig,
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
        raise ConfigError(bad_setting(error, tree, _SECTIONS)) from None
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
                    unknown_setting(f"{key}.{leaf}", str(leaf), _SECTIONS[key].__struct_fields__, where)
                )
            tree.setdefault(key, {})[str(leaf)] = leaf_value
        return
    section = _LEAVES.get(key)
    if section is None:
        raise ConfigError(unknown_setting(key, key, (*_SECTIONS, *_LEAVES), where))
    tree.setdefault(section, {})[key] = value
