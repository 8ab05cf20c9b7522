#!/usr/bin/env bash
# What are dynamic budgets, aggregators and vote units worth? See README.md.
#   run.sh             on the hand-made example data (seconds; scores it first if it has to)
#   run.sh real        on 8,200 real rollouts with two sets of tests (scores them first if it has to: an hour)
# Further options go to every `coderm-reward ablate`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export PATH="$PWD/.venv/bin:$PATH"
what="${1:-example}"
shift || true

case "$what" in
example)
  scored=out/scored.parquet
  [ -e out/scored.groups.jsonl ] || recipes/offline_scoring/run.sh
  exec coderm-reward ablate "$scored" --truth recipes/offline_scoring/truth.jsonl \
    --budgets 1,2,4,8 --csv out/ablation.csv --report out/ablation.html "$@"
  ;;
real)
  data=out/humaneval
  for set in assertions calibrated; do
    [ -e "$data/$set.groups.jsonl" ] || python scripts/bench/real_data.py --sets "$set" --timeout 0.25
  done
  # No constant of the package was chosen on these problems: the task number leaves 2 when divided by 4.
  held_out='([02468/][26]|[13579][048])$'
  everyone=(majority majority_consensus dual_agreement combined bayes)
  ablate() { # NAME SET OPTIONS...
    local name=$1 set=$2
    shift 2
    echo "## $name"
    coderm-reward ablate "$data/$set.groups.jsonl" --truth "$data/truth.jsonl" \
      --csv "$data/ablation_$name.csv" --report "$data/ablation_$name.html" "$@"
  }
  aggregators() {
    ablate "$@" --only "$held_out" --allocator uniform --budgets 2,8,64 --vote-unit method --vote-unit class \
      "${everyone[@]/#/--aggregator=}"
  }
  budgets() {
    ablate "$@" --difficulty oracle --difficulty history --difficulty pilot
  }
  aggregators aggregators_weak assertions "$@"
  aggregators aggregators_calibrated calibrated "$@"
  aggregators aggregators_calibrated_55 calibrated --pass-rate 0.55 "$@"
  budgets budgets_weak assertions "$@"
  budgets budgets_calibrated calibrated "$@"
  budgets budgets_calibrated_55 calibrated --pass-rate 0.55 "$@"
  for rule in none shrink filter; do
    for set in assertions calibrated; do
      ablate "reliability_${rule}_$set" "$set" --allocator uniform --vote-unit method --vote-unit class \
        --reliability-rule "$rule" --budgets 2,8 "$@"
    done
  done
  ;;
*)
  echo "run.sh: choose example or real, not '$what'." >&2
  exit 2
  ;;
esac
