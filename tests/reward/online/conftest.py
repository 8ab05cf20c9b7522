"""A file of recorded tests and a sandbox for all tests of a module."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from online_rig import Sandbox, prompt, texts_for


@pytest.fixture(scope="session")
def tests_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tests") / "tests.jsonl"
    rows = [json.dumps({"prompt": prompt(n), "responses": texts_for(n)}) for n in range(100)]
    path.write_text("\n".join(rows) + "\n", "utf-8")
    return path


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox()
    yield made
    made.close()
