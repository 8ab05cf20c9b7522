#!/usr/bin/env bash
# Score the example dump with its recorded unit tests; further options are passed on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export PATH="$PWD/.venv/bin:$PATH"
exec coderm-reward score recipes/offline_scoring/dump \
  --tests recipes/offline_scoring/unit_tests.jsonl \
  --config recipes/offline_scoring/config.yaml \
  --out out/scored.parquet --report out/report.html --overwrite "$@"
