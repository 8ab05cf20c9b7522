"""What tests of the verl adapter share: a tokenizer made on the spot, verl's own configuration, batches."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

EXAMPLE = Path(__file__).parents[4] / "recipes" / "offline_scoring"


@dataclass(frozen=True)
class Row:
    """A rollout as verl would hold it."""

    prompt: list[dict[str, str]]
    response: str
    uid: str = ""
    extra_info: dict[str, Any] = field(default_factory=dict)
    ground_truth: Any = None


def make_tokenizer(folder: Path, chat_template: str | None = None) -> Path:
    """Write a byte-level tokenizer without merges, and with no chat template unless one is given."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|pad|>", bos_token="<|im_start|>"
    )
    if chat_template is not None:
        fast.chat_template = chat_template
    fast.save_pretrained(folder)
    return folder


def make_config(tokenizer: Path, folder: Path, overrides: Sequence[str] = ()) -> Any:
    """Compose verl's own PPO configuration with our manager and function in it."""
    import verl.trainer
    from hydra import compose, initialize_config_dir
    from verl.experimental.reward_loop import migrate_legacy_reward_impl

    ours = "pkg://coderm_reward.integrations.verl"
    with initialize_config_dir(str(Path(verl.trainer.__file__).parent / "config"), version_base=None):
        config = compose(
            "ppo_trainer",
            overrides=[
                f"actor_rollout_ref.model.path={tokenizer}",
                "reward.num_workers=2",
                "reward.reward_manager.source=importlib",
                "reward.reward_manager.name=CodeRMRewardManager",
                f"reward.reward_manager.module.path={ours}",
                f"reward.custom_reward_function.path={ours}",
                f"+reward.custom_reward_function.reward_kwargs.records={folder / 'records'}",
                f"trainer.default_local_dir={folder / 'checkpoints'}",
                *overrides,
            ],
        )
    return migrate_legacy_reward_impl(config)


def example_rows() -> list[Row]:
    """The hand-made rollouts of recipes/offline_scoring, prompts as messages."""
    prompts = {}
    for line in (EXAMPLE / "unit_tests.jsonl").read_text().splitlines():
        prompt = json.loads(line)["prompt"]
        prompts[prompt[:80]] = prompt
    rows = []
    for name in ("1.jsonl", "2.jsonl"):
        for line in (EXAMPLE / "dump" / name).read_text().splitlines():
            row = json.loads(line)
            prompt = next((p for start, p in prompts.items() if start in row["input"]), None)
            if prompt is not None:
                uid = f"{name}-{len(rows)}" if "uid" not in row else row["uid"]
                rows.append(Row([{"role": "user", "content": prompt}], row["output"], uid))
    return rows


def make_batch(tokenizer: Any, rows: Sequence[Row], *, minimal: bool = False, meta: Any = None) -> Any:
    """A DataProto: with all fields of the older trainer, or the few of the v1 with a colocated model."""
    import torch
    from tensordict import TensorDict
    from verl import DataProto

    prompts = [tokenizer.encode("".join(m["content"] for m in row.prompt)) for row in rows]
    responses = [[*tokenizer.encode(row.response), tokenizer.eos_token_id] for row in rows]

    def padded(texts: list[list[int]], left: bool) -> tuple[Any, Any]:
        width = max(map(len, texts))
        fill = [[tokenizer.pad_token_id] * (width - len(text)) for text in texts]
        ones = [[1] * len(text) for text in texts]
        zeros = [[0] * len(pad) for pad in fill]
        pairs = zip(fill, texts, strict=True) if left else zip(texts, fill, strict=True)
        masks = zip(zeros, ones, strict=True) if left else zip(ones, zeros, strict=True)
        return torch.tensor([a + b for a, b in pairs]), torch.tensor([a + b for a, b in masks])

    prompt_ids, prompt_mask = padded(prompts, left=True)
    response_ids, response_mask = padded(responses, left=False)
    attention = torch.cat([prompt_mask, response_mask], dim=1)
    batch = TensorDict(
        {"prompts": prompt_ids, "responses": response_ids, "attention_mask": attention},
        batch_size=len(rows),
    )
    fields: dict[str, list[Any]] = {"raw_prompt": [row.prompt for row in rows]}
    if not minimal:
        fields |= {
            "uid": [row.uid for row in rows],
            "data_source": ["example"] * len(rows),
            "reward_model": [{"style": "rule", "ground_truth": row.ground_truth} for row in rows],
            "extra_info": [row.extra_info for row in rows],
        }
    arrays = {}
    for name, values in fields.items():
        arrays[name] = np.empty(len(rows), dtype=object)
        arrays[name][:] = values
    return DataProto(batch=batch, non_tensor_batch=arrays, meta_info=meta or {})
