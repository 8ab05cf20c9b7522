"""What a language model makes of a prompt: the hidden state of one layer at the last token.

Needs the extra `probe` (torch, transformers), which is imported when a model is opened. Any causal language
model that `AutoModelForCausalLM` loads from a folder or a hub name will do; code from a hub is never run.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jinja2
import msgspec
import numpy as np

from coderm_reward.budget.probe.buckets import length_buckets
from coderm_reward.budget.probe.cache import HiddenStateCache, StateArray
from coderm_reward.budget.probe.models import (
    FIXED_DATE,
    attention_on,
    chat_template,
    device_named,
    fingerprint_of,
    first_sentence,
    frameworks,
    precision_on,
    resolved_layer,
)
from coderm_reward.errors import InputError
from coderm_reward.types import content_hash

if TYPE_CHECKING:
    import torch

__all__ = [
    "BATCH_TOKENS",
    "HiddenStateReader",
    "ReadingSpec",
    "prompt_text",
    "read_hidden_states",
    "text_key",
]

BATCH_TOKENS = 8192
"""Tokens of one batch, padding included. All layers of a batch are in memory at once."""
_BATCH_ROWS = 64
_log = logging.getLogger("coderm_reward")


class ReadingSpec(msgspec.Struct, frozen=True):
    """Everything that decides the hidden state of a prompt."""

    model: str
    """As the user named it: for sentences, and where to look for it again. Not part of its identity."""
    fingerprint: str
    """16 hex digits over the model's architecture and a sample of its weights, whatever it is called."""
    layer: int
    """1 to `layers`: the output of that block (the last one behind the final norm); 0: the embeddings."""
    layers: int
    width: int
    template: Literal["chat", "plain"]
    """chat: the prompt is a user message in the model's chat template, the assistant's turn opened."""
    template_hash: str
    max_tokens: int
    """Of a longer prompt the last so many tokens are read."""
    dtype: str
    """Precision it was read in; the one field that a probe may differ in from what it is given."""

    def key(self) -> str:
        """16 hex digits: equal where hidden states may be exchanged."""
        return content_hash(*map(str, self.identity()), self.dtype)

    def identity(self) -> tuple[str | int, ...]:
        """What a probe and the states that it is given must agree in."""
        return (self.fingerprint, self.layer, self.template, self.template_hash, self.max_tokens)


def prompt_text(question: str) -> str:
    """Return what is read of a prompt: its question (last user message) with plain line ends, stripped."""
    return question.replace("\r\n", "\n").replace("\r", "\n").strip()


def text_key(text: str) -> str:
    """Return the key of a prompt's text: 16 hex digits."""
    return content_hash(text)


