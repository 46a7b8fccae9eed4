# shellcheck shell=bash
# Sourced by the other scripts, which then run in the repository's root.

# shellcheck disable=SC2164
CDPATH='' cd -P -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

STAMP=.venv/installed

say() { echo "colorjax: $*" >&2; }

fail() { say "$*" && exit 2; }

((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 404)) || fail "bash 4.4 or newer is needed"

# Prints "cuda", "tpu" or "cpu". Looks for devices under $1, by default under /.
find_accelerator() {
    local root=${1-}
    if [[ $(nvidia-smi -L 2>/dev/null) == *GPU\ * ]]; then
        echo cuda
    elif [[ -e $root/dev/accel0 ]] || has_vfio_tpu "$root"; then
        echo tpu
    else
        echo cpu
    fi
}

# Newer TPUs use vfio, as other devices do. Google's vendor number tells them apart.
has_vfio_tpu() {
    compgen -G "$1/dev/vfio/[0-9]*" >/dev/null &&
        { [[ -n ${TPU_WORKER_ID-}${TPU_ACCELERATOR_TYPE-} ]] ||
            grep -qs 0x1ae0 "$1"/sys/bus/pci/devices/*/vendor; }
}

# Whether `.venv` is complete, has not been moved, and has the version of PYTHON, if that is given.
is_usable() {
    grep -qsF "$PWD/.venv" .venv/pyvenv.cfg && .venv/bin/python -c 'import pip' 2>/dev/null &&
        [[ -z ${PYTHON-} || $(.venv/bin/python -V) == "$("$PYTHON" -V 2>/dev/null)" ]]
}

make_venv() {
    local python=${PYTHON:-python3}
    "$python" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        fail "'$python' is not Python 3.11 or newer with venv (Debian: python3-venv);" \
            "name another one: PYTHON=python3.12 $0"
    "$python" -m venv --clear .venv
}

# Prints the extras that the flags of a training need.
needed_extras() { [[ " $* " != *efficientnet_lite* ]] || echo pretrained; }

# What an installation of the extras $1 depends on.
stamp() { printf '%s\n' "$1" "$(readlink -f .venv/bin/python)" "$(<pyproject.toml)"; }

install() {
    rm -f "$STAMP"
    say "installing into .venv; this takes some minutes, once"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".${1:+[$1]}"
    stamp "$1" >"$STAMP.part"
    mv "$STAMP.part" "$STAMP"
}

# Installs colorjax for the accelerator found, with the extras given and those installed before.
prepare_environment() {
    local accelerator extras
    accelerator=$(find_accelerator)
    say "JAX for ${accelerator^^}"
    # Of several that start at once in one checkout, the first installs and the others wait.
    (
        ! command -v flock >/dev/null || flock 9
        extras=$(head -n 1 "$STAMP" 2>/dev/null | tr , ' ') || true
        # shellcheck disable=SC2086
        extras=$(printf '%s\n' $extras ${accelerator/#cpu/} "$@" | sort -u | paste -sd ,)
        is_usable || make_venv
        [[ -f $STAMP && $(<"$STAMP") == "$(stamp "$extras")" ]] || install "$extras"
    ) 9<launch
}
