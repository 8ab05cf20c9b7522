"""The probe with real language models. test_with_models.py runs this file where torch and transformers are.

By itself, for example on a machine with a GPU (the check of bfloat16 and flash attention needs nothing but
torch, transformers and safetensors):

    python -m pytest tests/reward/budget/probe/model_checks.py -k gpu -rs

CODERM_PROBE_MODEL names the folder of SmolLM2-135M-Instruct (scripts/vllm-cpu makes it); the checks that need
it are skipped without.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from coderm_reward.budget.probe import ProbeEstimator
from coderm_reward.budget.probe.cache import HiddenStateCache
from coderm_reward.budget.probe.file import TrainingSettings, encode_probe
from coderm_reward.budget.probe.reading import HiddenStateReader, read_hidden_states
from coderm_reward.budget.probe.training import TrainingSet, train_probe
from coderm_reward.cli import main
from coderm_reward.data.records import read_records
from coderm_reward.errors import ConfigError, InputError
from coderm_reward.types import Problem

TEXTS = [f"Write a function that adds {i} to its argument.{' Mind the sign.' * (i % 7)}" for i in range(40)]
COMMAND = [sys.executable, "-c", "from coderm_reward.cli import main; main()"]
TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
    "{% if date_string is defined %}{{ strftime_now('%d %b %Y') }}{% endif %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes small models with random weights, which read bytes; the same seed makes the same model."""

    def make(name: str, seed: int = 0, layers: int = 3, template: str | None = TEMPLATE) -> Path:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers

        folder = tmp_path_factory.mktemp(name)
        letters = sorted(pre_tokenizers.ByteLevel.alphabet())
        raw = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
        raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        raw.decoder = decoders.ByteLevel()
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=raw)
        tokenizer.chat_template = template
        tokenizer.save_pretrained(folder)
        torch.manual_seed(seed)
        config = transformers.LlamaConfig(
            vocab_size=256,
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=layers,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=512,
        )
        transformers.LlamaForCausalLM(config).save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="module")
def model(tiny: Callable[..., Path]) -> Path:
    return tiny("model")


def states_of(reader: HiddenStateReader, texts: list[str]) -> np.ndarray:
    return read_hidden_states(texts, reader.spec.key(), lambda: reader)


def trained(model: Path, **settings: Any) -> Any:
    reader = HiddenStateReader.open(str(model), 2, device="cpu")
    rates = np.array([(len(text) % 10) / 10 for text in TEXTS])
    prompts = TrainingSet(TEXTS, states_of(reader, TEXTS), rates, np.full(len(TEXTS), 10.0))
    return train_probe(reader.spec, prompts, TrainingSettings(hidden=16, epochs=30, **settings))


