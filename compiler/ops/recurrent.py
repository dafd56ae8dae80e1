"""What the recurrent layers share: time, batch, direction, and the product of the state with its weights.

An operator is one direction without the projection of its input, which is one ``linear`` for all steps before it.
Time is a loop of the generated code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.activations import ACTIVATIONS
from dnncc.ops.base import Op, TypeMismatchError
from dnncc.ops.te_types import shape_of


@dataclass(frozen=True)
class OverTime(Op):
    """A recurrence over the first axis of its operand x [T,B,...].

    Attributes:
        reverse: the last step first.
        lengths: how many steps each sequence has, B numbers; empty: all of them. y is 0 beyond.
        last: y is only what the last step gives.
    """

    gates: ClassVar[int] = 1
    observed: ClassVar[bool] = True
    reverse: bool = False
    lengths: tuple[int, ...] = ()
    last: bool = False

    def check_lengths(self, steps: int, batch: int) -> None:
        """TypeMismatchError for lengths that are none."""
        if self.lengths and (len(self.lengths) != batch or not all(1 <= n <= steps for n in self.lengths)):
            raise TypeMismatchError(
                f"{self.name} with lengths {self.lengths} of {steps} steps, batch {batch}"
            )

    def steps_of(self, x: TensorType) -> int:
        """How often the cell is calculated."""
        return sum(self.lengths) or x.shape[0] * x.shape[1]

    def order(self, steps: int, sequence: int) -> list[int]:
        """The points in time of one sequence in the order of calculation."""
        times = list(range(self.lengths[sequence] if self.lengths else steps))
        return times[::-1] if self.reverse else times

    def over_time(
        self,
        t: Any,
        x: Any,
        y: Any,
        load: Callable[[Any], None],
        step: Callable[[Any, Any], None],
        finish: Callable[[Any], None],
    ) -> None:
        """The loops over the batch and, within it, over the steps; zeros in y beyond a sequence's end."""
        steps, batch, _ = shape_of(x)

        def sequence(b: Any, length: int) -> None:
            load(b)
            with t.serial(0, length) as s:
                step(b, length - 1 - s if self.reverse else s)
            if length < steps and not self.last:
                with t.serial(length, steps) as s, t.serial(0, shape_of(y)[2]) as u:
                    zero = 0.0 if str(y.dtype) == "float32" else 0
                    t.buffer_store(y, zero, [s, b, u])
            finish(b)

        if self.lengths:
            for b, length in enumerate(self.lengths):
                sequence(b, length)
        else:
            with t.serial(0, batch) as b:
                sequence(b, steps)


