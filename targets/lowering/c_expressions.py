"""C99 expressions from TIR expressions, with names that are unique and never shadow."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from dnncc.errors import InternalError
from dnncc.targets.lowering.float_functions import FUNCTIONS, c_function, extern_function
from tvm import tirx
from tvm_ffi import structural_walk

C_TYPES = {
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int16": "int16_t",
    "uint16": "uint16_t",
    "int32": "int32_t",
    "uint32": "uint32_t",
    "int64": "int64_t",
    "uint64": "uint64_t",
    "float32": "float",
    "float64": "double",
    "bool": "uint8_t",
}
_NARROW = ("int8", "uint8", "int16", "uint16")
_BINARY = {
    "Add": ("+", 11), "Sub": ("-", 11), "Mul": ("*", 12), "Div": ("/", 12), "Mod": ("%", 12),
    "LT": ("<", 9), "LE": ("<=", 9), "GT": (">", 9), "GE": (">=", 9), "EQ": ("==", 8), "NE": ("!=", 8),
    "LShift": ("<<", 10), "RShift": (">>", 10), "And": ("&&", 4), "Or": ("||", 3),
    "BitwiseAnd": ("&", 7), "BitwiseXor": ("^", 6), "BitwiseOr": ("|", 5),
}  # fmt: skip
_CALLS = {
    "shift_right": (">>", 10),
    "shift_left": ("<<", 10),
    "bitwise_and": ("&", 7),
    "bitwise_or": ("|", 5),
    "bitwise_xor": ("^", 6),
}
_SUFFIXES = {"float32": "f", "float64": "d", "uint32": "u", "int64": "l", "uint64": "ul"}
_ATOM, _UNARY, _TERNARY = 14, 13, 2
_ATOMIC = ("IntImm", "Var", "BufferLoad", "TensorLoad")


class Expressions:
    """Prints expressions and keeps the C names of variables and buffers.

    Args:
        analyzer: knows the ranges of the enclosing loops; where it proves operands non-negative, a floor division is
            C's own division.
    """

    def __init__(self, analyzer: Any) -> None:
        self.analyzer = analyzer
        self.calls: set[str] = set()
        self._names: dict[Any, str] = {}
        self._taken: set[str] = {"scratch", "first", "last"}
        self._kept: set[str] = set()
        self._scalars: set[str] = set()

    # -- names -------------------------------------------------------------------------------------------------------

    def name(self, var: Any, hint: str = "") -> str:
        """The C name of a variable or buffer, made on first use from ``hint`` or its own name."""
        if var in self._names:
            return self._names[var]
        base = re.sub(r"\W", "_", hint if hint and hint[-1].isdigit() else str(var.name)) or hint
        base = re.sub(r"_local$|_.*_fused$", "", base)  # what a schedule appends
        name, n = base, 0
        while name in self._taken:
            n += 1
            name = f"{base}_{n}"
        self._taken.add(name)
        self._names[var] = name
        return name

    def declare(self, buffer: Any, elements: int) -> str:
        """The C name of a local array, kept for the whole function; one of a single element is a variable."""
        name = self.name(buffer, "t")
        self._kept.add(name)
        if elements == 1:
            self._scalars.add(name)
        return name

    def alias(self, buffer: Any, data: Any) -> None:
        """Let ``buffer`` be another name of ``data``."""
        self._names[buffer] = self.name(data)

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Names made inside may be used again after it."""
        taken = set(self._taken)
        yield
        self._taken = taken | self._kept

    # -- printing ----------------------------------------------------------------------------------------------------

    def print(self, e: Any) -> str:
        return self._expression(e)[0]

    def element(self, buffer: Any, indices: Sequence[Any]) -> str:
        (index,) = indices
        name = self.name(buffer)
        return name if name in self._scalars else f"{name}[{self.print(index)}]"

    def address(self, buffer: Any, index: Any) -> str:
        name, text = self.name(buffer), self.print(index)
        if name in self._scalars:
            return f"&{name}"
        return name if text == "0" else f"&{name}[{text}]"

    def _at(self, e: Any, minimum: int) -> str:
        text, precedence = self._expression(e)
        return text if precedence >= minimum else f"({text})"

    def _expression(self, e: Any) -> tuple[str, int]:
        if isinstance(e, int):
            return str(e), _ATOM
        kind = type(e).__name__
        if kind in _BINARY:
            return self._binary(e, *_BINARY[kind])
        printer = getattr(self, "_" + kind, None)
        if printer is None:
            raise InternalError(f"the C emitter does not know TIR node '{kind}': {e}")
        text, precedence = printer(e)
        return str(text), int(precedence)

    def _binary(self, e: Any, symbol: str, precedence: int) -> tuple[str, int]:
        if symbol in ("&&", "||"):
            # Mixed && and || draw a warning without parentheses.
            text = f"{self._at(e.a, 7)} {symbol} {self._at(e.b, 7)}"
            return text, precedence
        if symbol == "<<" and isinstance(e.b, tirx.IntImm):
            # C leaves the left shift of a negative number undefined.
            text, precedence = f"{self._at(e.a, 12)} * {1 << int(e.b)}", 12
        elif symbol in ("<<", ">>", "&", "|", "^"):
            precedence_of_operands = _UNARY  # a + b >> c and a | b & c draw warnings without parentheses
            text = f"{self._at(e.a, precedence_of_operands)} {symbol} {self._at(e.b, precedence_of_operands)}"
        elif precedence in (8, 9) and self.print(e.a) == self.print(e.b):
            return self._compared_to_itself(e.a, symbol)
        elif precedence in (8, 9):
            text = (
                f"{self._at(e.a, 10)} {symbol} {self._at(e.b, 10)}"  # a comparison within one draws a warning
            )
        else:
            text = f"{self._at(e.a, precedence)} {symbol} {self._at(e.b, precedence + 1)}"
        dtype = str(e.ty.dtype)
        return (f"({C_TYPES[dtype]})({text})", _UNARY) if dtype in _NARROW else (text, precedence)

    def _compared_to_itself(self, e: Any, symbol: str) -> tuple[str, int]:
        """What C compilers do not warn of: a constant, or whether a float is a number."""
        if symbol in ("<", ">"):
            return "0", _ATOM
        if str(e.ty.dtype).startswith("float"):
            return f"{self._at(e, 10)} {'!=' if symbol == '!=' else '=='} {self._at(e, 10)}", 8
        return "0" if symbol == "!=" else "1", _ATOM

    def _IntImm(self, e: Any) -> tuple[str, int]:
        value, dtype = int(e.value), str(e.ty.dtype)
        if value == -(1 << 63):
            return "(-INT64_C(9223372036854775807) - 1)", _ATOM
        if dtype in ("int64", "uint64"):
            return f"{dtype.upper()}_C({value})", _ATOM
        if dtype == "uint32":
            return f"{value}u", _ATOM
        if value == -(1 << 31):
            return "(-2147483647 - 1)", _ATOM
        return str(value), _ATOM if value >= 0 else _UNARY

    def _FloatImm(self, e: Any) -> tuple[str, int]:
        value = float(e.value)
        suffix = "f" if str(e.ty.dtype) == "float32" else ""
        if not math.isfinite(value):
            # math.h and its INFINITY do not exist everywhere.
            sign = "0.0" if math.isnan(value) else "1.0" if value > 0 else "-1.0"
            return f"{sign}{suffix} / 0.0{suffix}", 12
        return repr(value) + suffix, _ATOM if value >= 0 else _UNARY

    def _Var(self, e: Any) -> tuple[str, int]:
        return self.name(e), _ATOM

    def _TensorLoad(self, e: Any) -> tuple[str, int]:
        return self.element(e.source, e.indices), _ATOM

    def _BufferLoad(self, e: Any) -> tuple[str, int]:
        return self.element(e.buffer, e.indices), _ATOM

    def _Cast(self, e: Any) -> tuple[str, int]:
        if str(e.ty.dtype) == "bool":
            return f"(uint8_t)({self._at(e.value, 9)} != 0)", _UNARY
        source, target = str(e.value.ty.dtype), str(e.ty.dtype)
        if source in ("int8", "int16") and target in ("uint32", "uint64"):
            # gcc looks through the cast and warns where the result of arithmetic with it is stored.
            return self._call(f"dnncc_{target}", [e.value]), _ATOM
        return f"({C_TYPES[target]}){self._at(e.value, _UNARY)}", _UNARY

    def _Not(self, e: Any) -> tuple[str, int]:
        return f"!{self._at(e.a, _ATOM)}", _UNARY

    def _BitwiseNot(self, e: Any) -> tuple[str, int]:
        dtype = str(e.ty.dtype)
        if dtype == "bool":
            return f"!{self._at(e.a, _ATOM)}", _UNARY
        text = f"~{self._at(e.a, _UNARY)}"
        return (f"({C_TYPES[dtype]})({text})" if dtype in _NARROW else text), _UNARY

    def _Select(self, e: Any) -> tuple[str, int]:
        return self._conditional(e.condition, e.true_value, e.false_value)

    def _conditional(self, condition: Any, yes: Any, no: Any) -> tuple[str, int]:
        text = f"{self._at(condition, 3)} ? {self._at(yes, 3)} : {self._at(no, 3)}"
        dtype = str(yes.ty.dtype)
        if dtype in _NARROW and not all(type(e).__name__ in _ATOMIC for e in (yes, no)):
            # gcc looks for what is lost when the int is stored, and gives up at divisions that a sanitizer watches.
            return f"({C_TYPES[dtype]})({text})", _UNARY
        return text, _TERNARY

    def _extreme(self, e: Any, name: str) -> tuple[str, int]:
        suffix = _SUFFIXES.get(str(e.ty.dtype), "")
        call = self._call(f"dnncc_{name}{suffix}", (e.a, e.b))
        dtype = str(e.ty.dtype)
        return (f"({C_TYPES[dtype]}){call}", _UNARY) if dtype in _NARROW else (call, _ATOM)

    def _Min(self, e: Any) -> tuple[str, int]:
        return self._extreme(e, "min")

    def _Max(self, e: Any) -> tuple[str, int]:
        return self._extreme(e, "max")

    def _FloorDiv(self, e: Any) -> tuple[str, int]:
        return self._floor(e, "/", "dnncc_floordiv")

    def _FloorMod(self, e: Any) -> tuple[str, int]:
        return self._floor(e, "%", "dnncc_floormod")

    def _floor(self, e: Any, symbol: str, function: str) -> tuple[str, int]:
        if str(e.ty.dtype).startswith("uint") or (
            self.analyzer.can_prove(e.a >= 0) and self.analyzer.can_prove(e.b > 0)
        ):
            return self._binary(e, symbol, 12)
        return self._call(function, (e.a, e.b)), _ATOM

    def _call(self, function: str, arguments: Sequence[Any]) -> str:
        self.calls.add(function)
        return f"{function}({', '.join(self.print(a) for a in arguments)})"

    def _Call(self, e: Any) -> tuple[str, int]:
        op = call_name(e)
        if op in _CALLS:
            symbol, precedence = _CALLS[op]
            a, b = e.args
            # Shifts and bit operations beside + or & draw a warning without parentheses.
            return f"{self._at(a, _UNARY)} {symbol} {self._at(b, _UNARY)}", precedence
        if op == "if_then_else":
            return self._conditional(*e.args)
        if op == "address_of":
            load = e.args[0]
            source = load.source if hasattr(load, "source") else load.buffer
            (index,) = load.indices
            text = self.address(source, index)
            return text, _UNARY
        if op in ("call_extern", "call_pure_extern"):
            function = str(e.args[0].value)
            known = extern_function(function)
            return self._call(c_function(known) if known else function, list(e.args)[1:]), _ATOM
        if op in FUNCTIONS and all(str(a.ty.dtype) == "float32" for a in e.args):
            return self._call(c_function(op), list(e.args)), _ATOM
        raise InternalError(f"the C emitter does not know TIR call '{op}': {e}")


def call_name(call: Any) -> str:
    """The operator of a TIR call without its namespace."""
    return str(call.op.name).rpartition(".")[2]


def mentions(e: Any, var: Any) -> bool:
    """Whether the expression reads the variable."""
    if isinstance(e, int):
        return False
    found = False

    def visit(node: Any) -> None:
        nonlocal found
        found = found or (hasattr(node, "same_as") and bool(node.same_as(var)))

    structural_walk(e, visit)
    return found