def read_hidden_states(
    texts: Sequence[str],
    key: str,
    open_reader: Callable[[], HiddenStateReader],
    cache: HiddenStateCache | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> StateArray:
    """Return float32 [P, width]: the states of P texts (`prompt_text`), from the cache where it has them.

    Equal texts are read once. The reader is opened only if something is missing; each batch goes into the
    cache as it is done, so an interrupted run goes on there. `progress` is told (done, total) distinct texts.
    """
    keys = [text_key(text) for text in texts]
    by_key = dict(zip(keys, texts, strict=True))
    states = cache.find(key, list(by_key)) if cache is not None else {}
    missing = [name for name in by_key if name not in states]
    progress(len(states), len(by_key))
    if missing:
        for places, vectors in open_reader().read([by_key[name] for name in missing]):
            fresh = {missing[place]: vector for place, vector in zip(places, vectors, strict=True)}
            states.update(fresh)
            if cache is not None:
                cache.add(key, fresh)
            progress(len(states), len(by_key))
    return np.stack([states[name] for name in keys]) if keys else np.zeros((0, 0), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class HiddenStateReader:
    """A model, ready to read prompts at one layer."""

    spec: ReadingSpec
    attention: str
    """flash_attention_2 where it is installed and the device has it, else PyTorch's own (sdpa)."""
    device: torch.device
    _model: Any
    _tokenizer: Any
    _chat_template: str
    """Empty where prompts are read plain."""

    @classmethod
    def open(
        cls,
        model: str,
        layer: int | None = None,
        *,
        template: Literal["auto", "chat", "plain"] = "auto",
        device: str = "auto",
        max_tokens: int = 2048,
    ) -> HiddenStateReader:
        """Load a model. `layer` counts blocks from 1, or from the last one as -1; None is two thirds of the
        depth. `auto` takes the chat template where there is one, and a GPU (in bfloat16) where there is one.

        Raises:
            ConfigError: the extra is not installed, or no such layer, device or template.
            InputError: the model cannot be loaded.
        """
        torch, transformers = frameworks()
        damaged = _safetensors_error()
        place = device_named(device)
        dtype = precision_on(device)
        attention = attention_on(place)
        transformers.utils.logging.disable_progress_bar()
        local = Path(model).exists()
        try:
            config = transformers.AutoConfig.from_pretrained(model, local_files_only=local)
            shape = config.get_text_config()
            layer = resolved_layer(layer, shape.num_hidden_layers, model)
            tokenizer = transformers.AutoTokenizer.from_pretrained(model, local_files_only=local)
            loaded = transformers.AutoModelForCausalLM.from_pretrained(
                model, dtype=getattr(torch, dtype), attn_implementation=attention, local_files_only=local
            )
            inner = loaded.base_model.eval().to(place)
        except (
            OSError,
            ValueError,
            LookupError,
            AttributeError,
            ImportError,
            RuntimeError,
            damaged,
        ) as error:
            raise InputError(
                f"The model {model} cannot be loaded ({first_sentence(error)}); give the folder of a Hugging "
                "Face causal language model, or its hub name where the hub can be reached."
            ) from None
        text = chat_template(template, tokenizer, model)
        spec = ReadingSpec(
            model=model,
            fingerprint=fingerprint_of(loaded),
            layer=layer,
            layers=shape.num_hidden_layers,
            width=shape.hidden_size,
            template="chat" if text else "plain",
            template_hash=content_hash(text) if text else "",
            max_tokens=min(max_tokens, getattr(shape, "max_position_embeddings", None) or max_tokens),
            dtype=dtype,
        )
        return cls(spec, attention, place, inner, tokenizer, text)

    def at_layer(self, layer: int) -> HiddenStateReader:
        """The same model read at another layer.

        Raises:
            ConfigError: it has no such layer.
        """
        layer = resolved_layer(layer, self.spec.layers, self.spec.model)
        return dataclasses.replace(self, spec=msgspec.structs.replace(self.spec, layer=layer))

    def read(self, texts: Sequence[str]) -> Iterator[tuple[list[int], StateArray]]:
        """Yield (indices of a batch, their states float32 [B, width]) until all texts are read.

        Raises:
            InputError: a text without tokens, a state that is not finite, a prompt too long for the memory.
        """
        tokens = [self._tokens(text) for text in texts]
        longer = sum(len(ids) > self.spec.max_tokens for ids in tokens)
        if longer:
            _log.warning("of %d prompts only the last %d tokens are read", longer, self.spec.max_tokens)
            tokens = [ids[-self.spec.max_tokens :] for ids in tokens]
        waiting = length_buckets([len(ids) for ids in tokens], BATCH_TOKENS, _BATCH_ROWS)[::-1]
        torch, _ = frameworks()
        while waiting:
            batch = waiting.pop()
            try:
                states = self._forward([tokens[i] for i in batch])
            except torch.OutOfMemoryError:
                if len(batch) == 1:
                    raise InputError(
                        f"A prompt of {len(tokens[batch[0]])} tokens does not fit into the device's memory; "
                        "read fewer of them with --max-tokens, or use --device cpu."
                    ) from None
                half = len(batch) // 2
                waiting += [batch[half:], batch[:half]]
                continue
            if not np.isfinite(states).all():
                raise InputError(
                    f"The model {self.spec.model} gives hidden states that are not finite in "
                    f"{self.spec.dtype}; check its weights, or use --device cpu."
                )
            yield batch, states

    def _tokens(self, text: str) -> list[int]:
        if self.spec.template == "chat":
            try:
                rendered = self._tokenizer.apply_chat_template(
                    [{"role": "user", "content": text}],
                    tokenize=False,
                    add_generation_prompt=True,
                    chat_template=self._chat_template,
                    date_string=FIXED_DATE,
                )
            except jinja2.TemplateError as error:
                raise InputError(
                    f"The chat template of {self.spec.model} cannot take a prompt ({first_sentence(error)}); "
                    "read prompts with --template plain."
                ) from None
            ids = self._tokenizer(rendered, add_special_tokens=False)["input_ids"]
        else:
            ids = self._tokenizer(text)["input_ids"]
        if not ids:
            raise InputError(
                "A prompt without any text has no hidden state; remove it or give it its question."
            )
        return list(ids)

    def _forward(self, rows: Sequence[list[int]]) -> StateArray:
        """[B, width] of one batch: padded on the right, where a causal model does not see it."""
        torch, _ = frameworks()
        width = max(map(len, rows))
        ids = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=self.device)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=self.device)
        last = torch.tensor([len(row) - 1 for row in rows], device=self.device)
        with torch.inference_mode():
            states = self._model(
                input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False
            ).hidden_states[self.spec.layer]
            chosen = states[torch.arange(len(rows), device=self.device), last]
        result: StateArray = chosen.float().cpu().numpy()
        return result


def _safetensors_error() -> type[Exception]:
    """What a damaged weight file raises; it derives from Exception alone."""
    from safetensors import SafetensorError

    error: type[Exception] = SafetensorError
    return error
