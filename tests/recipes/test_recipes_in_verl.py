"""The training recipes in verl's own configuration, checked as its entry point does before it wants a GPU."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.verl
pytest.importorskip("ray")
verl = pytest.importorskip("verl")

from hydra import compose, initialize_config_dir  # noqa: E402
from hydra.errors import ConfigCompositionException, OverrideParseException  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402
from recipe_commands import (  # noqa: E402
    COLOCATED,
    DYNAMIC,
    EXTERNAL,
    FOLDER,
    PPO,
    RECIPES,
    REWARD_KWARGS,
    STANDALONE,
    UNIFORM,
    Recipe,
    overrides,
    reward_kwargs,
)

from coderm_reward.config import load_config  # noqa: E402

MODULE = "pkg://coderm_reward.integrations.verl"
ON_TRAINING_CARDS = (COLOCATED, PPO, UNIFORM, DYNAMIC)
recipes = pytest.mark.parametrize("recipe", RECIPES, ids=str)
Composed = Callable[..., Any]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy as small as can be, as verl reads its configuration and tokenizer while it checks."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast, Qwen2Config

    folder = tmp_path_factory.mktemp("policy")
    words = {"<pad>": 0, "<eos>": 1, "word": 2}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="<pad>")),
        pad_token="<pad>",
        eos_token="<eos>",
    )
    tokenizer.chat_template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    tokenizer.save_pretrained(folder)
    Qwen2Config(
        vocab_size=3,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        architectures=["Qwen2ForCausalLM"],
    ).save_pretrained(folder)
    return folder


@pytest.fixture
def composed(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Composed:
    """Compose a recipe, with more overrides behind its own, in verl's configuration; no hub is ever asked."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def compose_recipe(recipe: Recipe | None = None, *more: str) -> Any:
        models = {"POLICY": str(model), "CODERM": str(model)}
        given = overrides(recipe, tmp_path, *more, **models) if recipe else list(more)
        folder = Path(verl.__file__).parent / "trainer" / "config"
        with initialize_config_dir(config_dir=str(folder), version_base=None):
            return compose("ppo_trainer", overrides=given)

    return compose_recipe


def check(config: Any) -> None:
    """What verl does with a configuration before it starts anything."""
    from verl.experimental.reward_loop import migrate_legacy_reward_impl
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import omega_conf_to_dataclass, validate_config
    from verl.utils.device import auto_set_device

    auto_set_device(config)
    reward = OmegaConf.to_container(config.reward)
    assert OmegaConf.to_container(migrate_legacy_reward_impl(config.copy()).reward) == reward
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        critic, reference = need_critic(config), need_reference_policy(config)
        validate_config(config=config, use_reference_policy=reference, use_critic=critic)
        sections = [
            "algorithm",
            "actor_rollout_ref.actor",
            "actor_rollout_ref.rollout",
            "actor_rollout_ref.model",
        ]
        sections += ["critic"] if critic else []
        sections += ["reward.reward_model"] if config.reward.reward_model.enable else []
        # Not reward.reward_manager and actor_rollout_ref.ref: verl 0.9.1 cannot make these, and never does.
        for section in sections:
            omega_conf_to_dataclass(OmegaConf.select(config, section))
    get_adv_estimator_fn(config.algorithm.adv_estimator)
    OmegaConf.resolve(config)


@recipes
def test_verl_takes_the_recipe(recipe: Recipe, composed: Composed) -> None:
    check(composed(recipe))


@pytest.mark.parametrize(
    "typo",
    [
        "actor_rollout_ref.rollout.gpu_memory_utilisation=0.5",
        "reward.reward_model.rollout.max_model_length=4096",
        "reward.custom_reward_function.reward_kwargs.responses=4",  # lacks its plus
        "trainer.n_gpu_per_node=8",
        "algorithm.adv_estimator=[grpo",
    ],
)
def test_a_misspelt_override_is_refused(typo: str, composed: Composed) -> None:
    with pytest.raises((ConfigCompositionException, OverrideParseException)):
        composed(COLOCATED, typo)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("algorithm.adv_estimator=grop", "Unknown advantage estimator"),
        ("actor_rollout_ref.actor.loss_agg_mode=token-meen", "loss_agg_mode"),
        ("reward.reward_model.rollout.pipeline_model_parallel_size=2", "pipeline_model_parallel_size"),
    ],
)
def test_a_value_that_verl_does_not_know_is_refused(value: str, message: str, composed: Composed) -> None:
    with pytest.raises(Exception, match=message):
        check(composed(COLOCATED, value))