@pytest.mark.parametrize("layer", [0, 2, 3])
@pytest.mark.parametrize("template", ["chat", "plain"])
def test_a_state_is_that_of_the_last_token_however_it_is_batched(
    model: Path, layer: int, template: Any
) -> None:
    reader = HiddenStateReader.open(str(model), layer, template=template, device="cpu")
    batched = states_of(reader, TEXTS)
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    whole = transformers.AutoModelForCausalLM.from_pretrained(model).eval()
    for i in (0, 6, 39):
        text = f"<user>{TEXTS[i]}01 Jan 2025<assistant>" if template == "chat" else TEXTS[i]
        with torch.no_grad():
            said = whole(**tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states
        np.testing.assert_allclose(batched[i], said[layer][0, -1].numpy(), atol=1e-4)
        np.testing.assert_allclose(batched[i], states_of(reader, [TEXTS[i]])[0], atol=1e-4)


def test_of_a_long_prompt_the_end_is_read(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    reader = HiddenStateReader.open(str(model), 3, template="plain", device="cpu", max_tokens=20)
    first, second = states_of(reader, ["a" * 30 + "the same twenty byte", "b" * 90 + "the same twenty byte"])
    assert (first == second).all()
    assert "only the last 20 tokens are read" in caplog.text
    assert HiddenStateReader.open(str(model), 3, device="cpu", max_tokens=9999).spec.max_tokens == 512


def test_a_model_is_known_by_its_weights_not_by_its_name(model: Path, tiny: Callable[..., Path]) -> None:
    def fingerprint(folder: Path) -> str:
        return HiddenStateReader.open(str(folder), device="cpu").spec.fingerprint

    assert fingerprint(tiny("again")) == fingerprint(model)
    assert fingerprint(tiny("seed", seed=1)) != fingerprint(model)
    assert fingerprint(tiny("deeper", layers=4)) != fingerprint(model)
    half = model.with_name("half")
    shutil.copytree(model, half, dirs_exist_ok=True)
    transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16).save_pretrained(half)
    assert fingerprint(half) == fingerprint(model)


def test_training_is_reproducible_and_does_not_see_the_order(model: Path) -> None:
    first, again = trained(model), trained(model)
    assert encode_probe(first) == encode_probe(again)
    TEXTS.reverse()
    try:
        reordered = trained(model)
    finally:
        TEXTS.reverse()
    np.testing.assert_allclose(reordered.hidden_weight, first.hidden_weight, atol=1e-4)
    assert reordered.facts.epoch == first.facts.epoch
    assert encode_probe(trained(model, seed=1)) != encode_probe(first)


def test_a_probe_learns_what_states_say_and_stays_the_constant_where_they_say_nothing() -> None:
    random = np.random.default_rng(0)
    states = random.normal(size=(300, 16)).astype(np.float32)
    texts = [str(i) for i in range(300)]
    spec = HiddenSpec()
    y = 1 / (1 + np.exp(-2 * states[:, 0].astype(np.float64)))
    settings = TrainingSettings(hidden=16, learning_rate=3e-3)
    learnt = train_probe(spec, TrainingSet(texts, states, y, np.full(300, np.inf)), settings)
    assert learnt.facts.left_out_loss < learnt.facts.constant_loss - 0.05
    assert learnt.facts.spread < 0.1
    fresh = random.normal(size=(200, 16)).astype(np.float32)
    assert np.corrcoef(learnt.predict(fresh), fresh[:, 0])[0, 1] > 0.8

    noise = random.uniform(size=300)
    nothing = train_probe(spec, TrainingSet(texts, states, noise, np.full(300, np.inf)), settings)
    said = nothing.predict(fresh)
    assert np.abs(said - noise.mean()).max() < 0.2
    assert nothing.facts.left_out_loss <= nothing.facts.constant_loss


def HiddenSpec() -> Any:
    from coderm_reward.budget.probe.reading import ReadingSpec

    return ReadingSpec("m", "0" * 16, 1, 2, 16, "plain", "", 10, "float32")


def test_too_few_prompts_are_refused(model: Path) -> None:
    prompts = TrainingSet(TEXTS[:9], np.zeros((9, 16), dtype=np.float32), np.zeros(9), np.ones(9))
    with pytest.raises(InputError, match="at least 10 prompts"):
        train_probe(HiddenSpec(), prompts, TrainingSettings())


def test_the_estimator_says_the_same_in_batches_alone_and_from_threads(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.safetensors"
    path.write_bytes(encode_probe(trained(model)))
    problems = [Problem(str(i), text) for i, text in enumerate(TEXTS)]
    prepared = ProbeEstimator.load(path, device="cpu")
    prepared.prepare(problems)
    together = [prepared.estimate(problem) for problem in problems]
    alone = ProbeEstimator.load(path, device="cpu")
    with ThreadPoolExecutor(4) as pool:
        apart = list(pool.map(alone.estimate, problems))
    for one, other in zip(together, apart, strict=True):
        assert one.source == other.source == "probe"
        assert one.pass_rate == pytest.approx(other.pass_rate, abs=1e-4)
        spread = prepared.probe.facts.spread
        assert one.std == pytest.approx((spread * one.pass_rate * (1 - one.pass_rate)) ** 0.5)


def test_another_model_layer_or_template_is_refused(
    model: Path, tiny: Callable[..., Path], tmp_path: Path
) -> None:
    path = tmp_path / "p.safetensors"
    path.write_bytes(encode_probe(trained(model)))
    problem = Problem("x", "Add.")
    for other in (tiny("seed", seed=1), tiny("flat", layers=1), tiny("bare", seed=2, template=None)):
        with pytest.raises(ConfigError, match="is another model"):
            ProbeEstimator.load(path, model=str(other), device="cpu").estimate(problem)
    retold = tiny("retold", template="{% for m in messages %}{{ m['content'] }}{% endfor %}!")
    with pytest.raises(ConfigError, match="another chat template"):
        ProbeEstimator.load(path, model=str(retold), device="cpu").estimate(problem)
    for layer in (1, -1):
        with pytest.raises(ConfigError, match="reads layer 2 of"):
            ProbeEstimator.load(path, layer=layer)
    copy = shutil.copytree(model, tmp_path / "copy")
    moved = ProbeEstimator.load(path, model=str(copy), layer=-2, device="cpu").estimate(problem)
    assert moved == ProbeEstimator.load(path, device="cpu").estimate(problem)


def test_what_cannot_be_read_is_refused(model: Path, tiny: Callable[..., Path], tmp_path: Path) -> None:
    def refused(
        kind: type[Exception], match: str, folder: Path = model, layer: int = 1, **options: Any
    ) -> None:
        with pytest.raises(kind, match=match) as error:
            HiddenStateReader.open(str(folder), layer, **{"device": "cpu", **options})
        assert "\n" not in str(error.value)

    refused(ConfigError, "has 3 layers", layer=4)
    refused(ConfigError, "has 3 layers", layer=-5)
    refused(ConfigError, "has no chat template", tiny("bare", template=None), template="chat")
    refused(ConfigError, "device 'gpu' cannot be used", device="gpu")
    refused(InputError, "cannot be loaded", tmp_path)
    (tmp_path / "config.json").write_text("{}")
    refused(InputError, "cannot be loaded", tmp_path)
    broken = shutil.copytree(model, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"not weights")
    refused(InputError, "cannot be loaded", broken)
    strict = tiny("strict", template="{{ raise_exception('a system message, please') }}")
    with pytest.raises(InputError, match=r"a system message, please.*--template plain"):
        states_of(HiddenStateReader.open(str(strict), 1, device="cpu"), ["Add."])
    with pytest.raises(InputError, match="without any text"):
        states_of(HiddenStateReader.open(str(model), 1, template="plain", device="cpu"), [""])


def test_no_memory_for_a_batch_halves_it(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = HiddenStateReader.open(str(model), 2, device="cpu")
    whole = states_of(reader, TEXTS)
    sizes: list[int] = []
    real = HiddenStateReader._forward

    def starved(self: HiddenStateReader, rows: list[list[int]]) -> Any:
        sizes.append(len(rows))
        if len(rows) > 3:
            raise torch.OutOfMemoryError("no memory")
        return real(self, rows)

    monkeypatch.setattr(HiddenStateReader, "_forward", starved)
    np.testing.assert_allclose(states_of(reader, TEXTS), whole, atol=1e-4)
    assert max(sizes) == 40


def test_score_plans_by_what_a_probe_says(model: Path, tmp_path: Path) -> None:
    def write(name: str, *rows: object) -> None:
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    def fenced(code: str) -> str:
        return f"```python\n{code}\n```"

    asked = {f"Write `f(x)`, which adds {i}.": f"def f(x):\n    return x + {i}" for i in range(4)}
    write("dump.jsonl", *({"prompt": text, "response": fenced(code)} for text, code in asked.items()))
    tests = [
        "import unittest\n\nclass TestF(unittest.TestCase):\n    def test_it(self):\n"
        f"        self.assertEqual(f({x}), {x})"
        for x in range(6)
    ]
    write("tests.jsonl", *({"prompt": text, "responses": [fenced(test) for test in tests]} for text in asked))
    (tmp_path / "p.safetensors").write_bytes(encode_probe(trained(model)))
    budget = ["--budget", "3", "--allocator", "greedy", "--difficulty", "probe", "--probe", "p.safetensors"]
    done = subprocess.run(
        [*COMMAND, "score", "dump.jsonl", "--tests", "tests.jsonl", *budget, "--out", "o.jsonl"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    records = list(read_records(tmp_path / "o.groups.jsonl"))
    estimator = ProbeEstimator.load(tmp_path / "p.safetensors", device="cpu")
    for record in records:
        said = estimator.estimate(Problem(record.prompt_hash, record.question))
        assert record.budget.difficulty.source == "probe"
        assert record.budget.difficulty.pass_rate == pytest.approx(said.pass_rate, abs=0.02)
        assert record.budget.difficulty.std > 0
    assert sum(record.budget.planned for record in records) == 3 * len(asked)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_a_gpu_reads_in_bfloat16_what_the_cpu_reads(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    on_cpu = HiddenStateReader.open(str(model), 2, device="cpu")
    on_gpu = HiddenStateReader.open(str(model), 2, device="auto")
    flash = transformers.utils.is_flash_attn_2_available()
    assert (on_gpu.spec.dtype, on_gpu.device.type) == ("bfloat16", "cuda")
    assert on_gpu.attention == ("flash_attention_2" if flash else "sdpa")
    assert on_gpu.spec.fingerprint == on_cpu.spec.fingerprint
    exact, rounded = states_of(on_cpu, TEXTS), states_of(on_gpu, TEXTS)
    similar = (exact * rounded).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(rounded, axis=1)
    with capsys.disabled():
        print(f"\n{torch.cuda.get_device_name()}: {on_gpu.attention}, cosine >= {similar.min():.5f}")
    assert similar.min() > 0.99
    rates = np.array([(len(text) % 10) / 10 for text in TEXTS])
    prompts = TrainingSet(TEXTS, rounded, rates, np.full(len(TEXTS), 10.0))
    learnt = train_probe(on_gpu.spec, prompts, TrainingSettings(hidden=16, epochs=30), device="cuda")
    estimated = ProbeEstimator(learnt, device="cpu").estimate(Problem("x", TEXTS[0]))
    assert estimated.pass_rate == pytest.approx(learnt.predict(rounded)[0], abs=0.1)


# From here on: the commands, on SmolLM2-135M-Instruct and the measured pass rates of 82 HumanEval problems.


@pytest.fixture(scope="module")
def smollm2() -> str:
    named = os.environ.get("CODERM_PROBE_MODEL")
    if not named:
        pytest.skip("CODERM_PROBE_MODEL names no model")
    return named


@pytest.fixture(scope="module")
def measured(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """prompts.jsonl of the real data, and its halves."""
    folder = tmp_path_factory.mktemp("measured")
    data = real_data / "humaneval-codegen16b"
    questions, passed = (
        {
            row["task_id"]: row
            for row in map(json.loads, gzip.decompress((data / name).read_bytes()).splitlines())
        }
        for name in ("problems.jsonl.gz", "truth.jsonl.gz")
    )
    lines = [
        json.dumps({"task_id": task, "prompt": row["question"], "passed": passed[task]["passed"]}) + "\n"
        for task, row in questions.items()
    ]
    (folder / "all.jsonl").write_text("".join(lines), "utf-8")
    (folder / "even.jsonl").write_text("".join(lines[::2]), "utf-8")
    return folder


@pytest.fixture
def coderm(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[Any, str, str]]:
    def run(*arguments: object) -> tuple[Any, str, str]:
        monkeypatch.setattr(sys, "argv", ["coderm-reward", "probe", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return (ended.value.code or 0, *capsys.readouterr())

    return run


def test_the_commands_end_to_end(
    smollm2: str, measured: Path, coderm: Callable[..., tuple[Any, str, str]], tiny: Callable[..., Path]
) -> None:
    cache = ("--cache", measured / "states.db", "--device", "cpu")
    probe = measured / "probe.safetensors"
    train = ("train", measured / "even.jsonl", "--model", smollm2, "--layer", 20, *cache, "-o")
    code, out, err = coderm(*train, probe)
    assert code == 0, err
    assert "layer 20 of 30" in err
    assert "chat template, float32" in err
    assert coderm(*train, measured / "again.safetensors")[0] == 0
    assert probe.read_bytes() == (measured / "again.safetensors").read_bytes()

    code, out, err = coderm("evaluate", measured / "all.jsonl", "--probe", probe, *cache, "--json")
    assert code == 0, err
    assert "41 of 82 rows are for prompts it was trained on" in err
    assert json.loads(out.splitlines()[-1])["prompts"] == 41

    code, out, err = coderm(
        "predict", measured / "all.jsonl", "--probe", probe, *cache, "-o", measured / "said"
    )
    assert code == 0, err
    said = [json.loads(line) for line in (measured / "said").read_text("utf-8").splitlines()]
    assert [row["task_id"] for row in said] == [
        json.loads(line)["task_id"] for line in (measured / "all.jsonl").read_text("utf-8").splitlines()
    ]
    estimator = ProbeEstimator.load(probe, device="cpu", cache=HiddenStateCache(measured / "states.db"))
    first = estimator.estimate(Problem("", said[0]["prompt"]))
    assert first.pass_rate == pytest.approx(said[0]["coderm_pass_rate"], abs=1e-6)
    assert first.std == pytest.approx(said[0]["coderm_pass_rate_std"], abs=1e-6)

    wrong = ("predict", measured / "all.jsonl", "--probe", probe, "-o", measured / "not", "--cache", "off")
    code, _, err = coderm(*wrong, "--layer", 19)
    assert (code, err.count("\n")) == (2, 1)
    assert "not layer 19" in err
    code, _, err = coderm(*wrong, "--model", tiny("other"), "--device", "cpu")
    assert (code, err.count("\n")) == (2, 1)
    assert "is another model" in err
    assert not (measured / "not").exists()


def test_on_held_out_problems_it_beats_the_constant(
    smollm2: str, measured: Path, coderm: Callable[..., tuple[Any, str, str]]
) -> None:
    plot = measured / "plot.svg"
    options = ("--model", smollm2, "--layer", 20, "--cache", measured / "states.db", "--device", "cpu")
    code, out, err = coderm("evaluate", measured / "all.jsonl", *options, "--plot", plot, "--json")
    assert code == 0, err
    table = json.loads(out.splitlines()[-1])
    against = {comparison["against"]: comparison for comparison in table["comparisons"]}
    assert table["prompts"] == 82
    assert against["constant"]["brier"][0] < 0
    assert against["constant"]["log_loss"][0] < 0
    assert 0.6 < table["squared_z"] < 1.6
    assert 0.6 < table["coverage"]["0.8"] < 0.95
    assert plot.read_bytes().startswith(b"<?xml")


def test_ctrl_c_keeps_what_was_read_and_writes_nothing(smollm2: str, measured: Path, tmp_path: Path) -> None:
    arguments = ["probe", "train", "all.jsonl", "--model", smollm2, "--layer", "7", "--device", "cpu"]
    running = subprocess.Popen(
        [*COMMAND, *arguments, "--cache", str(tmp_path / "c.db"), "-o", str(tmp_path / "p")],
        cwd=measured,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(180, running.kill)
    watchdog.start()
    assert running.stderr is not None
    first = next(line for line in running.stderr if "reading layer 7" in line)
    running.send_signal(signal.SIGINT)
    rest = running.stderr.read()
    code = running.wait()
    watchdog.cancel()
    running.stderr.close()
    assert code == 130, first + rest
    assert "stopped by SIGINT; no probe was written" in rest
    assert [path.name for path in tmp_path.iterdir()] == ["c.db"]
