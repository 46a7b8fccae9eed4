#!/usr/bin/env bash
# Trains a model. The first call makes `.venv` and installs into it.
#
#   ./launch/train.sh                                                 # configs/gan.py
#   ./launch/train.sh --config=configs/cnn.py --config.num_steps=50   # arguments are passed on
#   PYTHON=python3.12 ./launch/train.sh                               # the Python for `.venv`
#
# Relative paths in the arguments are relative to the repository's root, wherever it is called.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

# shellcheck disable=SC2046
prepare_environment $(needed_extras "$@")

for argument; do
    case $argument in
    --config | --config=* | -config | -config=*)
        exec .venv/bin/python -m colorjax.main "$@"
        ;;
    esac
done
exec .venv/bin/python -m colorjax.main --config=configs/gan.py "$@"
