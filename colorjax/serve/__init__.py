"""The web page: `colorjax serve`."""
