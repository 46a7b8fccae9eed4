#!/usr/bin/env bash
# Trains the three models on your own faces, compares them, and exports each.
#
#   ./launch/recipe.sh train-0.zip,train-1.zip validation.zip runs/faces
#   STAGE_SECONDS=480 ./launch/recipe.sh train.zip validation.zip runs/faces --config.num_steps=20000
#   VENV=no PYTHON=python3.12 ./launch/recipe.sh …      # installs nothing: all packages are there
#
# The arguments: images to train with, images to validate on (folders and zips, comma-separated), the
# folder of what comes out; those behind them go to all three runs. Relative paths are relative to
# the repository's root. With STAGE_SECONDS it ends after that time: what is being trained is saved,
# the status is 0, the last line says whether all is done, and the same command goes on where it
# stopped; so it does after SIGTERM and Ctrl-C. A compilation that is under way is finished first. An
# evaluation or a report that was stopped is begun again: a stage has to be long enough for one.
#
# Budgets are equal: every run is one of `config.num_steps` updates of `config.batch_size` images. The
# GAN's begins with a regression of its own, of 80% of these steps (`config.generator_pretrain_steps`),
# and is not started from the ResNet's end: then its generator would have seen more images than the
# others. No checkpoint is chosen: models are what they are after the last step, averaged. (The lowest
# validation MSE would choose a GAN from before its adversarial phase.)
set -euo pipefail

if [[ -n ${STAGE_SECONDS-} ]]; then
    exec timeout --foreground --preserve-status "$STAGE_SECONDS" \
        env -u STAGE_SECONDS bash "${BASH_SOURCE[0]}" "$@"
fi
stopped='' child=''
stop() {
    stopped=yes
    kill -TERM "$child" 2>/dev/null || true
}
trap stop TERM INT

source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"

(($# >= 3)) || fail "three arguments are needed: ./launch/recipe.sh TRAIN VALIDATION OUTPUT"
data=(--config.dataset.path="$1" --config.dataset.validation_path="$2")
output=$3
shift 3
python=${PYTHON:-python3}
if [[ ${VENV-} != no ]]; then
    # shellcheck disable=SC2119
    prepare_environment
    python=.venv/bin/python
fi

end_stage() {
    say "this stage is over, and not all is done: the same command goes on"
    exit 0
}

# The parts that are done, in their order: one that was asked for otherwise, or comes after such a
# one, is done anew.
progress=$output/progress
wanted=''

# Runs a part of the recipe, a Python module with its arguments, unless that is done.
part() {
    local status=0
    wanted+="$(printf '%q ' "$@")"$'\n'
    if [[ -f $progress && $(<"$progress")$'\n' == "$wanted"* ]]; then
        return
    fi
    if [[ -n $stopped ]]; then
        end_stage
    fi
    "$python" -m "$@" &
    child=$!
    if [[ -n $stopped ]]; then
        stop
    fi
    # A signal ends a `wait`, not the process that is waited for; the last gives the status.
    while kill -0 "$child" 2>/dev/null; do
        wait "$child" || true
    done
    status=0
    wait "$child" || status=$?
    child=''
    case $status in
    0) ;;
    # Stopped: training, which has saved; or what has nothing to save.
    75 | 143) end_stage ;;
    *) exit "$status" ;;
    esac
    mkdir -p "$output"
    printf %s "$wanted" >"$progress.part"
    mv "$progress.part" "$progress"
}

runs=()
for model in cnn resnet gan; do
    runs+=("$output/$model")
    part colorjax.main --config="configs/$model.py:image_folder" --workdir="$output/$model" \
        --stopped_status=75 "${data[@]}" "$@"
done
part colorjax.cli evaluate "${runs[@]}" --output "$output/comparison" --overwrite
part colorjax.cli evaluate "${runs[@]}" --damage --output "$output/comparison-damaged" --overwrite
for run in "${runs[@]}"; do
    part colorjax.cli export "$run" --output "$run.safetensors"
done
say "all is done: $output has the runs, comparison/, comparison-damaged/ and a file of each model"
