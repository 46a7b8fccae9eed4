#!/usr/bin/env bash
# Trains the three models on your own faces, compares and exports them: see README.md here.
#
#   STAGE_SECONDS=480 ./launch/recipe.sh train-0.zip,train-1.zip validation.zip runs/faces 2500 \
#       --config.batch_size=16 --config.gan.optimizer.learning_rate=4e-4
#
# Flags go to all runs, those of config.gan to the GAN. VENV=no installs nothing and uses PYTHON.
set -euo pipefail

source "$(dirname -- "${BASH_SOURCE[0]}")/environment.sh"
[[ $# -ge 4 && $4 =~ ^[1-9][0-9]+$ && ${STAGE_SECONDS:-1} =~ ^[1-9][0-9]*$ ]] ||
    fail "usage: [STAGE_SECONDS=480] ./launch/recipe.sh TRAIN VALIDATION OUTPUT STEPS [FLAG…]," \
        "with at least 10 STEPS"
if [[ -n ${STAGE_SECONDS-} ]]; then
    exec timeout --foreground --preserve-status "$STAGE_SECONDS" \
        env -u STAGE_SECONDS bash launch/recipe.sh "$@"
fi
stopped='' child='' wanted=''
trap 'stopped=yes; kill -TERM "$child" 2>/dev/null || true' TERM INT
data=(--config.dataset.path="$1" --config.dataset.validation_path="$2")
output=$3 steps=$4 shared=$(($4 * 8 / 10)) flags=() gan_flags=()
for flag in "${@:5}"; do
    if [[ $flag == --config.gan.* ]]; then gan_flags+=("$flag"); else flags+=("$flag"); fi
done
python=.venv/bin/python
# shellcheck disable=SC2119
if [[ ${VENV-} == no ]]; then python=${PYTHON:-python3}; else prepare_environment; fi

# Runs `python -m` with the arguments, unless the file `progress` has this part and all before it.
part() {
    local status progress=$output/progress
    wanted+="$(printf '%q ' "$@")"$'\n'
    if [[ -f $progress && $(<"$progress")$'\n' == "$wanted"* ]]; then
        return
    fi
    "$python" -m "$@" &
    child=$!
    [[ -z $stopped ]] || kill -TERM "$child"
    # A signal ends `wait`, but not the process that it waits for.
    while wait "$child"; status=$?; kill -0 "$child" 2>/dev/null; do :; done
    # 75: colorjax.main was stopped; 130: colorjax.cli; 143: SIGTERM came before either handles it.
    if ((status == 75 || status == 130 || status == 143)); then
        say "this stage is over and more is left to do: the same command resumes"
        exit 0
    fi
    ((status == 0)) || exit "$status"
    printf %s "$wanted" >"$progress"
}

# train RUN CONFIG STEPS [FLAG…]
train() {
    local every=$(($3 < 20000 ? ($3 + 9) / 10 : 2000))
    part colorjax.main --config="configs/$2.py:image_folder" --workdir="$output/$1" \
        --stopped_status=75 "${data[@]}" --config.checkpoint_every="$every" \
        --config.eval_every="$every" "${flags[@]}" --config.num_steps="$3" "${@:4}"
}

mkdir -p "$output"
resume=(--config.init_from="$output/resnet-80" --config.optimizer.learning_rate=2e-4)
train cnn cnn "$steps"
train resnet-80 resnet "$shared"
train resnet resnet $((steps - shared)) "${resume[@]}"
train gan gan $((steps - shared)) "${resume[@]}" "${gan_flags[@]}"
train cnn-undamaged cnn "$steps" --config.damage.probability=0
for model in cnn resnet gan; do
    part colorjax.cli export "$output/$model/checkpoints/best" --output "$output/$model.safetensors"
done
part colorjax.cli export "$output/gan/checkpoints/best" --output "$output/between.safetensors" \
    --interpolate "$output/resnet/checkpoints/best"
models=("$output"/{cnn,resnet,gan}/checkpoints/best "$output/between.safetensors")
part colorjax.cli evaluate "${models[@]}" --output "$output/comparison" --overwrite
part colorjax.cli evaluate "${models[@]}" "$output/cnn-undamaged/checkpoints/best" --damage \
    --output "$output/comparison-damaged" --overwrite
say "done: $output has the runs, comparison/, comparison-damaged/ and a file of each model"
