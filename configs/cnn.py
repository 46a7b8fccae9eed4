"""The CNN encoder-decoder, trained by regression."""

from ml_collections import ConfigDict

from configs import common


def get_config(dataset: str = "") -> ConfigDict:
    """See common.py for the keys."""
    config = common.get(dataset)
    config.model.name = "encoder_decoder"
    return config
