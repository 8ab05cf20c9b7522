"""Fixtures for all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

try:
    from hypothesis import settings
except ModuleNotFoundError:  # the environment of the real models has no property tests
    pass
else:
    fixed = bool(os.environ.get("CODERM_FIXED_EXAMPLES"))
    settings.register_profile("any machine", deadline=None, derandomize=fixed)
    settings.load_profile("any machine")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The directory of the real data sets: CODERM_DATA, by default ../shared/data; skips where it is not."""
    root = Path(__file__).resolve().parents[1]
    path = Path(os.environ.get("CODERM_DATA") or root.parent / "shared" / "data")
    if not path.is_absolute():
        path = root / path
    if not path.is_dir():
        pytest.skip(f"the real data sets are not at {path}; set CODERM_DATA to where they are")
    return path
