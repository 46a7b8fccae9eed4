"""The one exception that means: the user gave something that cannot work."""


class InputError(ValueError):
    """Wrong input. Its message is one line: what is wrong, and what to do.

    `colorjax.main` and `colorjax.cli` print the message without a traceback and exit with status 2.
    """
