"""What an interpreter can import."""

from __future__ import annotations

import sys
from pathlib import Path

from coderm_reward.execution import importable_modules


def test_the_standard_library_and_what_is_installed() -> None:
    found = importable_modules()
    assert found is not None
    assert {"os", "unittest", "sys", "numpy", "pyarrow"} <= found
    assert "no_such_thing" not in found


def test_the_folder_that_we_happen_to_be_in_is_not_importable(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "here_only.py").write_text("")
    monkeypatch.chdir(tmp_path)
    assert "here_only" not in (importable_modules(sys.executable) or ())


def test_an_interpreter_that_cannot_be_asked_leaves_it_to_the_sandbox(tmp_path: Path) -> None:
    assert importable_modules(str(tmp_path / "python")) is None
