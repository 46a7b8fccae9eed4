#!/usr/bin/env bash
# Trains on all machines of a Cloud TPU slice. Run it on your own machine, with gcloud set up.
#
#   TPU=my-slice ZONE=us-central2-b ./launch/tpu_vm.sh --config=configs/gan.py --workdir=runs/gan
#
# Copies the last commit to every machine, makes `.venv` there, and starts the same command on all
# of them; repeated, it resumes from the newest checkpoint. The first machine holds the run: fetch it
# with `gcloud compute tpus tpu-vm scp --recurse $TPU:colorjax/runs . --worker=0`.
set -euo pipefail

TPU=${TPU:?the name of the TPU slice}
ZONE=${ZONE:?its zone, as us-central2-b}
DIRECTORY=${DIRECTORY:-colorjax} # on the machines, below the home folder

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
archive=$(mktemp --suffix=.tar.gz)
trap 'rm -f "$archive"' EXIT
git archive --format=tar.gz --output="$archive" HEAD
gcloud compute tpus tpu-vm scp "$archive" "$TPU:colorjax.tar.gz" --zone="$ZONE" --worker=all
printf -v arguments '%q ' "$@"
gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all --command="
    set -e
    mkdir -p '$DIRECTORY'
    tar -xzf colorjax.tar.gz -C '$DIRECTORY'
    cd '$DIRECTORY'
    ./launch/train.sh --distributed $arguments"