def kind(value: Any) -> type:
    return float if type(value) is int else type(value)


@recipes
def test_every_value_is_of_the_kind_that_it_replaces(
    recipe: Recipe, composed: Composed, tmp_path: Path
) -> None:
    """verl takes tensor_model_parallel_size=one without a word."""
    config, default = composed(recipe), composed()
    for item in overrides(recipe, tmp_path):
        key = item.split("=", 1)[0]
        value = OmegaConf.select(config, key.lstrip("+"))
        replaced = OmegaConf.select(default, key) if not key.startswith("+") else None
        assert value is not None, item
        assert replaced is None or kind(value) is kind(replaced), item


@recipes
def test_the_reward_is_ours(recipe: Recipe, composed: Composed) -> None:
    reward = composed(recipe).reward
    assert (reward.reward_manager.source, reward.reward_manager.name) == ("importlib", "CodeRMRewardManager")
    assert reward.reward_manager.module.path == MODULE
    assert (reward.custom_reward_function.path, reward.custom_reward_function.name) == (
        MODULE,
        "compute_score",
    )


def test_verl_finds_manager_and_function(composed: Composed) -> None:
    pytest.importorskip("coderm_reward.integrations.verl")
    from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase
    from verl.trainer.ppo.reward import get_custom_reward_fn, resolve_reward_manager_cls

    config = composed(COLOCATED)
    assert issubclass(resolve_reward_manager_cls(config), RewardManagerBase)
    assert callable(get_custom_reward_fn(config))


@recipes
def test_settings_arrive_as_they_were_written(recipe: Recipe, composed: Composed, tmp_path: Path) -> None:
    kwargs = dict(composed(recipe).reward.custom_reward_function.reward_kwargs)
    assert kwargs == reward_kwargs(overrides(recipe, tmp_path))
    assert Path(kwargs["config_path"]).is_file()
    load_config(Path(kwargs.pop("config_path")), **kwargs)


def test_settings_can_be_added_on_the_command_line(composed: Composed) -> None:
    given = composed(COLOCATED, f"{REWARD_KWARGS}responses=4", f"+{REWARD_KWARGS}store=memory")
    kwargs = dict(given.reward.custom_reward_function.reward_kwargs)
    config = load_config(Path(kwargs.pop("config_path")), **kwargs)
    assert (config.generation.responses, config.generation.store) == (4, "memory")


@recipes
def test_a_step_divides_among_cards_and_updates(recipe: Recipe, composed: Composed) -> None:
    config = composed(recipe)
    cards = config.trainer.nnodes * config.trainer.n_gpus_per_node
    prompts, siblings = config.data.train_batch_size, config.actor_rollout_ref.rollout.n
    update = config.actor_rollout_ref.actor.ppo_mini_batch_size
    assert siblings > 1
    assert prompts % update == 0
    assert prompts * siblings % cards == update * siblings % cards == 0
    longest = config.data.max_prompt_length + config.data.max_response_length
    assert config.actor_rollout_ref.actor.ppo_max_token_len_per_gpu >= longest
    assert cards % config.actor_rollout_ref.rollout.tensor_model_parallel_size == 0


@pytest.mark.parametrize("recipe", [*ON_TRAINING_CARDS, STANDALONE], ids=str)
def test_verl_serves_what_the_reward_asks_of_it(recipe: Recipe, composed: Composed) -> None:
    config = composed(recipe)
    served, asked = config.reward.reward_model, load_config(recipe.settings).generation
    assert served.enable
    assert (served.rollout.name, served.rollout.tensor_model_parallel_size) == ("vllm", 1)
    assert served.rollout.max_model_len == asked.context
    assert served.rollout.response_length >= asked.max_tokens  # vLLM ends a response there, whatever is asked


