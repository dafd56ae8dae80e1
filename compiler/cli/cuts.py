"""``--inputs`` and ``--outputs``, which cut a model for several commands."""

from __future__ import annotations

import argparse

from dnncc.cli.parser import Parser


def add_cuts(parser: Parser) -> None:
    """Declare both options; each gives a tuple of names, empty where it was not given."""
    for which, verb in (("inputs", "start"), ("outputs", "end")):
        parser.add_argument(
            f"--{which}",
            type=_names,
            default=(),
            metavar="NAME,...",
            help=f"let the network {verb} at these values, or at the results of these nodes",
        )


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME or NAME,NAME,...")
    return names
