"""What a command prints: one JSON document or text on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from dnncc.errors import DnnccError

if TYPE_CHECKING:
    from dnncc.cli.command import Outcome

SCHEMA = 1
_WIDEST = 44
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def emit(outcome: Outcome, as_json: bool) -> int:
    """Print an outcome; returns the exit status."""
    error = outcome.error
    if as_json:
        _print_json({**outcome.document, **({} if error is None else error_document(error))})
    elif outcome.text:
        write(outcome.text if outcome.text.endswith("\n") else outcome.text + "\n")
    if error is None:
        return 0
    note(error.render())
    return error.exit_code


def emit_error(error: DnnccError, as_json: bool) -> int:
    """Print why there is no outcome; returns the exit status."""
    if as_json:
        _print_json(error_document(error))
    note(error.render())
    return error.exit_code


def error_document(error: DnnccError) -> dict[str, Any]:
    """``error {code, message, nodes[] {name, op, reason}, help}``."""
    nodes = [{"name": c.name, "op": c.op, "reason": c.reason} for c in error.culprits]
    return {"error": {"code": error.code, "message": error.message, "nodes": nodes, "help": error.help}}


def note(text: str) -> None:
    """One message on stderr."""
    _write(sys.stderr, text + "\n")


def write(text: str) -> None:
    """Text on stdout."""
    _write(sys.stdout, text)


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns of text; what is a number is flush right, None is a dash."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(head), *cells]) for i in range(len(head))]
    right = [any(isinstance(row[i], int | float) for row in rows) for i in range(len(head))]
    lines = []
    for row in [list(head), *cells]:
        columns = [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)]
        lines.append("  ".join(columns).rstrip())
    return "\n".join(lines)


def shortened(name: str) -> str:
    """A name for a table: long ones without their middle."""
    return name if len(name) <= _WIDEST else f"{name[: _WIDEST // 2 - 1]}..{name[1 - _WIDEST // 2 :]}"


@contextmanager
def logs_on_stderr() -> Iterator[None]:
    """What the library logs goes to stderr while this lasts."""
    import logging

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            level = "note" if record.levelno <= logging.INFO else record.levelname.lower()
            note(f"{level}: {record.getMessage()}")

    logger = logging.getLogger("dnncc")
    handler, level = Handler(logging.INFO), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else " ".join(str(value).split())


def _print_json(document: Mapping[str, Any]) -> None:
    write(json.dumps({"schema": SCHEMA, **document}, indent=1, allow_nan=False) + "\n")


def _write(stream: TextIO, text: str) -> None:
    """Text that no terminal can choke on; a reader that has gone away is no error."""
    text = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except BrokenPipeError:
        # Python flushes again at exit and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
