"""``--dim N=1``, which several commands have."""

from __future__ import annotations

import argparse

from dnncc.cli.parser import Parser


def add_dims(parser: Parser) -> None:
    """Declare the option; ``dict(arguments.dim)`` are the dimensions."""
    parser.add_argument(
        "--dim",
        type=_dimension,
        action="append",
        default=[],
        metavar="N=1",
        help="value of a symbolic dimension; may be given several times (the batch is 1 by itself)",
    )


def _dimension(text: str) -> tuple[str, int]:
    name, equals, value = text.rpartition("=")
    if not (name and equals and value.strip().isdecimal()):
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=NUMBER")
    return name, int(value)
