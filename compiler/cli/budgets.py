"""``--budget ram=64K``, which several commands have."""

from __future__ import annotations

import argparse

from dnncc.cli.parser import Parser


def add_budgets(parser: Parser) -> None:
    """Declare the option; ``dict(arguments.budget)`` are the budgets."""
    parser.add_argument(
        "--budget",
        type=budget,
        action="append",
        default=[],
        metavar="KIND=N",
        help="what the network may take: ram=BYTES for its arenas (the board's RAM by default); with --weight-bits "
        "mixed the size of its weights, as size=20K or a fraction of the way from the least to the most, size=0.5; on "
        "FPGAs cycles=N per frame, for the smallest design of that speed (the fastest that fits by default)",
    )


def budget(text: str) -> tuple[str, str]:
    """One budget: its kind and its value, as text.

    Raises:
        ArgumentTypeError: it has another form.
    """
    kind, equals, value = (part.strip() for part in text.partition("="))
    if not (kind and equals and value):
        raise argparse.ArgumentTypeError(f"'{text}' is not KIND=VALUE, such as ram=64K")
    return kind, value
