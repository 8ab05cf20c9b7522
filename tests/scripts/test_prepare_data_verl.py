"""The files of prepare_data in verl's real dataset class, with a tokenizer made on the spot; no network."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from coderm_reward.data.prepare_files import hub_rows
from coderm_reward.errors import InputError

pytestmark = pytest.mark.verl
pytest.importorskip("verl")

REPOSITORY = Path(__file__).resolve().parents[2]
TEMPLATE = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}<assistant>"


def tokenizer() -> Any:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({"<unk>": 0, "<pad>": 1}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    made = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", pad_token="<pad>")
    made.chat_template = TEMPLATE
    return made


def write(path: Path, count: int, tests: Any) -> None:
    rows = [
        {"task_id": i, "question": f"Write a function `add{i}(a)`.", "tests": tests(i), "solution": None}
        for i in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def test_verl_loads_both_files_and_hands_everything_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets
    from omegaconf import OmegaConf
    from verl.utils.dataset.rl_dataset import RLHFDataset, collate_fn

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    for name, tests in (
        ("a", lambda i: [f"assert add{i}(1) == 1"]),
        ("b", lambda i: {"inputs": [[1]], "outputs": [1], "fn_name": f"add{i}"}),
    ):
        source, out = tmp_path / f"{name}.jsonl", tmp_path / name
        write(source, 6 if name == "a" else 8, tests)
        command = [sys.executable, str(REPOSITORY / "scripts" / "prepare_data.py"), str(source)]
        done = subprocess.run(
            [*command, "--out", str(out), "--test-size", "2"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    config = OmegaConf.create(
        {
            "cache_dir": str(tmp_path / "cache"),
            "max_prompt_length": 512,
            "return_raw_chat": True,
            "filter_overlong_prompts": True,
            "filter_overlong_prompts_workers": 1,
        }
    )
    files = [str(tmp_path / name / "train.parquet") for name in "ab"]
    loaded = RLHFDataset(files, tokenizer(), config)
    assert len(loaded) == 10  # 4 of the first file, 6 of the other, put together
    batch = collate_fn([loaded[i] for i in range(len(loaded))])
    assert [row["split"] for row in batch["extra_info"]] == ["train"] * 10
    assert list(batch["index"]) == [*range(4), *range(6)]
    assert all(row["reference"] is None for row in batch["extra_info"])
    assert all(chat[0]["role"] == "user" for chat in batch["raw_prompt"])
    truths = [row["ground_truth"] for row in batch["reward_model"]]
    assert [type(json.loads(truth)) for truth in truths] == [list] * 4 + [dict] * 6
    assert set(batch["data_source"]) == {"a", "b"}


def test_rows_of_the_hub_come_through_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    folder = tmp_path / "set"
    folder.mkdir()
    write(folder / "train.jsonl", 3, lambda i: ["assert True"])
    found = list(hub_rows(str(folder), None, "train"))
    assert [row.columns["task_id"] for row in found] == [0, 1, 2]
    with pytest.raises(InputError, match="--split"):
        list(hub_rows(str(folder), None, "no_such_split"))
