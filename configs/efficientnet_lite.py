"""An EfficientNet-Lite0 encoder with a deconvolution decoder: the recipe of the packaged model.

Full-length recipes start from ImageNet's weights (extra `pretrained`).
"""

from ml_collections import ConfigDict

from configs import common


def get_config(dataset: str = "") -> ConfigDict:
    """See common.py for the keys."""
    config = common.get(dataset)
    config.model.name = "efficientnet_lite"
    config.model.output_stride = 4
    config.model.encoder_weights = "" if dataset in ("", common.PROCEDURAL) else "imagenet"
    config.distribution = 0.05
    config.hints = 0.5
    return config
