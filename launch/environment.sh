# shellcheck shell=bash
# Sourced by the other scripts (under `set -euo pipefail`), which then stand in the repository's root:
# the virtual environment `.venv`, made once. Looking whether it is up to date costs milliseconds.

# shellcheck disable=SC2164
CDPATH='' cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

STAMP=.venv/installed

say() { echo "colorjax: $*" >&2; }

fail() {
    say "$*"
    exit 2
}

# Prints "cuda", "tpu" or "cpu". Devices are looked for under $1, by default under /.
find_accelerator() {
    local root=${1-} pci
    if [[ $(nvidia-smi -L 2>/dev/null) == *GPU\ * ]]; then
        echo cuda
    elif [[ -e $root/dev/accel0 ]]; then
        echo tpu
    elif compgen -G "$root/dev/vfio/[0-9]*" >/dev/null; then
        # Newer TPUs are handed over by vfio, as other devices are: it must be one of Google's.
        pci=$(cat "$root"/sys/bus/pci/devices/*/vendor 2>/dev/null || true)
        if [[ -n ${TPU_WORKER_ID-} || -n ${TPU_ACCELERATOR_TYPE-} || $pci == *0x1ae0* ]]; then
            echo tpu
        else
            echo cpu
        fi
    else
        echo cpu
    fi
}

has() { command -v "$1" >/dev/null; }

is_root() { [[ $(id -u) == 0 ]]; }

# The tests of report.html need a browser: Debian's, where it can be installed without asking.
prepare_browser() {
    if has chromium && has chromedriver; then
        return
    fi
    if ! has apt-get || ! is_root; then
        say "no chromium with chromedriver: tests in a browser are skipped" \
            "(Debian: apt-get install chromium chromium-driver)"
        return
    fi
    say "installing chromium and chromium-driver, for tests in a browser"
    if ! {
        apt-get update &&
            DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
                chromium chromium-driver
    } >.venv/browser.log 2>&1 </dev/null; then
        say "they cannot be installed (.venv/browser.log): tests in a browser are skipped"
    fi
}

python_version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

# The extras installed before and those in $1, which may be empty: what is there stays.
all_extras() {
    local extras='' extra
    if [[ -f $STAMP ]]; then
        read -r extras <"$STAMP" || true
    fi
    for extra in $1; do
        if [[ " $extras " != *" $extra "* ]]; then
            extras="${extras:+$extras }$extra"
        fi
    done
    echo "$extras"
}

# What a finished installation of the extras $1 depends on. The interpreter is among it because a
# system that moves to another Python changes it beneath `.venv`, the folder because `.venv` can
# not be moved.
stamp() { printf '%s\n' "$1" "$PWD" "$(readlink -f .venv/bin/python)" "$(<pyproject.toml)"; }

is_current() {
    [[ -x .venv/bin/python && -f $STAMP && $(<"$STAMP") == "$(stamp "$1")" ]] &&
        [[ -z ${PYTHON-} || -d .venv/lib/python$(python_version "$PYTHON") ]]
}

# An environment without pip is the rest of an interrupted start, or of a Python no longer there.
is_usable() {
    [[ -x .venv/bin/python ]] && grep -qF "$PWD/.venv" .venv/pyvenv.cfg 2>/dev/null &&
        [[ -z ${PYTHON-} || -d .venv/lib/python$(python_version "$PYTHON") ]] &&
        .venv/bin/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

make_venv() {
    local python=${PYTHON:-python3} version
    version=$(python_version "$python") ||
        fail "cannot run '$python': install Python 3.11 or newer, or name one: PYTHON=python3.12 $0"
    if ((${version%%.*} < 3 || (${version%%.*} == 3 && ${version#*.} < 11))); then
        fail "'$python' is Python $version, 3.11 or newer is needed: name one: PYTHON=python3.12 $0"
    fi
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "'$python' has no venv module: install it (Debian, Ubuntu: python$version-venv)"
    "$python" -m venv --clear .venv
}

install() {
    local extras=$1
    if ! is_usable; then
        make_venv
    fi
    rm -f "$STAMP"
    say "installing into .venv; this takes some minutes, once"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check \
        --editable ".${extras:+[${extras// /,}]}"
    stamp "$extras" >"$STAMP.part"
    mv "$STAMP.part" "$STAMP"
}

# Installs colorjax for the accelerator found and with the extras given, unless that is done.
prepare_environment() {
    local accelerator wanted="$*" extras
    accelerator=$(find_accelerator)
    case $accelerator in
    cuda) say "NVIDIA GPU found: JAX for CUDA" ;;
    tpu) say "TPU found: JAX for TPU" ;;
    cpu) say "no GPU or TPU found: JAX for CPU" ;;
    esac
    if [[ $accelerator != cpu ]]; then
        wanted="$accelerator $wanted"
    fi
    extras=$(all_extras "$wanted")
    if is_current "$extras"; then
        return
    fi
    # Of several started at once in one checkout, the first installs and the others wait.
    (
        if command -v flock >/dev/null; then
            flock 9
        fi
        extras=$(all_extras "$wanted")
        is_current "$extras" || install "$extras"
    ) 9<launch
}
