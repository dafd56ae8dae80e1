"""``--config FILE``: options from a TOML file, under the names that they have on the command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dnncc.cli.parser import Parser
from dnncc.errors import Culprit, UsageError
from dnncc.runtime.suggest import did_you_mean

_COMMAND_LINE_ONLY = ("--config", "--help", "--json")


def add_config(parser: Parser) -> None:
    """Declare the option."""
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help='TOML file with options as keys, such as `target = "stm32"`, `dim = {N = 1}`, '
        '`calibrate = "x.npz"` (relative to the file); the command line wins',
    )


def with_config(parser: Parser, words: Sequence[str]) -> list[str]:
    """The command line, preceded by the options of the file that its ``--config`` names, if it has one.

    Raises:
        UsageError: the file cannot be read, is not TOML, or has unknown keys or wrong values; all are listed.
    """
    if "--config" not in parser.options():
        return list(words)
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    finder.add_argument("--config", type=Path)
    try:
        path = finder.parse_known_args(list(words))[0].config
    except argparse.ArgumentError as error:
        parser.error(str(error))
    return [*_options_of(path, parser), *words] if path is not None else list(words)


def _options_of(path: Path, parser: Parser) -> list[str]:
    import tomllib

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"the configuration {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"the configuration {path} is not valid TOML: {error}") from error
    known = {
        name.removeprefix("--"): action
        for name, action in parser.options().items()
        if name.startswith("--") and name not in _COMMAND_LINE_ONLY
    }
    words: list[str] = []
    culprits = []
    for key, value in document.items():
        if key not in known:
            culprits.append(Culprit(key, reason=f"unknown key{did_you_mean(key, known)}"))
            continue
        try:
            words += _words(key, known[key], value, path.parent)
        except (argparse.ArgumentTypeError, ValueError) as error:
            culprits.append(Culprit(key, reason=str(error)))
    if culprits:
        raise UsageError(f"the configuration {path} is wrong", culprits, help=f"keys: {', '.join(known)}")
    return words


def _words(key: str, action: argparse.Action, value: Any, folder: Path) -> list[str]:
    """The words that give the option this value on the command line; ValueError if none do."""
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise ValueError("must be true or false")
        return [f"--{key}"] if value else []
    several = isinstance(action, argparse._AppendAction)
    if several and isinstance(value, dict):
        value = [f"{name}={number}" for name, number in value.items()]
    values = value if several and isinstance(value, list) else [value]
    words = []
    for each in values:
        if isinstance(each, bool) or not isinstance(each, str | int | float):
            raise ValueError("must be a string or a number")
        text = str(folder / each) if action.type is Path and isinstance(each, str) else str(each)
        if callable(action.type):
            action.type(text)
        words.append(f"--{key}={text}")
    return words
