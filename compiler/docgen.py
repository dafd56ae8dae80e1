"""The pages of the documentation that follow from the code: ``python -m dnncc.docgen [--check] [FOLDER]``.

What an ONNX operator's importer accepts is read off its source: the attributes it asks for, the operands it
wants as constants, and the forms that it refuses.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from dnncc.errors import OutputError, catalog
from dnncc.frontends.onnx import OLDEST_OPSET, supported_op_types
from dnncc.frontends.onnx_registry import ONNX_OPS
from dnncc.ir.literals import format_literal
from dnncc.ops.base import Op, load_all

_NOTE = "<!-- Written by `python -m dnncc.docgen`: change the code, not this page. -->\n\n"
_ATTRIBUTE_METHODS = ("int", "ints", "float", "floats", "string", "tensor", "has")
_CONSTANT_METHODS = ("array", "optional_array")


@dataclass
class ImportFacts:
    """What the source of an importer says about one ONNX operator.

    Attributes:
        ops: operators of the IR that it makes.
        attributes: those that it looks at.
        constants: operands, counted from 0, that must be known at compile time.
        refused: the forms that it refuses, as in the error message, "…" for what varies.
    """

    ops: dict[str, None] = field(default_factory=dict)
    attributes: dict[str, None] = field(default_factory=dict)
    constants: set[int] = field(default_factory=set)
    refused: dict[str, None] = field(default_factory=dict)

    @property
    def quantizes(self) -> bool:
        """Whether everything that it makes has an integer form."""
        return all(load_all()[name].to_integer is not Op.to_integer for name in self.ops)


def import_facts(function: Callable[..., Any]) -> ImportFacts:
    """Read an import function and the functions of dnncc that it calls."""
    facts = ImportFacts()
    seen: set[Any] = set()

    def visit(function: Callable[..., Any]) -> None:
        if function in seen:
            return
        seen.add(function)
        scope = inspect.getclosurevars(function).globals
        for call in _calls(function):
            if isinstance(call.func, ast.Attribute):
                _method(call.func.attr, call, facts)
            elif isinstance(call.func, ast.Name):
                target = scope.get(call.func.id)
                if inspect.isclass(target) and issubclass(target, Op):
                    facts.ops[target.name] = None
                elif inspect.isfunction(target) and target.__module__.startswith("dnncc."):
                    if call.args and isinstance(call.args[0], ast.Name) and call.args[0].id == "node":
                        facts.attributes.update(dict.fromkeys(_strings(call.args)))
                    visit(target)

    visit(function)
    return facts


def _calls(function: Callable[..., Any]) -> Iterator[ast.Call]:
    """Every call in a function, in the order of the source."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    calls = [n for n in ast.walk(tree.body[0]) if isinstance(n, ast.Call)]
    decorators = {d for n in tree.body if isinstance(n, ast.FunctionDef) for d in n.decorator_list}
    return iter(sorted((c for c in calls if c not in decorators), key=lambda c: (c.lineno, c.col_offset)))


def _method(name: str, call: ast.Call, facts: ImportFacts) -> None:
    first = call.args[0] if call.args else None
    if name in _ATTRIBUTE_METHODS:
        facts.attributes.update(dict.fromkeys(_strings(call.args[:1])))
    elif name in _CONSTANT_METHODS and isinstance(first, ast.Constant) and isinstance(first.value, int):
        facts.constants.add(first.value)
    elif name == "unsupported" and first is not None:
        facts.refused[_text(first)] = None


def _strings(nodes: Sequence[ast.expr]) -> list[str]:
    return [n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)]


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(v.value if isinstance(v, ast.Constant) else "…" for v in node.values)
    return node.value if isinstance(node, ast.Constant) else "…"


def operators_page() -> str:
    """docs/operators.md."""
    ops = load_all()
    facts = {name: import_facts(ONNX_OPS[name]) for name in supported_op_types()}
    users: dict[str, list[str]] = {}
    for name, fact in facts.items():
        for op in fact.ops:
            users.setdefault(op, []).append(name)
    onnx = [
        (
            name,
            ", ".join(f"`{op}`" for op in fact.ops) or "nothing: it folds",
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
supported, at once.

- **becomes**: operators of the IR, see below. Views and transposes that cancel cost nothing.
- **int8**: whether it can be computed in integers. What cannot still compiles with `--dtype float32`.
- **attributes**: those that are looked at. Any other attribute is an error, so that nothing the model says is
  overlooked.
- **constant operands**: inputs, counted from 0, that must be known when the model is compiled.
- **refused**: forms that are reported as unsupported; … stands for what varies.

"""
_OWN_OPERATORS = """\
## Operators of the IR

Spatial operators work on NHWC. The integer form is what quantization makes of a float operator; `requantize`,
`softmax_int`, `sum_pool2d`, `quantize` and `dequantize` exist only as such forms.

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
Every failure has a code, one message that names all offending nodes, and a way out. `dnncc explain CODE` prints what is
written here. With `--json` the same is under `error`: `code`, `message`, `nodes`, `help`. Status 0 is success; 130 means
interrupted.

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
    parser.add_argument("--check", action="store_true", help="write nothing; status 1 if a page is not current")
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
