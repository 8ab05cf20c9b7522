#!/usr/bin/env bash
# Serve CodeRM-8B with vLLM for run.sh. The arguments go to `vllm serve`.
#
#   serve.sh                                        one card, only for this machine
#   HOST=10.0.0.7 CODERM_API_KEY=... serve.sh       for other machines too
#   CARDS=4 serve.sh                                four copies of the model on four cards, one address
#
# CODERM names another model or a local folder, PORT another port. CODERM_API_KEY is what run.sh's processes send, and
# without it anybody who reaches the port can use the model.
set -euo pipefail
HOST=${HOST:-127.0.0.1}
if [ -n "${CODERM_API_KEY:-}" ]; then
    export VLLM_API_KEY=$CODERM_API_KEY  # not an option: those can be read in the list of processes
elif [ "$HOST" != 127.0.0.1 ]; then
    echo "$0: HOST=$HOST lets other machines in; set CODERM_API_KEY to a secret here and for run.sh." >&2
    exit 2
fi
exec vllm serve "${CODERM:-KAKA22/CodeRM-8B}" \
    --served-model-name KAKA22/CodeRM-8B \
    --host "$HOST" \
    --port "${PORT:-8000}" \
    --data-parallel-size "${CARDS:-1}" \
    --dtype bfloat16 \
    --max-model-len 4096 \
    --max-num-seqs 256 \
    --gpu-memory-utilization 0.9 \
    --enable-prefix-caching \
    "$@"
