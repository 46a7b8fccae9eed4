#!/usr/bin/env bash
# Trains in several processes on this machine: one for each GPU, or to try out a cluster.
#
#   ./launch/multiprocess.sh 2                                              # configs/gan.py
#   ./launch/multiprocess.sh 4 --config=configs/cnn.py --config.num_steps=50
#   DEVICES=4 ./launch/multiprocess.sh 2 --config=configs/cnn.py            # 4 virtual CPU devices each
#
# The arguments after the number go to every process; GPUs are divided equally. Ctrl-C and SIGTERM are
# passed on to all. The exit status is that of the first process that failed.
set -euo pipefail

PORT=${PORT:-}       # of the coordinator; by default a free one
DEVICES=${DEVICES:-} # virtual devices of each process, on CPUs only; by default 1

source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

processes=${1-}
[[ $processes =~ ^[1-9][0-9]*$ ]] || fail "usage: ./launch/multiprocess.sh PROCESSES [FLAG…]"
shift
# shellcheck disable=SC2046
prepare_environment $(needed_extras "$@")

python=.venv/bin/python
if [[ -z $PORT ]]; then
    PORT=$("$python" -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')
fi
gpus=()
if [[ $(find_accelerator) == cuda ]]; then
    mapfile -t gpus < <(nvidia-smi -L | grep -oE '^GPU [0-9]+' | cut -d' ' -f2)
    ((${#gpus[@]} % processes == 0)) || fail "${#gpus[@]} GPUs cannot be shared by $processes processes"
fi
config=(--config=configs/gan.py)
for argument; do
    case $argument in --config | --config=* | -config | -config=*) config=() ;; esac
done

children=()
trap 'kill -TERM "${children[@]}" 2>/dev/null || true' TERM
trap 'kill -INT "${children[@]}" 2>/dev/null || true' INT
for ((i = 0; i < processes; i++)); do
    share=$((${#gpus[@]} / processes))
    (
        if ((share)); then
            CUDA_VISIBLE_DEVICES=$(IFS=, && echo "${gpus[*]:i*share:share}")
            export CUDA_VISIBLE_DEVICES
        else
            export JAX_NUM_CPU_DEVICES=${DEVICES:-1}
        fi
        exec "$python" -m colorjax.main "${config[@]}" "$@" \
            --coordinator="127.0.0.1:$PORT" --num_processes="$processes" --process_id="$i"
    ) &
    children+=($!)
done

status=0
for child in "${children[@]}"; do
    # A signal ends `wait`, but not the process that it waits for.
    while wait "$child"; code=$?; kill -0 "$child" 2>/dev/null; do :; done
    ((status)) || status=$code
done
exit "$status"
