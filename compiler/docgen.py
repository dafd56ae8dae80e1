"""The pages of the documentation that follow from the code: ``python -m dnncc.docgen [--check] [FOLDER]``."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from dnncc.docgen_importers import import_facts
from dnncc.errors import OutputError, catalog
from dnncc.frontends.onnx import OLDEST_OPSET, supported_op_types
from dnncc.frontends.onnx_registry import ONNX_OPS
from dnncc.ir.literals import format_literal
from dnncc.ops.base import Op, load_all

_NOTE = "<!-- Written by `python -m dnncc.docgen`: change the code, not this page. -->\n\n"


def operators_page() -> str:
    """docs/operators.md."""
    ops = load_all()
    facts = {name: import_facts(ONNX_OPS[name]) for name in supported_op_types()}
    users: dict[str, list[str]] = {}
    for name, fact in facts.items():
        for op in fact.ops or fact.moves:
            users.setdefault(op, []).append(name)
    onnx = [
        (
            name,
            fact.result,
            "yes" if fact.quantizes else "no",
            ", ".join(f"`{a}`" for a in fact.attributes) or "–",
            ", ".join(map(str, sorted(fact.constants))) or "–",
            "; ".join(fact.refused) or "–",
        )
        for name, fact in facts.items()
    ]
    own = [
        (
            f"`{name}`",
            _sentence(op),
            ", ".join(f"`{f.name}={format_literal(f.default)}`" for f in fields(op)) or "–",
            ", ".join(users.get(name, [])) or "–",
            "yes" if op.to_integer is not Op.to_integer else "–",
        )
        for name, op in sorted(ops.items())
        if name != "fused"
    ]
    return (
        "# Operators\n\n"
        + _NOTE
        + _OPERATORS.format(opset=OLDEST_OPSET, count=len(onnx))
        + _table(["ONNX", "becomes", "int8", "attributes", "constant operands", "refused"], onnx)
        + "\n"
        + _OWN_OPERATORS
        + _table(["operator", "meaning", "attributes", "from ONNX", "integer form"], own)
    )


_OPERATORS = """\
dnncc reads {count} ONNX operators, opset {opset} and up. `dnncc inspect MODEL` lists everything in a model that is not
supported, at once. [Conformance](conformance.md) has the results of ONNX's own test suite, operator by operator.

- **becomes**: operators of the IR, see below; "a constant" where everything is calculated while the model is read.
- **int8**: whether it can be computed in integers. What cannot still compiles with `--dtype float32`.
- **attributes**: those that are looked at. Any other attribute that could matter is an error, so that nothing the
  model says is overlooked.
- **constant operands**: inputs, counted from 0, that must be known when the model is compiled.
- **refused**: forms that are reported as unsupported; … stands for what varies.

"""
_OWN_OPERATORS = """\
## Operators of the IR

Spatial operators work on NHWC. The integer form is what quantization makes of a float operator; `requantize`,
`softmax_int`, `log_softmax_int`, `normalize_int`, `sum_pool2d`, `quantize` and `dequantize` exist only as such forms.

"""


def errors_page() -> str:
    """docs/errors.md."""
    parts = ["# Errors\n\n", _NOTE, _ERRORS]
    rows = [(f"[{code}](#{code.lower()})", str(e.exit_code), _sentence(e)) for code, e in catalog().items()]
    parts.append(_table(["code", "exit status", "meaning"], rows))
    for code, error in catalog().items():
        parts.append(f"\n## {code}\n\nExit status {error.exit_code}.\n\n{inspect.getdoc(error)}\n")
    return "".join(parts)


_ERRORS = """\
Every failure has a code, one message that names all offending nodes, and a way out. `dnncc explain CODE` prints
what is written here. With `--json` the same is under `error`: `code`, `message`, `nodes`, `help`. Status 0 is
success.

"""


def _sentence(cls: type[Any]) -> str:
    """The first sentence of a docstring."""
    paragraph = " ".join((inspect.getdoc(cls) or "").partition("\n\n")[0].split())
    head, stop, rest = paragraph.partition(". ")
    return head + "." if stop and rest else paragraph


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |\n" for row in lines)


PAGES: dict[str, Callable[[], str]] = {"operators.md": operators_page, "errors.md": errors_page}


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pages, or with ``--check`` return 1 if any is not current."""
    parser = argparse.ArgumentParser(prog="python -m dnncc.docgen", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("docs"))
    parser.add_argument(
        "--check", action="store_true", help="write nothing; status 1 if a page is not current"
    )
    arguments = parser.parse_args(argv)
    stale = 0
    for name, make in PAGES.items():
        path: Path = arguments.folder / name
        text = make()
        current = path.is_file() and path.read_text(encoding="utf-8") == text
        if current:
            continue
        stale = 1
        if arguments.check:
            sys.stderr.write(f"{path} is not current: run python -m dnncc.docgen\n")
            continue
        try:
            path.write_text(text, encoding="utf-8", newline="\n")
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}") from error
    return stale if arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
