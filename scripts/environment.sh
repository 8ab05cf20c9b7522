# Sourced by vllm-cpu and verl-cpu: making a virtual environment of one's own, VENV, with a Python that we support.
# shellcheck shell=bash
NAME=$(basename "$0")
readonly NAME

fail() {
    echo "scripts/$NAME: $*" >&2
    exit 1
}

step() {  # what is being done, then the command; its output only if it fails
    echo "$NAME: $1"
    local log
    log=$(mktemp)
    if ! "${@:2}" >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        rm -f "$log"
        return 1
    fi
    rm -f "$log"
}

pip() { "$VENV/bin/python" -m pip --disable-pip-version-check --quiet "$@"; }

made_by() {  # one word that changes when any of the files does
    cat "$@" | sha256sum | cut -c1-16
}

new_environment() {  # megabytes of disk that it needs
    local python=${PYTHON:-python3}
    [ "$(uname -s)" = Linux ] || fail "needs Linux; elsewhere, follow the documentation of the package itself."
    "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' ||
        fail "$python is not Python 3.10 to 3.12; name one that is with PYTHON=..."
    local free
    free=$(df --output=avail -BM . | tail -n 1 | tr -dc 0-9)
    [ "$free" -ge "$1" ] || fail "needs $1 MB of disk here and $free MB are free; make room or move the checkout."
    rm -rf "$VENV"
    step "virtual environment $VENV" "$python" -m venv "$VENV" || fail "no virtual environment could be made; is the venv module there?"
}

torch_for_the_cpu() {  # the requirement
    step "torch for the CPU (about 0.2 GB)" pip install "$1" ||
        fail "pip found no $1; name PyTorch's index of CPU builds in PIP_EXTRA_INDEX_URL and run this again."
}
