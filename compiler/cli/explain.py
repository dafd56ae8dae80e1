"""``dnncc explain``."""

from __future__ import annotations

from argparse import Namespace

from dnncc.cli.command import Command, Outcome
from dnncc.cli.parser import Parser
from dnncc.errors import UsageError, catalog


def add_arguments(parser: Parser) -> None:
    parser.add_argument("code", metavar="CODE", help="an error's code, such as E0101")


def run(arguments: Namespace) -> Outcome:
    import inspect

    from dnncc.runtime.suggest import did_you_mean

    known = {code.lower(): error for code, error in catalog().items()}
    error = known.get(arguments.code.lower())
    if error is None:
        codes = [e.code for e in known.values()]
        raise UsageError(
            f"there is no error '{arguments.code}'{did_you_mean(arguments.code, codes)}",
            help=f"errors: {', '.join(codes)}",
        )
    text = inspect.getdoc(error) or ""
    document = {"code": error.code, "exit_code": error.exit_code, "text": text}
    return Outcome(document, f"{error.code} (exit status {error.exit_code})\n\n{text}")


COMMAND = Command("explain", "what an error code means and what to do", add_arguments, run)
