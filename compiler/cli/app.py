"""``dnncc COMMAND ...``: finds the command, and turns whatever happens into output and an exit status."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from dnncc.cli.command import Command
from dnncc.cli.guard import Guard
from dnncc.cli.output import emit, logs_on_stderr, write
from dnncc.errors import UsageError

COMMANDS = (
    "compile",
    "inspect",
    "validate",
    "bench",
    "run",
    "explore",
    "tune",
    "opt",
    "schedule",
    "list",
    "explain",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, that of the process by default; returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    guard = Guard(words)
    with guard:
        guard.status = _dispatch(words)
    return guard.status


def load_command(name: str) -> Command:
    """The command of this name.

    Raises:
        UsageError: there is none.
    """
    if name not in COMMANDS:
        from dnncc.runtime.suggest import did_you_mean

        kind = "option" if name.startswith("-") else "command"
        near = did_you_mean(name, ("--help", "--version") if kind == "option" else COMMANDS)
        raise UsageError(f"unknown {kind} '{name}'{near}", help="`dnncc --help` shows all commands")
    command = importlib.import_module(f"dnncc.cli.{name}").COMMAND
    assert isinstance(command, Command)
    return command


def _dispatch(words: Sequence[str]) -> int:
    if not words:
        raise UsageError("no command was given", help="`dnncc --help` shows all commands")
    if words[0] in ("-h", "--help"):
        write(_help())
        return 0
    if words[0] == "--version":
        from dnncc import __version__

        write(f"dnncc {__version__}\n")
        return 0
    command = load_command(words[0])
    from dnncc.cli.config import with_config
    from dnncc.cli.parser import Parser

    parser = Parser(command.name, command.summary)
    command.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    arguments = parser.parse(with_config(parser, words[1:]))
    with logs_on_stderr():
        outcome = command.run(arguments)
    return emit(outcome, arguments.json)


def _help() -> str:
    commands = [load_command(name) for name in COMMANDS]
    width = max(len(name) for name in COMMANDS)
    lines = [
        "usage: dnncc COMMAND [ARGUMENTS] [--json]",
        "       dnncc --help | --version",
        "",
        "From a trained network to bit-exact integer code.",
        "",
        *(f"  {command.name:{width}}  {command.summary}" for command in commands),
        "",
        "`dnncc COMMAND --help` shows a command's arguments and options.",
        "Exit status: 0 done, 1 the model cannot be compiled, 2 usage, 3 it does not fit, 4 mismatch,",
        "5 a tool is missing, 70 a bug of dnncc, 130 interrupted.",
    ]
    return "\n".join(lines) + "\n"
