# Everything lives in .venv, made by the first target that needs it.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: score test test-slow check clean

.venv/.installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	touch $@

.venv/.installed-test: .venv/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

score: .venv/.installed  ## score the example rollouts and write out/scored.parquet and out/report.html
	$(BIN)/coderm-reward score recipes/offline_scoring/dump --tests recipes/offline_scoring/unit_tests.jsonl \
		--config recipes/offline_scoring/config.yaml --out out/scored.parquet --report out/report.html --overwrite

test: .venv/.installed-test  ## without the slow real components; the sandbox's tests, which watch clocks, one by one
	scripts/test -m "not slow and not verl" -n 2 --dist loadfile --ignore tests/sandbox
	scripts/test -m "not slow and not verl" tests/sandbox

test-slow: .venv/.installed-test  ## tests of slow real components: a real vLLM in .venv-vllm, verl and Ray in .venv-verl
	PYTHON=$(PYTHON) scripts/vllm-cpu
	scripts/test -m "slow and not verl"
	PYTHON=$(PYTHON) scripts/verl-cpu test

check: .venv/.installed-test  ## lint, format, types, import contract
	scripts/check

clean:
	rm -rf .venv .venv-vllm .venv-vllm.lock .venv-verl .venv-verl.lock out
