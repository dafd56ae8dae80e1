"""ONNX If, Loop and Scan whose conditions and counts are known on import: branches taken, loops unrolled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from dnncc.frontends.onnx_registry import Importer, OnnxNode, onnx_op
from dnncc.ir.graph import Const, Value
from dnncc.ir.types import Array
from dnncc.ops.concat import Concat
from dnncc.ops.slice import sliced


@onnx_op("If")
def import_if(g: Importer, node: OnnxNode) -> Sequence[Value]:
    condition = _truth(node, node.array(0))
    branches = {True: node.graph("then_branch"), False: node.graph("else_branch")}
    return g.inline(branches[condition], [])


@onnx_op("Loop")
def import_loop(g: Importer, node: OnnxNode) -> Sequence[Value]:
    count, condition = node.optional_array(0), node.optional_array(1)
    state = [node.value(i) for i in range(2, node.n_inputs)]
    body = node.graph("body")
    rows: list[list[Value]] = [[] for _ in range(node.n_outputs - len(state))]
    if count is not None and count.size != 1:
        raise node.invalid(f"a trip count of shape {count.shape}")
    most = None if count is None else int(count.reshape(()))
    goes_on, i = condition is None or _truth(node, condition), 0
    # What limits the number of inlined nodes ends a loop that would not.
    while goes_on and (most is None or i < most):
        now = [g.const("i", np.array(i, np.int64)), g.const("condition", np.array(True))]
        proceed, *results = g.inline(body, [*now, *state])
        if len(results) != len(state) + len(rows):
            raise node.invalid(f"a body with {len(results) + 1} results")
        state, found = results[: len(state)], results[len(state) :]
        for row, value in zip(rows, found, strict=True):
            row.append(value)
        i += 1
        if not isinstance(proceed, Const):
            raise node.unsupported("a condition that depends on what the network is given")
        goes_on = _truth(node, proceed.data)
    return [*state, *(_stacked(g, node, row, 0) for row in rows)]


@onnx_op("Scan")
def import_scan(g: Importer, node: OnnxNode) -> Sequence[Value]:
    if node.opset < 9:
        return _batched_scan(g, node)
    scanned = node.int("num_scan_inputs")
    operands = [node.value(i) for i in range(node.n_inputs)]
    states = len(operands) - scanned
    results = node.n_outputs - states
    if not 0 < scanned <= len(operands) or results < 0:
        raise node.invalid(f"{scanned} scanned inputs of {len(operands)}")
    axes = node.ints("scan_input_axes", (0,) * scanned)
    ranks = [x.type.rank for x in operands[states:]]
    if len(axes) != scanned:
        raise node.invalid(f"{len(axes)} axes for {scanned} scanned inputs")
    return _scan(
        g,
        node,
        operands[:states],
        operands[states:],
        [node.axis(a, rank) for a, rank in zip(axes, ranks, strict=True)],
        node.ints("scan_input_directions", (0,) * scanned),
        node.ints("scan_output_axes", (0,) * results),
        node.ints("scan_output_directions", (0,) * results),
    )


def _batched_scan(g: Importer, node: OnnxNode) -> Sequence[Value]:
    """Scan of opset 8: the first axis of everything counts batch entries, the second axis of what is scanned steps."""
    lengths = node.optional(0)
    scanned = node.int("num_scan_inputs")
    operands = [node.value(i) for i in range(1, node.n_inputs)]
    states = len(operands) - scanned
    directions = node.ints("directions", (0,) * scanned)
    if lengths is not None:
        raise node.unsupported("sequences of different lengths")
    if not 0 < scanned <= len(operands) or any(x.type.rank < 1 for x in operands):
        raise node.invalid(f"{scanned} scanned inputs of {len(operands)}")
    batches = []
    for entry in range(operands[0].type.shape[0]):
        one = [_element(g, x, 0, entry) for x in operands]
        results = node.n_outputs - states
        zeros = (0,) * max(scanned, results)
        batches.append(_scan(g, node, one[:states], one[states:], zeros[:scanned], directions, zeros, zeros))
    return [_stacked(g, node, list(column), 0) for column in zip(*batches, strict=True)]


def _scan(
    g: Importer,
    node: OnnxNode,
    state: Sequence[Value],
    scanned: Sequence[Value],
    axes: Sequence[int],
    backwards: Sequence[int],
    result_axes: Sequence[int],
    result_backwards: Sequence[int],
) -> list[Value]:
    """The final state and the stacked results of one scan."""
    body, state = node.graph("body"), list(state)
    steps = {x.type.shape[a] for x, a in zip(scanned, axes, strict=True)}
    if len(steps) != 1 or len(backwards) != len(scanned):
        raise node.invalid(f"scanned inputs with {sorted(steps)} steps")
    (count,) = steps
    results = node.n_outputs - len(state)
    rows: list[list[Value]] = [[] for _ in range(results)]
    for i in range(count):
        places = [count - 1 - i if back else i for back in backwards]
        now = [_element(g, x, a, p) for x, a, p in zip(scanned, axes, places, strict=True)]
        found = g.inline(body, [*state, *now])
        if len(found) != len(state) + results:
            raise node.invalid(f"a body with {len(found)} results")
        for k, value in enumerate(found[len(state) :]):
            rows[k].insert(0 if result_backwards[k] else i, value)
        state = found[: len(state)]
    return [*state, *(_stacked(g, node, row, result_axes[k]) for k, row in enumerate(rows))]


def _truth(node: OnnxNode, condition: Array) -> bool:
    if condition.size != 1:
        raise node.invalid(f"a condition of shape {condition.shape}")
    return bool(condition.reshape(()))


def _element(g: Importer, x: Value, axis: int, i: int) -> Value:
    """``x[.., i, ..]`` without the axis."""
    shape = x.type.shape
    bounds = [(0, d, 1) for d in shape]
    bounds[axis] = (i, i + 1, 1)
    return g.reshape(sliced(g, x, bounds), (*shape[:axis], *shape[axis + 1 :]))


def _stacked(g: Importer, node: OnnxNode, rows: Sequence[Value], axis: int) -> Value:
    """Values of one shape along a new axis."""
    if not rows:
        raise node.unsupported("a loop that never runs, with a result without elements")
    shape = rows[0].type.shape
    axis = node.axis(axis, len(shape) + 1)
    parts = [g.reshape(row, (*shape[:axis], 1, *shape[axis:])) for row in rows]
    return parts[0] if len(parts) == 1 else g.emit(Concat(axis), parts)
