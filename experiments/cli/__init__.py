"""The command line `labelstack`: thin over the library, every command has a Python twin."""

from experiments.cli.application import app, main

__all__ = ["app", "main"]
