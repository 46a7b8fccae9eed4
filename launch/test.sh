#!/usr/bin/env bash
# Checks style, types and behaviour; the first call makes `.venv` and installs into it.
#
#   ./launch/test.sh                # without what takes long
#   ./launch/test.sh --slow         # everything, with PyTorch and a browser too
#   ./launch/test.sh -k lab -x      # arguments go to pytest
#
# Relative paths in the arguments are relative to the repository's root.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

extras=("test")
for argument; do
    if [[ $argument == --slow ]]; then
        extras=("test" "parity")
    fi
done
prepare_environment "${extras[@]}"
if ((${#extras[@]} > 1)); then
    prepare_browser
else
    say "without --slow: no slow tests, and PyTorch is compared with only if it is installed"
fi

.venv/bin/python -m ruff check
.venv/bin/python -m ruff format --check
.venv/bin/python -m mypy
exec .venv/bin/python -m pytest "$@"
