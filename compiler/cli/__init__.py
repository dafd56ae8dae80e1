"""The command line: one file per command."""

from dnncc.cli.app import main

__all__ = ["main"]
