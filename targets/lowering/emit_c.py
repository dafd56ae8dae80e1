"""C99 from lowered TIR: one function per kernel, copies and fills as memcpy and memset.

Integer arithmetic is printed in 32 bits (C promotes narrower operands), with a cast wherever TIR narrows, so that the
text is clean under -Wconversion. Expressions live in ``c_expressions``; this file prints statements.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from dnncc.errors import InternalError
from dnncc.targets.lowering import tiles
from dnncc.targets.lowering.c_expressions import C_TYPES, Expressions, call_name, mentions
from dnncc.targets.lowering.guards import skip_padding
from tvm import tirx
from tvm.ir import Range
from tvm.sym import Analyzer, detect_linear_equation

_CALL = re.compile(r"\s*(mem|dnncc_)\w+\(")
_LONG = 8  # iterations from which a call pays
_BYTES = {
    "int8": 1,
    "uint8": 1,
    "bool": 1,
    "int16": 2,
    "uint16": 2,
    "int32": 4,
    "uint32": 4,
    "float32": 4,
    "int64": 8,
    "uint64": 8,
    "float64": 8,
}


OVERLAPPING = "dnncc.overlapping"
"""Attribute of a PrimFunc: the indices of the inputs that an output may overlap; without it any may."""


PARALLEL = "dnncc.parallel"
"""Annotation of a loop whose iterations threads may share: the last statement of its function."""


@dataclass(frozen=True)
class CFunction:
    """A kernel in C.

    Attributes:
        parameters: the C declarations, inputs first, then constants, outputs, and ``scratch`` if it needs any.
        body: the statements, without the braces.
        scratch_bytes: how much scratch memory the caller passes, aligned to 4 bytes or ``alignment``.
        calls: functions of ``dnncc.h`` that it calls.
        parallel: iterations of the loop that threads may share; then the last parameters are the first iteration and
            one past the last one. 0: there is no such loop.
        alignment: that the elements in scratch memory need, in bytes.
    """

    parameters: tuple[str, ...]
    body: str
    scratch_bytes: int
    calls: frozenset[str]
    parallel: int = 0
    alignment: int = 1

    def render(self, name: str) -> str:
        """The definition under a name; not inlined, so that frames do not add up in one caller's stack."""
        return f"DNNCC_NOINLINE static void {name}({', '.join(self.parameters)}) {{\n{self.body}}}\n"


def emit_c(function: Any, inputs: int, constants: int, exclusive: bool = False) -> CFunction:
    """Print a lowered PrimFunc whose parameters are ``inputs`` activations, ``constants``, then outputs.

    Args:
        exclusive: no output lies over an input, and the C compiler may know.
    """
    overlapping = function.attrs.get(OVERLAPPING)
    overlapping = [] if exclusive else overlapping
    printer = _Printer(range(inputs) if overlapping is None else [int(i) for i in overlapping], exclusive)
    parameters = [printer.parameter(var, i, inputs, constants) for i, var in enumerate(function.params)]
    printer.statement(skip_padding(function.body), 1)
    if printer.scratch:
        parameters.append("uint8_t *restrict scratch")
    if printer.parallel:
        parameters += ["int32_t first", "int32_t last"]
    body = "".join(_unread_marked(printer.declarations, printer.lines)) + "".join(printer.lines)
    words = set(re.findall(r"\w+", body))
    # An operand may not matter: a product with zero, a window that reads none of it.
    declarations = (p if re.split(r"\W+", p)[-1] in words else f"{p} DNNCC_UNUSED" for p in parameters)
    return CFunction(
        tuple(declarations),
        body,
        printer.scratch,
        frozenset(printer.expressions.calls),
        printer.parallel,
        printer.widest,
    )


def _unread_marked(declarations: Sequence[str], lines: Sequence[str]) -> Iterator[str]:
    """The declarations; variables that are assigned to and not read are marked, since compilers warn of them."""
    read = set(re.findall(r"\w+", re.sub(r"^ *\w+ = ", "", "".join(lines), flags=re.MULTILINE)))
    for text in declarations:
        variable = re.fullmatch(r" *\w+ (\w+);\n", text)
        yield text.replace(";", " DNNCC_UNUSED;") if variable and variable[1] not in read else text


