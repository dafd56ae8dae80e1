"""What an ONNX operator's importer accepts, read off its source for the generated documentation.

Importers ask a node for what they need (``node.ints("pads")``, ``node.array(1)``) and refuse the rest
(``node.unsupported("...")``); these calls say all that the documentation has to.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dnncc.ops.base import Op

_ATTRIBUTE_METHODS = ("int", "ints", "float", "floats", "string", "tensor", "has")
_CONSTANT_METHODS = ("array", "optional_array")
_Constants = Mapping[str, tuple[Any, ...]]


@dataclass
class ImportFacts:
    """What the source of an importer says about one ONNX operator.

    Attributes:
        ops: operators of the IR that it makes.
        moves: whether it reshapes or transposes.
        makes_constants: whether it calculates a constant itself.
        attributes: those that it looks at.
        constants: operands, counted from 0, that must be known at compile time.
        refused: the forms that it refuses, as in the error message, "…" for what varies.
    """

    ops: dict[str, type[Op]] = field(default_factory=dict)
    moves: dict[str, None] = field(default_factory=dict)
    makes_constants: bool = False
    attributes: dict[str, None] = field(default_factory=dict)
    constants: set[int] = field(default_factory=set)
    refused: dict[str, None] = field(default_factory=dict)

    @property
    def quantizes(self) -> bool:
        """Whether everything that it makes has an integer form."""
        return all(op.to_integer is not Op.to_integer for op in self.ops.values())

    @property
    def result(self) -> str:
        """What becomes of the ONNX operator, in words."""
        if self.ops or self.moves:
            return ", ".join(f"`{name}`" for name in (self.ops or self.moves))
        return "a constant" if self.makes_constants else "its operand"


def import_facts(function: Callable[..., Any]) -> ImportFacts:
    """Read an import function and the functions of dnncc that it calls."""
    facts = ImportFacts()
    _read(function, {}, facts, set())
    return facts


def _read(function: Callable[..., Any], given: _Constants, facts: ImportFacts, seen: set[Any]) -> None:
    key = (function, tuple(sorted(given.items())))
    if key in seen:
        return
    seen.add(key)
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    if not isinstance(tree, ast.FunctionDef):
        return
    constants = {**given, **_counters(tree)}
    for call in _calls(tree):
        if isinstance(call.func, ast.Attribute):
            _method(call, call.func, constants, facts)
        elif isinstance(call.func, ast.Name):
            target = function.__globals__.get(call.func.id)
            if inspect.isclass(target) and issubclass(target, Op):
                facts.ops[target.name] = target
            elif inspect.isfunction(target) and target.__module__.startswith("dnncc."):
                _read(target, _arguments(target, call, constants), facts, seen)


def _calls(tree: ast.FunctionDef) -> Iterator[ast.Call]:
    """Every call in a function's body, in the order of the source."""
    found = [n for statement in tree.body for n in ast.walk(statement) if isinstance(n, ast.Call)]
    return iter(sorted(found, key=lambda c: (c.lineno, c.col_offset)))


def _method(call: ast.Call, method: ast.Attribute, constants: _Constants, facts: ImportFacts) -> None:
    name, first = method.attr, call.args[0] if call.args else None
    owner = method.value.id if isinstance(method.value, ast.Name) else ""
    if first is None:
        return
    if owner == "node" and name in _ATTRIBUTE_METHODS:
        facts.attributes.update({v: None for v in _values(first, constants) if isinstance(v, str)})
    elif owner == "node" and name in _CONSTANT_METHODS:
        facts.constants.update(v for v in _values(first, constants) if isinstance(v, int))
    elif owner == "node" and name == "unsupported":
        facts.refused[_text(first)] = None
    elif owner == "g" and name in ("reshape", "transpose"):
        facts.moves[name] = None
    elif owner == "g" and name == "const":
        facts.makes_constants = True


def _arguments(target: Callable[..., Any], call: ast.Call, constants: _Constants) -> _Constants:
    """The parameters of a called function whose values are known."""
    names = list(inspect.signature(target).parameters)
    given = {name: _values(value, constants) for name, value in zip(names, call.args, strict=False)}
    return {name: values for name, values in given.items() if values}


def _counters(tree: ast.FunctionDef) -> dict[str, tuple[Any, ...]]:
    """What loops and comprehensions over known values count through."""
    found: dict[str, tuple[Any, ...]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.comprehension | ast.For) and isinstance(node.target, ast.Name):
            source = node.iter
            if isinstance(source, ast.Tuple | ast.List):
                values = tuple(v for e in source.elts for v in _values(e, {}))
            elif isinstance(source, ast.Call) and ast.unparse(source.func) == "range":
                bounds = [v for argument in source.args for v in _values(argument, {})]
                values = tuple(range(*bounds)) if len(bounds) == len(source.args) else ()
            else:
                values = ()
            found[node.target.id] = found.get(node.target.id, ()) + values
    return found


def _values(node: ast.expr, constants: _Constants) -> tuple[Any, ...]:
    """The values that an expression is known to take; none if nothing is known."""
    if isinstance(node, ast.Constant):
        return (node.value,)
    return constants.get(node.id, ()) if isinstance(node, ast.Name) else ()


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(str(v.value) if isinstance(v, ast.Constant) else "…" for v in node.values)
    return str(node.value) if isinstance(node, ast.Constant) else "…"
