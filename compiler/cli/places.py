"""``--on`` and what goes with it, for the commands that run artifacts."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from dnncc.cli.parser import Parser


def add_places(parser: Parser, places: Sequence[str]) -> None:
    """Declare the artifact and where to run it; ``place_options`` gives the library's arguments."""
    parser.add_argument("artifact", metavar="DIR", help="the folder that `dnncc compile` wrote")
    parser.choice(
        "--on",
        values=places,
        help="default: the emulator for a microcontroller's artifact, the host for the host's",
    )
    parser.add_argument("--core", help="emulate another core than the artifact's, such as cortex-m7")
    parser.choice(
        "--compiler", values=("gcc", "clang", "zig", "gcc-arm"), help="another C compiler than the usual one"
    )
    parser.choice("--opt", values=("-O0", "-O1", "-O2", "-O3", "-Os"), default="-O2", help="as in --opt=-O3")


def place_options(arguments: Namespace) -> dict[str, Any]:
    return {name: getattr(arguments, name) for name in ("on", "core", "compiler", "opt")}
