#!/usr/bin/env bash
# Train a difficulty probe and see whether it beats simpler forecasts; further options go to both commands.
#
#   recipes/probe/run.sh                 SmolLM2-135M-Instruct on the CPU, in the environment of scripts/vllm-cpu
#   MODEL=... recipes/probe/run.sh       another model, with the coderm-reward of the current environment
#   LAYERS="10 20 30" ...                evaluates several layers (the first one is trained; default: 20)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
if [ -z "${MODEL:-}" ]; then
    scripts/vllm-cpu
    PATH="$PWD/.venv-vllm/bin:$PATH"
    MODEL=.venv-vllm/SmolLM2-135M-Instruct
    export HF_HUB_OFFLINE=1
fi
read -r -a layers <<<"${LAYERS:-20}"
out=out/probe
python3 scripts/humaneval_codegen16b.py --out out/humaneval
mkdir -p "$out"
for layer in "${layers[@]}"; do
    coderm-reward probe evaluate out/humaneval/prompts.jsonl --model "$MODEL" --layer "$layer" --k-fold 10 --repeats 5 \
        --cache "$out/hidden_states.db" --plot "$out/reliability_$layer.svg" "$@"
done
coderm-reward probe train out/humaneval/prompts.jsonl --model "$MODEL" --layer "${layers[0]}" \
    --cache "$out/hidden_states.db" --out "$out/probe.safetensors" "$@"
coderm-reward probe predict out/humaneval/prompts.jsonl --probe "$out/probe.safetensors" \
    --cache "$out/hidden_states.db" --out "$out/predicted.jsonl"
