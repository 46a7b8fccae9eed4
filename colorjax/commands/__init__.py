"""The subcommands of `colorjax`, one file each."""
