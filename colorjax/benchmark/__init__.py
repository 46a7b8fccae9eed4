"""Speed of colorjax: `python -m colorjax.benchmark`."""
