#!/bin/sh
# Makes .venv and installs pinned wheels: ./install.sh run [yes|no], ./install.sh test [yes|no]. Called by make.
# The second word says whether models (torch and friends) are wanted. Only relative paths: the checkout may lie anywhere.
set -eu
cd "$(dirname "$0")"
what=$1
models=${2:-yes}
marker='# --- models'

fail() {
    echo "switchyard: $*" >&2
    exit 1
}

# What a bare system lacks: installed when we are root, else one line says which command does it.
system_packages() {
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing $*"
        { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"; } \
            >.apt.log 2>&1 || { tail -n 5 .apt.log >&2; fail "apt-get install $* failed"; }
        rm -f .apt.log
    else
        fail "this system lacks $*; install with: sudo apt-get install $*"
    fi
}

find_python() {
    for name in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
        if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2])' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
}

python=$(find_python)
if [ -z "$python" ]; then
    system_packages python3
    python=$(find_python)
    [ -n "$python" ] || fail "Python 3.11 or newer is missing; install one and say where: make run PYTHON=/path/to/python3"
fi

missing=
if ! .venv/bin/python -c 'import pip' 2>/dev/null && ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    # Debian's packages are per version: python3-venv serves python3.
    missing=python3-venv
    [ "$(basename "$python")" = python3 ] || missing=$(basename "$python")-venv
fi
needs() { # library package
    [ "$(uname)" != Linux ] || "$python" -c "import ctypes; ctypes.CDLL('$1')" 2>/dev/null || missing="$missing $2"
}
needs libgomp.so.1 libgomp1 # LightGBM
[ "$what" != test ] || needs libatomic.so.1 libatomic1 # Playwright
# shellcheck disable=SC2086 # a list of words
[ -z "$missing" ] || system_packages $missing

if ! .venv/bin/python -c 'import pip' 2>/dev/null; then
    echo "making a virtual environment in .venv"
    "$python" -m venv --clear .venv
fi

wanted=$(mktemp)
trap 'rm -f "$wanted"' EXIT
if [ "$models" = no ]; then
    sed "/^$marker/,\$d" requirements.txt >"$wanted"
else
    cat requirements.txt >"$wanted"
fi
if [ "$what" = test ]; then
    cat requirements-dev.txt >>"$wanted"
fi

echo "installing packages (the first time takes minutes)"
# Wheels only: no compiler is needed, nothing of a package runs before it is used. One package is pure Python and
# published as source only (mlcroissant, of the tests, reads with it).
# PyTorch's default build for Linux brings gigabytes for NVIDIA's GPUs. TORCH_INDEX may name an index with a smaller one.
.venv/bin/python -m pip install -q --disable-pip-version-check --only-binary :all: --no-binary jsonpath-rw \
    ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -r "$wanted" -c constraints.txt ||
    fail "installing packages failed; the lines above say why. Started again, it goes on where it stopped."
