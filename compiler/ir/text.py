"""The text form of graphs: print, parse, and files.

::

    graph kws(%x: i8[1,49,10,1] scale=0.58) {
      %w: i8[64,10,4,1] = const @0c5c4a7cbf25d3a1          // in the side file
      %b: i32[64] = const [1, 2, ...]
      %y: i32[1,25,5,64] = conv2d(%x, %w, %b) {strides=(2, 2), pads=(4, 1, 5, 2)} as "stem/conv"
      return %y
    }

One statement defines one or several values. Names that are no words are quoted: ``%"stem/conv:0"``. ``as``
names the node where its name is not that of its first output. Attributes at their defaults are left out. What
follows a type is its quantization: ``scale=0.5`` or, per channel, ``scale=(0.5, 0.25)@0`` with the axis, and
``zero=3`` for a zero point. An attribute may be a graph (the body of ``fused``), whose names are its own.
Comments start with ``//``.

Printing what was parsed gives the printed text again; parsing what was printed, the graph to the last bit.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from dnncc.errors import ExternalDataError, OutputError, UnreadableModelError
from dnncc.ir.graph import Graph
from dnncc.ir.parser import Parser
from dnncc.ir.printer import Printer, digest
from dnncc.ir.types import Array

INLINE = 16


def print_graph(graph: Graph, inline: int | None = INLINE) -> str:
    """The graph as text.

    Args:
        inline: constants of up to this many elements are printed, larger ones as ``@digest``; None: all.
    """
    return Printer(inline).graph(graph)


def parse_graph(text: str, constants: Mapping[str, Array] | None = None, source: str = "graph") -> Graph:
    """The graph that ``text`` describes, not verified.

    Args:
        constants: digest to data of the constants that the text only names.
        source: what to call the text in errors.

    Raises:
        IrSyntaxError: with line and column, and what was expected there.
    """
    return Parser(text, constants or {}, source).file()


def side_file(path: Path) -> Path:
    """Where the large constants of a text file lie: ``net.ir`` has ``net.ir.npz``."""
    return path.with_name(path.name + ".npz")


def write_ir(graph: Graph, path: Path | str) -> None:
    """Write the text to ``path`` and its large constants, if any, to ``path.npz``.

    Raises:
        OutputError: a file cannot be written.
    """
    path = Path(path)
    printer = Printer(INLINE)
    text = printer.graph(graph) + "\n"
    side = side_file(path)
    try:
        if printer.stored:
            buffer = io.BytesIO()
            np.savez(buffer, **printer.stored)  # type: ignore[arg-type]
            side.write_bytes(buffer.getvalue())
        else:
            side.unlink(missing_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error


def read_ir(path: Path | str) -> Graph:
    """Read what ``write_ir`` wrote, or any text file in this form; not verified.

    Raises:
        UnreadableModelError: the file cannot be read or is not text.
        ExternalDataError: the side file is damaged.
        IrSyntaxError: the text does not parse, or names a constant that the side file lacks.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableModelError(f"cannot read {path}: {error}") from error
    return parse_graph(text, _read_constants(side_file(path)), str(path))


def _read_constants(side: Path) -> dict[str, Array]:
    if not side.exists():
        return {}
    try:
        with np.load(side, allow_pickle=False) as stored:
            constants = {key: stored[key] for key in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ExternalDataError(f"cannot read {side}: {error}") from error
    damaged = [key for key, data in constants.items() if digest(data) != key]
    if damaged:
        raise ExternalDataError(
            f"{side} is damaged: the content of {', '.join(damaged)} does not match its digest"
        )
    return constants