@pytest.mark.parametrize("recipe", ON_TRAINING_CARDS, ids=str)
def test_engines_on_one_card_sleep_and_would_fit_awake(recipe: Recipe, composed: Composed) -> None:
    config = composed(recipe)
    served, rollout = config.reward.reward_model, config.actor_rollout_ref.rollout
    assert not served.enable_resource_pool
    assert served.rollout.free_cache_engine
    assert rollout.free_cache_engine
    assert served.rollout.gpu_memory_utilization + rollout.gpu_memory_utilization <= 0.95


def test_an_engine_on_its_own_cards_never_sleeps(composed: Composed) -> None:
    served = composed(STANDALONE).reward.reward_model
    assert served.enable_resource_pool
    # verl puts it to sleep at start-up, and nobody wakes it where rewards are asked for one by one.
    assert not served.rollout.free_cache_engine


def test_an_external_server_needs_no_card_of_verl(composed: Composed) -> None:
    config = composed(EXTERNAL)
    assert not config.reward.reward_model.enable
    assert config.reward.custom_reward_function.reward_kwargs.base_url == "http://model-server:8000/v1"


@recipes
def test_cards_are_shared_as_the_recipe_says(recipe: Recipe, composed: Composed) -> None:
    """The default trainer's own table of resource pools."""
    pytest.importorskip("transfer_queue")
    from verl.trainer.ppo.utils import Role
    from verl.trainer.ppo.v1 import get_trainer_cls

    config = composed(recipe)
    trainer = object.__new__(get_trainer_cls(config.trainer.v1.trainer_mode))
    trainer.config = config
    trainer._init_resource_pool_mgr()
    pools = trainer.resource_pool_manager.resource_pool_spec
    cards = {pool: sum(per_node) for pool, per_node in pools.items()}
    if recipe is STANDALONE:
        assert cards == {"global_pool": 4, "reward_pool": 4}
        assert trainer.mapping[Role.RewardModel] == "reward_pool"
    else:
        assert cards == {"global_pool": 8}
    assert (Role.Critic in trainer.mapping) == (recipe is PPO)


@pytest.mark.parametrize(("recipe", "refused"), [(COLOCATED, True), (STANDALONE, False), (EXTERNAL, False)])
def test_dapo_needs_rewards_one_by_one(recipe: Recipe, refused: bool, composed: Composed) -> None:
    """What docs/verl.md says of algorithm.filter_groups."""
    from verl.trainer.ppo.v1 import get_trainer_cls

    trainer = object.__new__(get_trainer_cls("sync"))
    trainer.config = composed(
        recipe, "algorithm.filter_groups.enable=True", "algorithm.filter_groups.metric=acc"
    )
    if refused:
        with pytest.raises(AssertionError, match="colocated reward model"):
            trainer._resolve_filter_groups_metric()
    else:
        assert trainer._resolve_filter_groups_metric() == "acc"


def test_what_every_run_needs_composes_as_the_page_says(composed: Composed) -> None:
    page = (FOLDER.parent / "docs" / "verl.md").read_text()
    lines = [line.strip() for line in page.splitlines() if re.match(r"    \+?reward\.\S+=\S+$", line)]
    assert len(lines) == 6
    reward = composed(None, *lines).reward
    assert (reward.reward_manager.module.path, reward.custom_reward_function.path) == (MODULE, MODULE)


def test_only_the_budget_tells_the_pair_apart(composed: Composed) -> None:
    uniform, dynamic = (OmegaConf.to_container(composed(recipe)) for recipe in (UNIFORM, DYNAMIC))
    for tree in (uniform, dynamic):
        for key in ("experiment_name", "default_local_dir", "rollout_data_dir", "validation_data_dir"):
            tree["trainer"].pop(key)
        tree["reward"]["custom_reward_function"].pop("reward_kwargs")
    assert uniform == dynamic
