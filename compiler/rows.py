"""Part of a graph as a stage that is computed row by row, and the small graph that computes one row of each kernel.

What the optimizers (``dnncc.passes.planning.patch``) know of a stage is shapes; this file states a graph to them, and
gives their layers a meaning: the interpreter runs the rows' graphs, code generation compiles them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ir.types import Array, DType, TensorType
from dnncc.ops.average_pool2d import AveragePool2d
from dnncc.ops.concat import Concat
from dnncc.ops.conv2d import Conv2d
from dnncc.ops.max_pool2d import MaxPool2d
from dnncc.ops.pool2d import Pool2d
from dnncc.ops.slice import Slice
from dnncc.ops.transpose import Transpose
from dnncc.passes.fuse import groups
from dnncc.passes.planning.patch.problem import Image, Layer, Range, Read, Stage, Window


class NotInRowsError(ValueError):
    """A graph cannot be computed row by row; the message says why."""


@dataclass(frozen=True)
class Operand:
    """What one row's kernel reads.

    Attributes:
        value: a value or, where every row has other constants, a constant.
        image: index of the image, None for such a constant and for the stage's input.
        window: whether it is under the sliding window; else what lies at the output's own row.
        read: the same for the optimizer.
    """

    value: Value
    image: int | None
    window: bool
    read: Read | None


@dataclass(frozen=True)
class RowLayer:
    """One kernel of the stage.

    Attributes:
        nodes: of the graph, in execution order; those that bring in an input may be none.
        output: what they make.
        operands: what they read.
        anchor: the node with the sliding window, if there is one.
    """

    nodes: tuple[Node, ...]
    output: Value
    operands: tuple[Operand, ...]
    anchor: Node | None


@dataclass(frozen=True)
class RowStage:
    """A graph as a stage.

    Attributes:
        stage: for the optimizer; the layers have no workspace yet.
        layers: of the graph, those that bring in its inputs first.
        fills: per image the value of the padding above and below it.
    """

    stage: Stage
    layers: tuple[RowLayer, ...]
    fills: tuple[float, ...]


@dataclass(frozen=True)
class RowInput:
    """Where a row's graph finds an operand.

    Attributes:
        operand: which.
        first: the row of the output y reads from row ``y * stride - before``; both of its window.
        skip: pixels of the row to skip; for the stage's input and for constants elements.
        pitch: of the stage's input and of constants: elements from one row to the next.
    """

    operand: Operand
    skip: int
    pitch: int = 0


@dataclass(frozen=True)
class RowGraph:
    """One row of a layer, within one strip of columns.

    Attributes:
        graph: from the rows that it reads to [1, 1, columns, channels].
        inputs: of the graph, in its order.
    """

    graph: Graph
    inputs: tuple[RowInput, ...]


def row_stage(body: Graph) -> RowStage:
    """The stage that a graph with one output is.

    Raises:
        NotInRowsError: it is none.
    """
    if len(body.outputs) != 1 or not body.nodes:
        raise NotInRowsError("a stage has one output, which it computes")
    heads = [_head(body, value) for value in body.inputs]
    fetched = {n for head in heads for n in head}
    rest = Graph(
        body.name, [head[-1].output if head else v for head, v in zip(heads, body.inputs, strict=True)]
    )
    rest.nodes, rest.outputs = [n for n in body.nodes if n not in fetched], list(body.outputs)
    layers = [
        RowLayer(tuple(head), value, (Operand(source, None, False, None),), None)
        for head, value, source in zip(heads, rest.inputs, body.inputs, strict=True)
    ]
    images = {value: i for i, value in enumerate(rest.inputs)}
    grouped = groups(rest)
    for node in rest.nodes:
        group = grouped.get(node)
        if group is None:
            raise NotInRowsError(f"node '{node.name}' ({node.op.name}) is no kernel")
        if node is group.nodes[-1]:
            layers.append(_layer(group.nodes, images))
            images[layers[-1].output] = len(images)
    if layers[-1].output is not body.outputs[0]:
        raise NotInRowsError("the stage's output is not what it computes last")
    stage = Stage(
        tuple(_image(layer.output) for layer in layers),
        tuple(
            Layer(tuple(o.read for o in layer.operands if o.read is not None), _macs(layer))
            for layer in layers
        ),
    )
    read = {r.image for k in stage.layers for r in k.reads}
    if len(read) != len(images) - 1:
        raise NotInRowsError("part of the stage is for nothing, or its output is read in it")
    return RowStage(stage, tuple(layers), _fills(layers, stage))


def _head(body: Graph, source: Value) -> list[Node]:
    """The nodes that bring an input into [1, height, width, channels]: what is up to the last transposition."""
    uses = body.uses()
    chain: list[Node] = []
    value = source
    while len(uses.get(value, ())) == 1 and value not in body.outputs:
        (node,) = uses[value]
        variable = [v for v in node.inputs if not isinstance(v, Const)]
        constants = [v for v in node.inputs if isinstance(v, Const)]
        plain = node.op.elementwise and all(v.type.size == 1 for v in constants)
        if len(variable) != 1 or len(node.outputs) != 1 or not (plain or isinstance(node.op, Transpose)):
            break
        chain.append(node)
        value = node.output
    while chain and not isinstance(chain[-1].op, Transpose):
        chain.pop()
    return chain


def _image(value: Value) -> Image:
    shape = value.type.shape
    if len(shape) != 4 or shape[0] != 1 or min(shape) < 1:
        raise NotInRowsError(f"%{value.name} is no image: {value.type}")
    return Image(shape[1], shape[2], shape[3] * value.type.dtype.bytes)


def _macs(layer: RowLayer) -> int:
    """For one pixel."""
    image = _image(layer.output)
    return sum(n.macs for n in layer.nodes) // (image.height * image.width)


def _layer(nodes: Sequence[Node], images: Mapping[Value, int]) -> RowLayer:
    made = {v for n in nodes for v in n.outputs}
    anchors = [n for n in nodes if not n.op.elementwise]
    if len(anchors) > 1:
        raise NotInRowsError(f"node '{anchors[0].name}' ({anchors[0].op.name}) is not alone in its kernel")
    anchor = anchors[0] if anchors and not isinstance(anchors[0].op, Concat) else None
    output = nodes[-1].output
    height, width = _image(output).height, _image(output).width
    operands: dict[tuple[Value, bool], Operand] = {}
    for node in nodes:
        if len(node.outputs) != 1:
            raise NotInRowsError(f"node '{node.name}' ({node.op.name}) has {len(node.outputs)} results")
        if isinstance(node.op, Concat) and (node.op.axis != 3 or node.output.type.rank != 4):
            raise NotInRowsError(f"node '{node.name}' does not concatenate channels")
        for i, value in enumerate(node.inputs):
            windowed = node is anchor and i == 0
            if isinstance(value, Const):
                if i not in node.op.tables and node is not anchor and _by_row(value, height, width):
                    operands[value, False] = Operand(value, None, False, None)
                continue
            if value in made:
                continue
            if value not in images:
                raise NotInRowsError(f"%{value.name} is not computed in the stage")
            read = _windows(node, images[value]) if windowed else Read(images[value])
            shape = _image(value)
            if not windowed and (shape.height, shape.width) != (height, width):
                raise NotInRowsError(f"%{value.name} has another height or width than %{output.name}")
            operands[value, windowed] = Operand(value, images[value], windowed, read)
        if node is not anchor and _image(node.output) != replace(
            _image(node.output), height=height, width=width
        ):
            raise NotInRowsError(f"node '{node.name}' changes height or width")
    return RowLayer(tuple(nodes), output, tuple(operands.values()), anchor)


def _windows(node: Node, image: int) -> Read:
    op = node.op
    if isinstance(op, Conv2d):
        if not all(isinstance(v, Const) for v in node.inputs[1:]):
            raise NotInRowsError(f"the weights of '{node.name}' are computed")
        kernel = node.inputs[1].type.shape[1:3]
    elif isinstance(op, Pool2d):
        kernel = op.kernel
    else:
        raise NotInRowsError(f"node '{node.name}' ({op.name}) does not slide over rows")
    top, left, bottom, right = op.pads
    height, width = op.window.extent((kernel[0], kernel[1]))
    if max(top, bottom) >= height or max(left, right) >= width:
        raise NotInRowsError(f"a window of '{node.name}' lies in the padding")
    if isinstance(op, AveragePool2d) and (top or bottom) and not op.count_include_pad:
        raise NotInRowsError(f"'{node.name}' divides by the number of elements inside the image")
    (down, along) = op.strides
    return Read(image, Window(height, down, top), Window(width, along, left))


def _by_row(value: Const, height: int, width: int) -> bool:
    """Whether a constant of an elementwise operator has another value in each row."""
    dims = _rank4(value.type.shape)
    if dims[0] != 1 or dims[1] not in (1, height) or dims[2] not in (1, width):
        raise NotInRowsError(f"the constant %{value.name} {value.type} does not follow rows and columns")
    return dims[1] > 1


def _rank4(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) > 4:
        raise NotInRowsError(f"a constant of shape {shape} in a stage")
    return (1,) * (4 - len(shape)) + shape


def _fills(layers: Sequence[RowLayer], stage: Stage) -> tuple[float, ...]:
    """What the rows above and below each image hold."""
    found: dict[int, float] = {}
    for i, layer in enumerate(layers):
        for operand in layer.operands:
            if operand.read is None or operand.image is None or not operand.window:
                continue
            assert layer.anchor is not None
            image = stage.images[operand.image]
            first, end = operand.read.rows.needed((0, stage.images[i].height))
            if first >= 0 and end <= image.height:
                continue
            dtype = operand.value.type.dtype
            lowest = isinstance(layer.anchor.op, MaxPool2d)
            fill = (-math.inf if dtype.is_float else dtype.min) if lowest else 0
            if found.setdefault(operand.image, fill) != fill or (fill and dtype.bytes > 1):
                raise NotInRowsError(
                    f"the padding of %{operand.value.name} has several values, or a wide one"
                )
    return tuple(found.get(i, 0) for i in range(len(layers)))


def fill_byte(fill: float, dtype: DType) -> int:
    """The byte that rows of padding consist of."""
    return int(fill) % 256 if dtype.bytes == 1 else 0


def row_graph(staged: RowStage, index: int, columns: Sequence[Range]) -> RowGraph:
    """One row of layer ``index``, where ``columns`` are computed of every image."""
    layer = staged.layers[index]
    if layer.operands[0].read is None and layer.operands[0].image is None and index < _inputs(staged):
        return _fetch(layer, columns[index])
    low, high = columns[index]
    graph = Graph(layer.output.name)
    inputs: list[RowInput] = []
    known: dict[tuple[Value, bool], Value] = {}
    pads = (0, 0, 0, 0)

    def parameter(operand: Operand, type_: TensorType, skip: int, pitch: int = 0) -> Value:
        value = Value(graph.fresh(operand.value.name), type_)
        graph.inputs.append(value)
        inputs.append(RowInput(operand, skip, pitch))
        return value

    for operand in layer.operands:
        shape = operand.value.type.shape
        key = operand.value, operand.window
        if operand.image is None or operand.read is None:
            _, _, across, c = _rank4(shape)
            width, skip = (high - low, low) if across > 1 else (1, 0)
            type_ = operand.value.type.plain().with_shape((1, 1, width, c))
            known[key] = parameter(operand, type_, skip * c, across * c)
            continue
        c = shape[3]
        have = columns[operand.image]
        if not operand.window:
            known[key] = parameter(
                operand, operand.value.type.with_shape((1, 1, high - low, c)), low - have[0]
            )
            continue
        first, end = operand.read.columns.needed((low, high))
        pads = (0, max(-first, 0), 0, max(end - shape[2], 0))
        inside = max(first, 0), min(end, shape[2])
        extent = operand.read.rows.extent
        # A single row can be entered anywhere; of several all columns are there, between one row and the next.
        taken = inside if extent == 1 else have
        type_ = operand.value.type.with_shape((1, extent, taken[1] - taken[0], c))
        value = parameter(operand, type_, taken[0] - have[0])
        if taken != inside:
            start, stop = inside[0] - have[0], inside[1] - have[0]
            cut = Slice((0, 0, start, 0), (1, extent, stop, c), (1, 1, 1, 1))
            value = graph.append(cut, [value], graph.fresh(f"{operand.value.name}_part"))
        known[key] = value
    made: dict[Value, Value] = {}
    for node in layer.nodes:
        operands = []
        for i, value in enumerate(node.inputs):
            key = value, node is layer.anchor and i == 0
            if value in made:
                operands.append(made[value])
            elif key in known:
                operands.append(known[key])
            else:
                assert isinstance(value, Const)
                whole = i in node.op.tables or node is layer.anchor
                operands.append(value if whole else _cut_constant(value, low, high))
        op = node.op
        if node is layer.anchor:
            assert isinstance(op, Conv2d | Pool2d)
            op = replace(op, pads=pads)
        made[node.output] = graph.append(op, operands, node.name)
    graph.outputs = [made[layer.output]]
    return RowGraph(graph, tuple(inputs))


def _inputs(staged: RowStage) -> int:
    """How many layers bring in an input."""
    return sum(not k.reads for k in staged.stage.layers)


def _fetch(layer: RowLayer, columns: Range) -> RowGraph:
    """Row 0 of an input; its address moves on."""
    (operand,) = layer.operands
    source = operand.value
    axes = list(range(4))
    for node in reversed(layer.nodes):
        if isinstance(node.op, Transpose):
            axes = [node.op.perm[a] for a in axes]
    shape = source.type.shape
    starts, stops = [0] * 4, list(shape)
    stops[axes[1]] = 1
    starts[axes[2]], stops[axes[2]] = columns
    graph = Graph(layer.output.name, [Value(source.name, source.type)])
    value = graph.append(
        Slice(tuple(starts), tuple(stops), (1,) * 4), graph.inputs, graph.fresh(f"{source.name}_row")
    )
    for node in layer.nodes:
        operands = [v if isinstance(v, Const) else value for v in node.inputs]
        value = graph.append(node.op, operands, node.name)
    graph.outputs = [value]
    return RowGraph(graph, (RowInput(operand, 0, math.prod(shape[axes[1] + 1 :])),))


def _cut_constant(value: Const, low: int, high: int) -> Const:
    """The columns of a constant that differs from column to column; others are as they were."""
    dims = _rank4(value.type.shape)
    if dims[2] == 1:
        return value
    data = value.data.reshape(dims)[:, :, low:high, :]
    return Const.of(value.name, data, None)


def constant_row(data: Array, row: int, columns: int, item: RowInput) -> Array:
    """The row of a constant that an elementwise operator reads: [1, 1, columns or 1, channels or 1]."""
    dims = _rank4(data.shape)
    flat = np.ascontiguousarray(data).reshape(-1)
    width = columns if dims[2] > 1 else 1
    start = row * item.pitch + item.skip
    return flat[start : start + width * dims[3]].reshape(1, 1, width, dims[3])
