"""model_checks.py in the environment of scripts/vllm-cpu, which has torch, transformers and a real small
model."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]


@pytest.mark.slow
def test_the_probe_with_real_models() -> None:
    made = subprocess.run([ROOT / "scripts" / "vllm-cpu"], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
    venv = ROOT / ".venv-vllm"
    checks = Path(__file__).with_name("model_checks.py")
    done = subprocess.run(
        [venv / "bin" / "python", "-m", "pytest", "-p", "no:cacheprovider", "-q", checks],
        env={**os.environ, "CODERM_PROBE_MODEL": str(venv / "SmolLM2-135M-Instruct"), "HF_HUB_OFFLINE": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout.splitlines()[-1])
