"""model_checks.py in the environment of scripts/vllm-cpu: torch, transformers and a real small model."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from real_vllm import MODEL_FOLDER, ROOT, VENV_PYTHON, make_ready


@pytest.mark.slow
def test_the_probe_with_real_models() -> None:
    make_ready()
    checks = Path(__file__).with_name("model_checks.py")
    done = subprocess.run(
        [VENV_PYTHON, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-rs", checks],
        env={**os.environ, "CODERM_PROBE_MODEL": str(MODEL_FOLDER), "HF_HUB_OFFLINE": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