class _Printer:
    def __init__(self, overlapping: Iterable[int], exclusive: bool = False) -> None:
        self.analyzer = Analyzer()
        self._overlapping = {f"x{i}" for i in overlapping}
        self.expressions = Expressions(self.analyzer)
        self.declarations: list[str] = []
        self.lines: list[str] = []
        self.scratch, self.widest = 0, 1
        self.parallel = 0
        self._align = 64 if exclusive else 4
        self._restrict = "restrict " if exclusive else ""
        self._local: set[str] = set()

    def parameter(self, var: Any, index: int, inputs: int, constants: int) -> str:
        element = C_TYPES[str(var.ty.dtype)]
        if index < inputs:
            return f"const {element} *{self._restrict}{self.expressions.name(var, f'x{index}')}"
        if index < inputs + constants:
            return f"const {element} *restrict {self.expressions.name(var, f'w{index - inputs}')}"
        return f"{element} *{self._restrict}{self.expressions.name(var, f'y{index - inputs - constants}')}"

    def _line(self, depth: int, text: str) -> None:
        self.lines.append("    " * depth + text + "\n")

    # -- statements --------------------------------------------------------------------------------------------------

    def statement(self, s: Any, depth: int) -> None:
        getattr(self, "_" + type(s).__name__)(s, depth)

    def _SeqStmt(self, s: Any, depth: int) -> None:
        for one in s.seq:
            self.statement(one, depth)

    def _AllocBuffer(self, s: Any, depth: int) -> None:
        buffer = s.buffer
        dtype = str(buffer.ty.dtype)
        elements = 1
        for extent in buffer.ty.shape:
            elements *= int(extent)
        local = str(buffer.ty.storage_scope) == "local"
        name = self.expressions.declare(buffer, elements if local else 0)
        element = C_TYPES[dtype]
        if local:
            extent = "" if elements == 1 else f"[{elements}]"
            aligned = "DNNCC_ALIGN64 " if self._align == 64 and elements > 1 else ""
            self.declarations.append(f"    {aligned}{element} {name}{extent};\n")
            self._local.add(name)
            return
        self.widest = max(self.widest, _BYTES[dtype])
        self.scratch = -(-self.scratch // _BYTES[dtype]) * _BYTES[dtype]
        cast = "scratch" if element == "uint8_t" and not self.scratch else f"scratch + {self.scratch}"
        self.declarations.append(f"    {element} *const {name} = ({element} *)(void *)({cast});\n")
        self.scratch += -(-elements * _BYTES[dtype] // self._align) * self._align

    def _DeclBuffer(self, s: Any, depth: int) -> None:
        data = s.data.args[0] if type(s.data).__name__ == "Call" else s.data  # buffer_data(parameter)
        self.expressions.alias(s.buffer, data)

    def _For(self, s: Any, depth: int) -> None:
        if tiles.SKIP in s.annotations:
            return
        if tiles.CALL in s.annotations:
            self._kernel_call(tiles.read(s), depth)
            return
        if self._copy_or_fill(s, depth) or self._strided_copy(s, depth):
            return
        self.analyzer.bind(s.loop_var, Range.from_min_extent(s.min, s.extent))
        with self.expressions.scope():
            name = self.expressions.name(s.loop_var, "i")
            first = self.expressions.print(s.min)
            limit = self.expressions.print(self.analyzer.simplify(s.min + s.extent))
            if PARALLEL in s.annotations:
                if self.parallel or first != "0":
                    raise InternalError("two loops of a kernel cannot be shared by threads")
                self.parallel, first, limit = int(s.extent), "first", "last"
            mark = len(self.lines)
            self._line(depth, f"for (int32_t {name} = {first}; {name} < {limit}; ++{name}) {{")
            self.statement(s.body, depth + 1)
            self._line(depth, "}")
            if any(_CALL.match(line) for line in self.lines[mark:]):
                # Unrolling a loop around calls makes the code larger and no faster.
                self.lines.insert(mark, "    " * depth + "DNNCC_NO_UNROLL\n")

    def _kernel_call(self, nest: tiles.Nest, depth: int) -> None:
        self.expressions.calls.add(nest.function)
        arguments = [self.expressions.address(nest.written.buffer, nest.written.start)]
        x, *others = nest.read
        if tiles.ROW in nest.extents:
            # The place may lie in the padding: the kernel gets the array, and the number of the row that it is in.
            first, length, channels, *constants = nest.constants
            place = x.start + int(first)
            row = self.analyzer.simplify(tirx.floordiv(place, int(length)))
            arguments += [self.expressions.name(x.buffer), self.expressions.print(row)]
            for weights in others:
                channel = self.analyzer.simplify(tirx.floormod(place, int(channels)))
                arguments += [
                    self.expressions.address(weights.buffer, weights.start),
                    self.expressions.print(channel),
                ]
            arguments += constants
        else:
            arguments.append(self.expressions.address(x.buffer, x.start))
            arguments += [str(x.strides[role]) for role in ("line", "pixel") if role in x.strides]
            arguments += [self.expressions.address(w.buffer, w.start) for w in others]
            for role in ("outer", "inner"):
                arguments += [str(nest.extents[role]), str(x.strides[role])]
            arguments += [str(nest.extents["word"])] if "word" in nest.extents else []
        self._line(depth, f"{nest.function}({', '.join(arguments)});")

    def _While(self, s: Any, depth: int) -> None:
        self._line(depth, f"while ({self.expressions.print(s.condition)}) {{")
        with self.expressions.scope():
            self.statement(s.body, depth + 1)
        self._line(depth, "}")

    def _IfThenElse(self, s: Any, depth: int) -> None:
        self._line(depth, f"if ({self.expressions.print(s.condition)}) {{")
        with self.expressions.scope():
            self.statement(s.then_case, depth + 1)
        if s.else_case is not None:
            self._line(depth, "} else {")
            with self.expressions.scope():
                self.statement(s.else_case, depth + 1)
        self._line(depth, "}")

    def _BufferStore(self, s: Any, depth: int) -> None:
        target, value = self.expressions.element(s.buffer, s.indices), self.expressions.print(s.value)
        if target != value:  # clang warns of an assignment to itself
            self._line(depth, f"{target} = {value};")

    def _Evaluate(self, s: Any, depth: int) -> None:
        if type(s.value).__name__ != "IntImm":
            self._line(depth, f"{self.expressions.print(s.value)};")

    def _Bind(self, s: Any, depth: int) -> None:
        value = self.expressions.print(s.value)
        element = C_TYPES[str(s.value.ty.dtype)]
        self._line(depth, f"const {element} {self.expressions.name(s.var, 'v')} = {value};")

    def _AttrStmt(self, s: Any, depth: int) -> None:
        self.statement(s.body, depth)

    # -- copies and fills --------------------------------------------------------------------------------------------

    def _copy_or_fill(self, loop: Any, depth: int) -> bool:
        """Print ``for i: for j: y[a + n*i + j] = x[b + n*i + j]`` as one copy and ``= constant`` as one fill, splitting
        on conditions that do not depend on the variables; false if the nest is something else."""
        nest = [loop]
        while type(nest[-1].body).__name__ == "For":
            nest.append(nest[-1].body)
        store = nest[-1].body
        if type(store).__name__ != "BufferStore" or len(store.indices) != 1:
            return False
        run = _Run(tuple(one.loop_var for one in nest), 0, 0, 1)
        for one in reversed(nest):
            position, first = run.position + one.loop_var * run.count, run.first + one.min * run.count
            run = _Run(run.variables, position, first, run.count * one.extent)
        start = self._start(store.indices[0], run)
        # A loop may run a negative number of times, that is never; a copy may not.
        if start is None or not all(self.analyzer.can_prove(one.extent >= 0) for one in nest):
            return False
        return self._transfer(store, start, store.value, run, depth)

    def _transfer(self, store: Any, start: Any, value: Any, run: _Run, depth: int) -> bool:
        kind = type(value).__name__
        size = _BYTES[str(store.value.ty.dtype)]
        count = self.analyzer.simplify(run.count * size)
        target = self.expressions.address(store.buffer, start)
        if kind == "IntImm" and (size == 1 or int(value) == 0):
            self._line(depth, f"memset({target}, {int(value) & 255}, {self._size(count)});")
            return True
        if (
            kind in ("TensorLoad", "BufferLoad")
            and len(value.indices) == 1
            and str(value.ty.dtype) == str(store.value.ty.dtype)
        ):
            source = self._start(value.indices[0], run)
            if source is None:
                return False
            origin = value.source if hasattr(value, "source") else value.buffer
            address = self.expressions.address(origin, source)
            function = "memmove" if self._may_overlap(store.buffer, origin) else "memcpy"
            self._line(depth, f"{function}({target}, {address}, {self._size(count)});")
            return True
        if (
            kind == "Call"
            and call_name(value) == "if_then_else"
            and not any(mentions(value.args[0], v) for v in run.variables)
        ):
            mark = len(self.lines)
            self._line(depth, f"if ({self.expressions.print(value.args[0])}) {{")
            if self._transfer(store, start, value.args[1], run, depth + 1):
                self._line(depth, "} else {")
                if self._transfer(store, start, value.args[2], run, depth + 1):
                    self._line(depth, "}")
                    return True
            del self.lines[mark:]
        return False

    def _strided_copy(self, loop: Any, depth: int) -> bool:
        """Print ``for i: scratch[a*i + b] = condition ? x[c*i + d] : k`` of bytes, the condition free of i, as a call.

        C compilers unroll and unswitch such a loop into kilobytes.
        """
        store = loop.body
        if type(store).__name__ != "BufferStore" or _BYTES[str(store.value.ty.dtype)] != 1:
            return False
        if self._written(store.buffer) or not self.analyzer.can_prove(loop.extent >= _LONG):
            return False
        value, condition = store.value, None
        if type(value).__name__ == "Call" and call_name(value) == "if_then_else":
            condition, value, other = value.args
            if mentions(condition, loop.loop_var) or type(other).__name__ != "IntImm":
                return False
        if type(value).__name__ != "TensorLoad":
            return False
        target = self._linear(store.indices[0], loop)
        source = self._linear(value.indices[0], loop)
        if target is None or source is None:
            return False
        to = f"{self.expressions.address(store.buffer, target[1])}, {target[0]}"
        count = self.expressions.print(loop.extent)
        copy = f"dnncc_copy_strided({to}, {self.expressions.address(value.source, source[1])}, {source[0]}, {count});"
        self.expressions.calls.add("dnncc_copy_strided")
        if condition is None:
            self._line(depth, copy)
            return True
        self.expressions.calls.add("dnncc_fill_strided")
        self._line(depth, f"if ({self.expressions.print(condition)}) {{")
        self._line(depth + 1, copy)
        self._line(depth, "} else {")
        self._line(depth + 1, f"dnncc_fill_strided({to}, {int(other)}, {count});")
        self._line(depth, "}")
        return True

    def _linear(self, index: Any, loop: Any) -> tuple[int, Any] | None:
        """(step, first index) of an index that is linear in the loop's variable with a constant step, else None."""
        found = detect_linear_equation(index, [loop.loop_var])
        if len(found) != 2 or type(found[0]).__name__ != "IntImm":
            return None
        return int(found[0]), self.analyzer.simplify(found[1] + loop.min * found[0])

    def _written(self, target: Any) -> bool:
        """Whether the buffer is an output, which the planner may lay over an input."""
        return re.fullmatch(r"y\d+", self.expressions.name(target)) is not None

    def _may_overlap(self, target: Any, origin: Any) -> bool:
        """Whether an output is copied to from an input that may lie over it; scratch and constants never do."""
        return self._written(target) and self.expressions.name(origin) in self._overlapping

    def _size(self, count: Any) -> str:
        text = self.expressions.print(count)
        return text + "u" if text.isdigit() else f"(size_t)({text})"

    def _start(self, index: Any, run: _Run) -> Any:
        """The first index, if the indices of a run follow one another; else None."""
        rest = self.analyzer.simplify(index - run.position)
        if any(mentions(rest, v) for v in run.variables):
            return None
        return self.analyzer.simplify(rest + run.first)


@dataclass(frozen=True)
class _Run:
    """A nest of loops that may touch consecutive elements.

    Attributes:
        variables: the loops' variables, outermost first.
        position: the number of the element, in these variables.
        first: the position at which the loops begin.
        count: how many elements.
    """

    variables: tuple[Any, ...]
    position: Any
    first: Any
    count: Any
