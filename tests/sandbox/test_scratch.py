"""The wiping of scratch folders, on real ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from coderm_sandbox.guest.scratch import Scratch


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def fill(folder: Path) -> None:
    (folder / "file").write_text("x")
    (folder / ".hidden").write_text("x")
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "c").write_text("x")
    os.mkfifo(folder / "pipe")


def test_empties_everything(folder: Path) -> None:
    scratch = Scratch([str(folder)])
    assert scratch.is_empty()
    fill(folder)
    assert not scratch.is_empty()
    assert scratch.wipe()
    assert scratch.is_empty()


def test_follows_no_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("x")
    (folder / "link").symlink_to(tmp_path / "kept")
    (folder / "dangling").symlink_to("nowhere")
    assert Scratch([str(folder)]).wipe()
    assert (tmp_path / "kept" / "file").exists()
    assert list(folder.iterdir()) == []


def test_trees_without_permissions(folder: Path) -> None:
    fill(folder)
    scratch = Scratch([str(folder)])
    os.chmod(folder / "a" / "b", 0)
    os.chmod(folder / "a", 0)
    os.chmod(folder, 0)
    assert scratch.wipe()
    assert list(folder.iterdir()) == []


def test_trees_deeper_than_paths_and_recursion(folder: Path) -> None:
    deep = os.open(folder, os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d" * 100, dir_fd=deep)
        inner = os.open("d" * 100, os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = inner
    os.close(deep)
    assert Scratch([str(folder)]).wipe()
    assert list(folder.iterdir()) == []


def test_a_folder_replaced_by_a_link_is_dirty_and_its_target_safe(folder: Path, tmp_path: Path) -> None:
    scratch = Scratch([str(folder)])
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("x")
    folder.rename(tmp_path / "moved")
    folder.symlink_to(tmp_path / "kept")
    assert not scratch.wipe()
    assert (tmp_path / "kept" / "file").exists()


def test_remove_takes_the_folder_too(folder: Path) -> None:
    fill(folder)
    Scratch([str(folder)]).remove()
    assert not folder.exists()


def test_names_that_are_no_text(folder: Path) -> None:
    (folder / os.fsdecode(b"\xff\n")).write_text("x")
    (folder / "-rf").write_text("x")
    assert Scratch([str(folder)]).wipe()
    assert list(folder.iterdir()) == []
