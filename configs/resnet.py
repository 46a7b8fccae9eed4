"""A ResNet-50 encoder with a deconvolution decoder, trained by regression."""

from ml_collections import ConfigDict

from configs import common


def get_config(dataset: str = "") -> ConfigDict:
    """For what the keys mean see common.py."""
    return common.get(dataset)
