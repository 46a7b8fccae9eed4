"""A ResNet-50 encoder with a deconvolution decoder, trained by regression."""

from ml_collections import ConfigDict

from configs import common


def get_config(dataset: str = "") -> ConfigDict:
    """See common.py for the keys."""
    return common.get(dataset)
