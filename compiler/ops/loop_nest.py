"""What operators with explicit loops share: nests over a shape, variables, and floats as integers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any


@contextmanager
def nest(t: Any, *sizes: int) -> Iterator[tuple[Any, ...]]:
    """Loops over every index of a shape, the last axis innermost.

    Args:
        t: ``tvm.script.ir_builder.tirx``.
    """
    with ExitStack() as stack:
        yield tuple(stack.enter_context(t.serial(0, size)) for size in sizes)


def combinations(*counts: int) -> Iterator[tuple[int, ...]]:
    """Every tuple of numbers below these counts: loops that are unrolled in the code."""
    return itertools.product(*(range(n) for n in counts))


class Variable:
    """A scalar that loops change: a register of its own.

    Args:
        t: ``tvm.script.ir_builder.tirx``.
        dtype: numpy's name of its type.
        value: what it is to begin with.
    """

    def __init__(self, t: Any, dtype: str, value: Any) -> None:
        self._t = t
        self._dtype = dtype
        self._buffer = t.alloc_buffer((1,), dtype, scope="local")
        self.set(value)

    def get(self) -> Any:
        return self._buffer[0]

    def set(self, value: Any) -> None:
        from dnncc.targets.lowering.api import const

        value = const(value, self._dtype) if isinstance(value, int | float) else value
        self._t.buffer_store(self._buffer, value, [0])


_FAR = 1e9


def floor_of(t: Any, x: Any) -> Any:
    """``floor(x)`` of an f32 as an i32, also of NaN and of numbers that no i32 holds: those end at about 10^9."""
    near = bounded(t, x)
    whole = near.astype("int32")
    return t.Select(near < whole.astype("float32"), whole - 1, whole)


def bounded(t: Any, x: Any) -> Any:
    """An f32 between -10^9 and 10^9, from where an i32 can hold it; NaN counts as small."""
    return t.if_then_else(x > -_FAR, t.if_then_else(x < _FAR, x, t.float32(_FAR)), t.float32(-_FAR))


def all_of(conditions: Sequence[Any]) -> Any:
    """The conjunction of TVM conditions, at least one of them."""
    from dnncc.targets.lowering.api import te

    return conditions[0] if len(conditions) == 1 else te.all(*conditions)
