"""What an operator is: one frozen dataclass, its fields the attributes, everything about it in its own file.

Adding an operator is adding ``compiler/ops/NAME.py``; it registers itself by being defined, and the generic tests
(reference against ONNX Runtime, against generated code) find it through ``OPS``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, ClassVar

from dnncc.errors import Culprit, ToolFailedError
from dnncc.ir.types import Array, TensorType

if TYPE_CHECKING:
    from dnncc.ir.graph import Node, Value
    from dnncc.ops.ranges import Interval, Ranges
    from dnncc.passes.quantize.context import QuantizeContext

OPS: dict[str, type[Op]] = {}
PLUGINS = "dnncc.ops"


class TypeMismatchError(ValueError):
    """An operator does not accept these operand types; the message says why."""


@dataclass(frozen=True)
class Op:
    """An operator with its attributes.

    Subclasses are frozen dataclasses. ``name`` is the operator's name in the text form; abstract bases leave it empty.
    """

    name: ClassVar[str] = ""
    is_view: ClassVar[bool] = False
    """The output is the input's bytes under another shape: no code, no copy."""
    elementwise: ClassVar[bool] = False
    """Output element i depends on element i of each (broadcast) operand only, so that it fuses into any epilogue."""

    moves: ClassVar[bool] = False
    """Elements of the result are elements of the operands (or a constant), unchanged: their grid can stay."""

    tables: ClassVar[tuple[int, ...]] = ()
    """Constant operands that are read as a whole, wherever an element needs it: they neither broadcast nor move."""

    observed: ClassVar[bool] = False
    """Calibration keeps the range of the first result itself, not only that of what it is moved into."""

    divides: ClassVar[bool] = False
    """Needs a division at run time, which an integer graph must not have."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__dict__.get("name"):
            known = OPS.setdefault(cls.name, cls)
            # dataclass(slots=True) and reloading define a class twice under the same qualified name.
            if known.__module__ != cls.__module__:
                raise ValueError(
                    f"operator '{cls.name}' is defined in {known.__module__} and {cls.__module__}"
                )
            OPS[cls.name] = cls

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        """Output types for these input types; TypeMismatchError says what is not accepted."""
        raise NotImplementedError(f"{self.name} has no type inference")

    def reference(self, *inputs: Array) -> Sequence[Array]:
        """The meaning, in numpy: output arrays of exactly the inferred types. Integers never wrap silently."""
        raise NotImplementedError(f"{self.name} has no reference")

    def macs(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        """Multiply-accumulates of one execution."""
        return 0

    def never_negative(self, operands: Sequence[bool]) -> bool:
        """Whether no element of the result can be negative.

        Args:
            operands: the same of each operand.
        """
        return False

    def ranges(self, inputs: Sequence[Value], intervals: Sequence[Interval]) -> Ranges | None:
        """The values that an integer result and every partial sum can take; None: whatever the output's type holds,
        which is no answer for an i32.

        Args:
            inputs: the operands, among them the constants whose data matter.
            intervals: what each operand can be.
        """
        return None

    def te(self, *inputs: Any) -> Any:
        """The TVM tensor expression of the only output; operands are ``te.Tensor`` (constants too)."""
        raise NotImplementedError(f"{self.name} has no tensor expression")

    def loops(self, t: Any, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        """Instead of ``te``: explicit loops, for several outputs, running state or addresses that depend on data.

        Such an operator becomes a kernel by itself; nothing fuses with it.

        Args:
            t: ``tvm.script.ir_builder.tirx``, while a function is being built: ``with t.serial(0, n) as i``,
                ``with t.If(c): with t.Then(): ...``, ``t.buffer_store(y, value, [i])``,
                ``t.alloc_buffer(shape, dtype, scope="local")`` for registers, without the scope for scratch memory.
            inputs, outputs: buffers of the operands (constants too) and results; outputs and inputs never overlap.
        """
        raise NotImplementedError(f"{self.name} has no loops")

    @classmethod
    def is_loops(cls) -> bool:
        """Whether code is generated from ``loops``."""
        return cls.te is Op.te and cls.loops is not Op.loops

    @classmethod
    def has_code(cls) -> bool:
        """Whether code can be generated at all."""
        return cls.is_view or cls.te is not Op.te or cls.loops is not Op.loops

    def to_integer(self, context: QuantizeContext, node: Node) -> Value | Sequence[Value] | None:
        """Emit the integer form of ``node`` into the context's graph; None if the operator has none.

        Only asked for nodes with a float operand or result; others stay as they are.

        Returns:
            What stands for the node's result, one value for each of several.
        """
        return None

    def integer_problem(self, node: Node) -> str | None:
        """Why ``node``, which has floats, has no integer form although its operator has one; None if it has. Asked for
        every node before any is converted, so that all are reported together."""
        return None

    def attributes(self, all_fields: bool = False) -> dict[str, Any]:
        """The attributes that differ from their defaults, or all of them."""
        return {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if all_fields or getattr(self, f.name) != f.default
        }


def load_all() -> dict[str, type[Op]]:
    """Import every operator file, those of other packages too, and return the registry.

    Another package names its modules under the entry point group ``dnncc.ops``.

    Raises:
        ToolFailedError: another package's module cannot be imported. An import error of our own is raised as it is.
    """
    import dnncc.ops

    for module in sorted(m.name for m in pkgutil.iter_modules(dnncc.ops.__path__)):
        importlib.import_module(f"dnncc.ops.{module}")
    _load_plugins()
    return OPS


@cache
def _load_plugins() -> None:
    for plugin in sorted(entry_points(group=PLUGINS), key=lambda p: (p.name, p.value)):
        try:
            plugin.load()
        except Exception as error:
            owner = plugin.dist.name if plugin.dist is not None else plugin.value
            raise ToolFailedError(
                f"the operators of package '{owner}' cannot be loaded: {type(error).__name__}: {error}",
                [Culprit(plugin.value, reason=f"is its entry point '{plugin.name}' of group {PLUGINS}")],
                help=f"repair or uninstall '{owner}'",
            ) from error
