"""argparse as dnncc uses it: errors are UsageErrors with the nearest known word."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from dnncc.errors import Culprit, UsageError
from dnncc.runtime.suggest import did_you_mean

_NUMBER = re.compile(r"-\d+(\.\d*)?$|-\.\d+$")


class Choice:
    """One of a few values, for ``type=``; says which is near to a wrong one."""

    def __init__(self, *values: str | int) -> None:
        self.values = {str(value): value for value in values}

    def __call__(self, text: str) -> str | int:
        if text not in self.values:
            near = did_you_mean(text, self.values)
            raise argparse.ArgumentTypeError(f"'{text}' is none of {', '.join(self.values)}{near}")
        return self.values[text]

    def __str__(self) -> str:
        return "|".join(self.values)


class Parser(argparse.ArgumentParser):
    """The parser of one command."""

    def __init__(self, command: str, summary: str) -> None:
        super().__init__(prog=f"dnncc {command}", description=summary, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise UsageError(message.removeprefix("argument "), help=f"`{self.prog} --help` shows how it is used")

    def choice(self, *names: str, values: Sequence[str | int], **settings: Any) -> None:
        """An argument or option with a few values."""
        choice = Choice(*values)
        self.add_argument(*names, **{"type": choice, "metavar": str(choice), **settings})

    def options(self) -> dict[str, argparse.Action]:
        """Every option by each of its names, with dashes."""
        return dict(self._option_string_actions)

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """The arguments of a command line.

        Raises:
            UsageError: with every unknown option, or the first thing that is wrong otherwise.
        """
        known = self.options()
        unknown = [
            Culprit(word, reason=_near(word, known))
            for word in _options_in(words)
            if not _is_known(word, known)
        ]
        if unknown:
            raise UsageError(
                f"{self.prog} has no such option", unknown, f"`{self.prog} --help` shows all options"
            )
        parsed, rest = self.parse_known_args(list(words))
        if rest:
            self.error(f"unexpected arguments: {' '.join(rest)}")
        return parsed


def _options_in(words: Sequence[str]) -> Iterator[str]:
    for word in words:
        if word == "--":
            return
        if word.startswith("-") and word != "-" and not _NUMBER.match(word):
            yield word


def _is_known(word: str, known: dict[str, argparse.Action]) -> bool:
    return word.partition("=")[0] in known or (not word.startswith("--") and word[:2] in known)


def _near(word: str, known: dict[str, argparse.Action]) -> str:
    return did_you_mean(word.partition("=")[0], known).removeprefix("; ") or "unknown"
