#!/usr/bin/env bash
# Runs all benchmarks of one machine. Writes JSON and Markdown.
#
#   ./launch/benchmark.sh FOLDER [--batch-size 256 1024 --four-phases …]     # for `benchmark train`
#
# Uses PYTHON, which has colorjax installed. Compares with PyTorch if that is installed too.
set -euo pipefail
folder=$(realpath -m -- "${1:?usage: ./launch/benchmark.sh FOLDER [ARGUMENT…]}")
shift
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python}
mkdir -p "$folder"
against=()
if "$python" -c "import torch" 2>/dev/null; then
    against=(--against pytorch)
fi
"$python" -m colorjax.benchmark train "${against[@]}" --output "$folder/train.json" "$@" |
    tee "$folder/train.md"
"$python" -m colorjax.benchmark data --images 1000 --rounds 3 --output "$folder/data.json" | tee "$folder/data.md"
