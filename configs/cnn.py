"""The CNN encoder-decoder, trained by regression."""

from ml_collections import ConfigDict

from configs import common


def get_config(dataset: str = "") -> ConfigDict:
    """For what the keys mean see common.py."""
    config = common.get(dataset)
    config.model.name = "encoder_decoder"
    return config