@dataclass(frozen=True)
class Recurrent(OverTime):
    """One direction of a recurrent layer with T steps, batch B and H units.

    Operands: x [T,B,G*H], the projected input of the G gates with all biases; r [G*H,H], the weights of the state;
    h0 [B,H]; and what the cell adds. Results: y [T,B,H], or [B,H] if ``last``; and the cell's state, if it is asked
    for.

    Attributes:
        functions: the activation functions by ONNX's names in small letters.
        alphas, betas: their parameters.
        clip: the arguments of the functions are clamped to [-clip, clip]; 0: they are not.
    """

    states: ClassVar[int] = 1
    functions: tuple[str, ...] = ("tanh",)
    alphas: tuple[float, ...] = (0.0,)
    betas: tuple[float, ...] = (0.0,)
    clip: float = 0.0

    def extras(self) -> int:
        """How many operands there are after x, r and the states."""
        return 0

    def cell_output(self) -> bool:
        """Whether the state that is not y is a result."""
        return False

    def infer(self, *inputs: TensorType) -> Sequence[TensorType]:
        if len(inputs) != 2 + self.states + self.extras():
            raise TypeMismatchError(f"{self.name} does not take {len(inputs)} operands")
        x, r, *rest = inputs
        units = r.shape[-1] if r.rank == 2 else 0
        if x.rank != 3 or r.shape != (self.gates * units, units) or x.shape[2] != self.gates * units:
            raise TypeMismatchError(
                f"{self.name} needs x[T,B,{self.gates}H], r[{self.gates}H,H]; got {x}, {r}"
            )
        steps, batch, _ = x.shape
        if any(s.shape != (batch, units) for s in rest[: self.states]):
            raise TypeMismatchError(f"{self.name} needs states [{batch},{units}]; got {rest}")
        if any(v.dtype is not DType.F32 for v in inputs):
            raise TypeMismatchError(f"{self.name} takes f32")
        unknown = [f for f in self.functions if f not in ACTIVATIONS]
        if unknown or len({len(self.functions), len(self.alphas), len(self.betas)}) != 1:
            raise TypeMismatchError(f"{self.name} with functions {self.functions}")
        self.check_lengths(steps, batch)
        y = TensorType(DType.F32, (batch, units) if self.last else (steps, batch, units))
        return [y, TensorType(DType.F32, (batch, units))] if self.cell_output() else [y]

    def macs(self, inputs: Sequence[TensorType], outputs: Sequence[TensorType]) -> int:
        return self.steps_of(inputs[0]) * inputs[1].size

    # -- in numpy ----------------------------------------------------------------------------------------------------

    def step(self, x: Array, states: list[Array], inputs: Sequence[Array]) -> list[Array]:
        """The states after one step.

        Args:
            x: float64 [G*H].
            states: h [H] first.
            inputs: all operands, float64.
        """
        raise NotImplementedError

    def activate(self, which: int, x: Array) -> Array:
        """Function ``which`` of an array."""
        if self.clip:
            x = np.clip(x, -self.clip, self.clip)
        return ACTIVATIONS[self.functions[which]].apply(x, self.alphas[which], self.betas[which])

    def reference(self, *inputs: Array) -> Sequence[Array]:
        wide = [a.astype(np.float64) for a in inputs]
        x, r = wide[:2]
        steps, batch, _ = x.shape
        y = np.zeros((steps, batch, r.shape[1]))
        ends = []
        for b in range(batch):
            states = [s[b] for s in wide[2 : 2 + self.states]]
            for time in self.order(steps, b):
                states = self.step(x[time, b], states, wide)
                y[time, b] = states[0]
            ends.append(states)
        finals = [np.stack(column).astype(np.float32) for column in zip(*ends, strict=True)]
        first = finals[0] if self.last else y.astype(np.float32)
        return [first, *finals[1:]] if self.cell_output() else [first]

    # -- as loops ----------------------------------------------------------------------------------------------------

    def cell(self, t: Any, pre: Any, states: Sequence[Any], inputs: Sequence[Any], x: Any) -> None:
        """Update the states.

        Args:
            pre: buffer [G*H]: ``x + r @ h``.
            states: buffers [H], h first.
            inputs: buffers of all operands.
            x: a function from a gate's index to the projected input.
        """
        raise NotImplementedError

    def activated(self, which: int, x: Any) -> Any:
        """Function ``which`` of an expression."""
        from dnncc.targets.lowering.api import const, te

        if self.clip:
            x = te.min(te.max(x, const(-self.clip, "float32")), const(self.clip, "float32"))
        return ACTIVATIONS[self.functions[which]].expr(x, self.alphas[which], self.betas[which])

    def loops(self, t: Any, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
        x, r = inputs[:2]
        units = shape_of(r)[1]
        pre = t.alloc_buffer((self.gates * units,), "float32")
        states = [t.alloc_buffer((units,), "float32") for _ in range(self.states)]

        def load(b: Any) -> None:
            for state, first in zip(states, inputs[2:], strict=False):
                with t.serial(0, units) as u:
                    t.buffer_store(state, first[b, u], [u])

        def step(b: Any, time: Any) -> None:
            product(t, r, states[0], pre, (0, self.gates * units), lambda j: x[time, b, j])
            self.cell(t, pre, states, inputs, lambda j: x[time, b, j])
            if not self.last:
                with t.serial(0, units) as u:
                    t.buffer_store(outputs[0], states[0][u], [time, b, u])

        def finish(b: Any) -> None:
            kept = [*([states[0]] if self.last else []), *(states[1:] if self.cell_output() else [])]
            for state, y in zip(kept, outputs if self.last else outputs[1:], strict=True):
                with t.serial(0, units) as u:
                    t.buffer_store(y, state[u], [b, u])

        self.over_time(t, x, outputs[0], load, step, finish)


def product(t: Any, r: Any, h: Any, result: Any, rows: tuple[int, int], start: Callable[[Any], Any]) -> None:
    """``result[j] = start(j) + sum over k of r[j, k] * h[k]`` for the rows from ``rows[0]`` to below ``rows[1]``."""
    total = t.alloc_buffer((1,), "float32", scope="local")
    with t.serial(*rows) as j:
        t.buffer_store(total, start(j), [0])
        with t.serial(0, shape_of(r)[1]) as k:
            t.buffer_store(total, total[0] + r[j, k] * h[k], [0])
        t.buffer_store(result, total[0], [j])
