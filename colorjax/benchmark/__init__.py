"""How fast colorjax is: `python -m colorjax.benchmark`."""
