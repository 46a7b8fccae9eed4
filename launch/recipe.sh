#!/usr/bin/env bash
# Trains the three models on your own faces, compares them, and exports each.
#
#   ./launch/recipe.sh train-0.zip,train-1.zip validation.zip runs/faces 100000
#   STAGE_SECONDS=480 HALF_SIZE=100 ./launch/recipe.sh train.zip validation.zip runs/faces 2500 \
#       --config.batch_size=16 --config.gan.optimizer.learning_rate=4e-4
#   VENV=no PYTHON=python3.12 ./launch/recipe.sh …      # installs nothing: all packages are there
#
# The arguments: images to train with, images to validate on (folders and zips, comma-separated), the
# folder of what comes out, and how many updates each model gets; flags behind them go to all runs,
# those of config.gan to the GAN. Relative paths are relative to the repository's root. HALF_SIZE is
# the percentage of these updates that see images at half the size, at a quarter of the cost; by
# default none. With STAGE_SECONDS it ends after that time: what is being trained is saved, the
# status is 0, the last line says whether all is done, and the same command goes on where it stopped;
# so it does after SIGTERM and Ctrl-C. A compilation that is under way is finished first. An
# evaluation or a report that was stopped is begun again: a stage has to be long enough for one.
#
# Budgets are equal: each model sees as many images as the others, at the same sizes. The GAN goes on
# where the ResNet was after 80% of the updates, and has the last 20% for its adversarial phase, its
# generator at a learning rate of 2e-4. A fourth run is the CNN's without damage to L, to learn what
# damage is worth on damaged inputs. Of each run the checkpoint that is best on validation is compared
# and exported: by MSE, the GAN by the distance of its a*b* histogram to that of the originals; and so
# is the network half way between the ResNet's and the GAN's.
set -euo pipefail

if [[ -n ${STAGE_SECONDS-} ]]; then
    if ! [[ $STAGE_SECONDS =~ ^[1-9][0-9]*$ ]]; then
        echo "colorjax: STAGE_SECONDS='$STAGE_SECONDS' is no number of seconds, such as 480" >&2
        exit 2
    fi
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

(($# >= 4)) || fail "four arguments are needed: ./launch/recipe.sh TRAIN VALIDATION OUTPUT STEPS"
data=(--config.dataset.path="$1" --config.dataset.validation_path="$2")
output=$3 steps=$4 half=${HALF_SIZE:-0}
shift 4
[[ $steps =~ ^[1-9][0-9]+$ ]] || fail "STEPS is '$steps': give a number of updates, at least 10"
[[ $half =~ ^[0-9]$|^[1-9][0-9]$|^100$ ]] ||
    fail "HALF_SIZE='$half' is no percentage: give a whole number from 0 to 100"
flags=() gan_flags=()
for argument; do
    case $argument in
    --config.num_steps=*) fail "the number of updates is the fourth argument, not $argument" ;;
    --config.half_size_steps=*) fail "HALF_SIZE, in percent, stands for $argument" ;;
    --config.init_from=* | --config.keep_checkpoint=*) fail "${argument%%=*} is the recipe's own" ;;
    --config.gan.*) gan_flags+=("$argument") ;;
    *) flags+=("$argument") ;;
    esac
done
half=$((steps * half / 100))
joins=$((steps * 8 / 10))
# Else what the GAN begins with would be compared at a size that it does not know.
((half != joins)) || fail "HALF_SIZE ends where the GAN begins, at 80%: give less or more"
asked=$(printf '%q ' "${data[@]}" "$steps" "$half" ${flags[@]+"${flags[@]}"} \
    ${gan_flags[@]+"${gan_flags[@]}"})
if [[ -f $output/arguments && $(<"$output/arguments") != "$asked" ]]; then
    fail "$output holds runs of other arguments ($(<"$output/arguments")): give another folder"
fi
python=${PYTHON:-python3}
if [[ ${VENV-} != no ]]; then
    # shellcheck disable=SC2119
    prepare_environment
    python=.venv/bin/python
elif ! has "$python"; then
    fail "there is no '$python': set PYTHON to a Python of 3.11 or newer"
fi

end_stage() {
    say "this stage is over, and not all is done: the same command goes on"
    exit 0
}

# The parts that are done, in their order.
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
    printf %s "$wanted" >"$progress.part"
    mv "$progress.part" "$progress"
}

# Trains the run $1, so many updates of which so many at half the size, by a config of this name.
train() {
    local run=$1 steps=$2 half=$3 config=$4 every=$(($2 < 10 ? 1 : $2 < 20000 ? $2 / 10 : 2000))
    shift 4
    part colorjax.main --config="configs/$config.py:image_folder" --workdir="$output/$run" \
        --stopped_status=75 "${data[@]}" --config.checkpoint_every="$every" \
        --config.eval_every="$every" ${flags[@]+"${flags[@]}"} --config.num_steps="$steps" \
        --config.half_size_steps="$half" "$@"
}

mkdir -p "$output"
printf '%s\n' "$asked" >"$output/arguments"
train cnn "$steps" "$half" cnn
train resnet "$steps" "$half" resnet --config.keep_checkpoint="$joins"
train gan $((steps - joins)) $((half > joins ? half - joins : 0)) gan \
    --config.init_from="$output/resnet/checkpoints/$joins" \
    --config.optimizer.learning_rate=2e-4 ${gan_flags[@]+"${gan_flags[@]}"}
train cnn-undamaged "$steps" "$half" cnn --config.damage.probability=0

for model in cnn resnet gan; do
    part colorjax.cli export "$output/$model/checkpoints/best" --output "$output/$model.safetensors"
done
part colorjax.cli export "$output/gan/checkpoints/best" --output "$output/between.safetensors" \
    --interpolate "$output/resnet/checkpoints/best"
models=("$output"/{cnn,resnet,gan}/checkpoints/best "$output/between.safetensors")
part colorjax.cli evaluate "${models[@]}" --output "$output/comparison" --overwrite
part colorjax.cli evaluate "${models[@]}" "$output/cnn-undamaged/checkpoints/best" --damage \
    --output "$output/comparison-damaged" --overwrite
say "all is done: $output has the runs, comparison/, comparison-damaged/ and a file of each model"
