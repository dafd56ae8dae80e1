"""What a command is."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dnncc.cli.parser import Parser
    from dnncc.errors import DnnccError


@dataclass(frozen=True)
class Outcome:
    """What a command has to say.

    Attributes:
        document: for ``--json``, without the schema and the error.
        text: the same for people.
        error: why it failed nevertheless; decides the exit status.
    """

    document: Mapping[str, Any]
    text: str
    error: DnnccError | None = None


@dataclass(frozen=True)
class Command:
    """One command of the command line.

    Attributes:
        name: what the user types.
        summary: one line for ``dnncc --help``.
        add_arguments: declares arguments and options.
        run: does the work; imports what it needs, so that the others start fast.
    """

    name: str
    summary: str
    add_arguments: Callable[[Parser], None]
    run: Callable[[Namespace], Outcome]
