"""Turn a GGUF file into a folder that vLLM loads: safetensors, configuration, tokenizer, chat template.

Usage: gguf_model.py FILE.gguf FOLDER. Needs transformers >= 5.19, accelerate and gguf; scripts/vllm-cpu
installs them and runs it.
"""

from __future__ import annotations

import sys
from pathlib import Path


def convert(file: Path, folder: Path) -> None:
    """Write `folder` from `file`, with every weight unpacked to bfloat16, the type it is computed in."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(
        file.parent,
        gguf_file=file.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    model.save_pretrained(folder)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
