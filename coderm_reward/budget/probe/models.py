"""Opening a language model: frameworks, device, precision, layer, chat template, and which model it is.

torch and transformers (extra `probe`) are imported on first use.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

from coderm_reward.errors import ConfigError

if TYPE_CHECKING:
    import torch

__all__ = [
    "FIXED_DATE",
    "attention_on",
    "chat_template",
    "device_named",
    "fingerprint_of",
    "first_sentence",
    "frameworks",
    "precision_on",
    "resolved_layer",
]

FIXED_DATE = "01 Jan 2025"
"""The day on which every prompt is read: some chat templates print it."""


def precision_on(device: str) -> str:
    """Return the precision that prompts are read in on a device: bfloat16 on a GPU that has it, else float32.

    Raises:
        ConfigError: no such device here, or the extra is not installed.
    """
    torch, _ = frameworks()
    on_gpu = device_named(device).type == "cuda"
    return "bfloat16" if on_gpu and torch.cuda.is_bf16_supported() else "float32"


def frameworks() -> tuple[Any, Any]:
    """Return the modules torch and transformers.

    Raises:
        ConfigError: the extra `probe` is not installed.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise ConfigError(
            f"A difficulty probe reads a language model and needs {error.name}; "
            "install it with pip install 'coderm-reward[probe]'."
        ) from None
    return torch, transformers


def device_named(name: str) -> torch.device:
    """Return a device; `auto` is a GPU where there is one, else the CPU.

    Raises:
        ConfigError: it cannot be used here.
    """
    torch, _ = frameworks()
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"The device {name!r} cannot be used here ({first_sentence(error)}); choose auto, cpu or cuda."
        ) from None
    return device


def attention_on(device: torch.device) -> str:
    """Return the attention to use: flash_attention_2 on a GPU that has it installed, else PyTorch's sdpa."""
    _, transformers = frameworks()
    flash = device.type == "cuda" and transformers.utils.is_flash_attn_2_available()
    return "flash_attention_2" if flash else "sdpa"


def resolved_layer(layer: int | None, layers: int, model: str) -> int:
    """Return a layer counted from 0 (embeddings) to `layers`; None is two thirds of the depth, -1 the last.

    Raises:
        ConfigError: there is no such layer.
    """
    if layer is None:
        return round(2 * layers / 3)
    place = layer + layers + 1 if layer < 0 else layer
    if not 0 <= place <= layers:
        raise ConfigError(
            f"The model {model} has {layers} layers, so --layer must lie between 0 (embeddings) and "
            f"{layers}, or count from the last as -1; it cannot be {layer}."
        )
    return place


def chat_template(wanted: str, tokenizer: Any, model: str) -> str:
    """Return the text of the chat template to read prompts in, empty for plain; `auto` takes it where there
    is one.

    A template that asks for the day gets FIXED_DATE, or else a prompt would read differently tomorrow.

    Raises:
        ConfigError: chat was asked for, and the model has none.
    """
    has_one = tokenizer.chat_template is not None
    if wanted == "chat" and not has_one:
        raise ConfigError(f"The model {model} has no chat template; read prompts with --template plain.")
    if wanted == "plain" or not has_one:
        return ""
    text = str(tokenizer.get_chat_template())
    today = f"{{%- macro strftime_now(form) -%}}{FIXED_DATE}{{%- endmacro -%}}"
    return today + text if "strftime_now" in text else text


def fingerprint_of(model: Any) -> str:
    """Hash of the architecture and of up to 16 numbers of each weight, rounded to bfloat16.

    Rounded, a checkpoint is the same whatever precision it was loaded in.
    """
    torch, _ = frameworks()
    digest = hashlib.sha256(type(model).__name__.encode())
    for weight in model.parameters():
        flat = weight.detach().reshape(-1)
        sample = flat[:: max(1, math.ceil(flat.numel() / 16))].to(torch.bfloat16).contiguous()
        digest.update(repr(tuple(weight.shape)).encode())
        digest.update(sample.view(torch.int16).cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def first_sentence(error: BaseException) -> str:
    """Return the beginning of another library's message on one line, to stand in ours."""
    text = " ".join(str(error).split())
    return text.split(". ")[0].rstrip(".:")[:200] or type(error).__name__
