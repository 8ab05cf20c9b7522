"""A GRPO training with the real trainer, as a user's script: a tiny random model made here, real rewards.

    python trl_training.py OUT.json [async]        or under torch.distributed.run

The policy's tokens are bytes. Rollouts are recorded ones of the example (TRL's rollout_func), so that rewards
are real; the loss is computed and the model trained on them. Every process appends what its reward function
was asked and answered to OUT.json.RANK.
"""

from __future__ import annotations

import collections
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from trl import GRPOConfig, GRPOTrainer

from coderm_reward.integrations.trl import AsyncCodeRMReward, CodeRMReward
from coderm_reward.online.sample import GroupOutcome

RECIPE = Path(__file__).resolve().parents[3] / "recipes" / "offline_scoring"
GENERATIONS = 4
TINY = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 2048,
}


def main(out: str, kind: str = "sync") -> None:
    """Train two steps; with two processes half of each group is in either."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    groups: dict[str, list[str]] = collections.defaultdict(list)
    for line in (RECIPE / "dump" / "1.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        groups[row["input"]].append(row["output"])
    tokenizer = byte_tokenizer()
    reward = watched(AsyncCodeRMReward if kind == "async" else CodeRMReward, out)
    trainer = GRPOTrainer(
        model=transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=len(tokenizer), **TINY)),
        reward_funcs=reward,
        args=GRPOConfig(
            output_dir=str(Path(out).parent / "trained"),
            per_device_train_batch_size=8 if processes == 1 else GENERATIONS // processes,
            num_generations=GENERATIONS,
            max_completion_length=64,
            max_steps=2,
            logging_steps=1,
            report_to=[],
            save_strategy="no",
            use_cpu=True,
            bf16=False,
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_dict({"prompt": list(groups)[:2], "task_id": ["first", "second"]}),
        processing_class=tokenizer,
        rollout_func=rollouts_of(groups, tokenizer),
    )
    trainer.train()
    reward.close()
    Path(f"{out}.{trainer.accelerator.process_index}").write_text(
        json.dumps({"calls": reward.calls, "groups": reward.groups, "log": trainer.state.log_history}),
        "utf-8",
    )


def watched(kind: type[CodeRMReward], out: str) -> Any:
    """The reward function, which also keeps what it was asked, what it answered, and the groups it scored."""

    class Watched(kind):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            tests = str(RECIPE / "unit_tests.jsonl")
            super().__init__(tests=tests, num_generations=GENERATIONS, sink=self, records=f"{out}.records")
            self.calls: list[Any] = []
            self.groups: list[Any] = []

        def add(self, outcome: GroupOutcome) -> None:
            record = outcome.record
            scores = [rollout.reward.score for rollout in record.rollouts]
            self.groups.append({"task": record.task_id, "step": record.step, "scores": scores})

        def _score(self, ranks: Any, samples: Any) -> Any:
            rewards = super()._score(ranks, samples)
            self.calls.append([(s.task_id, r.score) for s, r in zip(samples, rewards, strict=True)])
            return rewards

    return Watched()


def rollouts_of(groups: dict[str, list[str]], tokenizer: Any) -> Callable[[list[str], Any], dict[str, Any]]:
    """TRL's rollout_func: recorded responses, other ones in each process."""
    given: collections.Counter[str] = collections.Counter()

    def rollouts(prompts: list[str], trainer: Any) -> dict[str, Any]:
        completions = []
        for prompt in prompts:
            place = given[prompt] + trainer.accelerator.process_index * (GENERATIONS // 2)
            completions.append(groups[prompt][place % len(groups[prompt])])
            given[prompt] += 1
        ids = [tokenizer(text)["input_ids"] for text in completions]
        prompt_ids = [tokenizer(prompt)["input_ids"] for prompt in prompts]
        return {
            "prompt_ids": prompt_ids,
            "completion_ids": ids,
            "logprobs": [[0.0] * len(one) for one in ids],
        }

    return rollouts


def byte_tokenizer() -> transformers.PreTrainedTokenizerFast:
    """A tokenizer with a token for every byte."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: number for number, symbol in enumerate([*alphabet, "<pad>", "<end>"])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<end>"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
