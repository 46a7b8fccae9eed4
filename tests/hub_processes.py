"""What each process of training/test_hub_weights.py runs: it starts two models from the hub.

    python hub_processes.py FOLDER COORDINATOR PROCESS_ID

FOLDER/cnn.npz and FOLDER/resnet.npz hold the initial variables, of which the second are an encoder.
Each process writes FOLDER/cnn-ID.npz and FOLDER/resnet-ID.npz: those that hf:me/cnn and
hf:me/resnet give.
"""

import sys
from pathlib import Path

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from colorjax.parallel import devices, processes
from colorjax.training.init_weights import check_weights, with_weights


def main() -> None:
    folder, coordinator, index = sys.argv[1:]
    devices.configure()
    with processes.started(coordinator, 2, int(index), detect=False):
        for name, init_from, weights in (("cnn", "hf:me/cnn", ""), ("resnet", "", "hf:me/resnet")):
            with np.load(Path(folder) / f"{name}.npz") as file:
                variables = unflatten_dict(dict(file), sep="/")
            model = {"name": name, "encoder_weights": weights}
            config = ConfigDict({"init_from": init_from, "model": model})
            check_weights(config)
            found = with_weights(config, variables, None)
            np.savez(Path(folder) / f"{name}-{index}.npz", **flatten_dict(found, sep="/"))


if __name__ == "__main__":
    main()
