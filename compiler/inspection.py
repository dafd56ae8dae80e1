"""What a model needs, before anything is compiled: support, work, parameters, memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dnncc.errors import Culprit, DnnccError, QuantizationError, UnsupportedError, UsageError
from dnncc.ir.graph import Const, Graph, Node
from dnncc.ir.types import DType, TensorType
from dnncc.loading import load
from dnncc.ops.fused import Fused, operator_name
from dnncc.plan import KernelNeeds, Plan, make_plan
from dnncc.runtime.suggest import did_you_mean
from dnncc.targets.boards import Board, load_board

PIPELINE = "simplify,separate-outputs,fuse"
DTYPES = ("int8", "float32")


@dataclass(frozen=True)
class NodeEstimate:
    """One kernel of the simplified network.

    Attributes:
        name: the model's name of its main node.
        op: its main operator.
        macs: multiply-accumulates.
        parameters: elements of the constants that it reads.
        shape: of its first output.
        live_bytes: bytes of all the activations that are in memory while it runs.
    """

    name: str
    op: str
    macs: int
    parameters: int
    shape: tuple[int, ...]
    live_bytes: int


@dataclass(frozen=True)
class Inspection:
    """What a model needs. None: not known, because of what is not supported.

    Attributes:
        name: the network's name.
        dtype: what is assumed of activations and weights, "int8" or "float32".
        board: the machine asked for.
        unsupported: every node that cannot be compiled.
        inputs, outputs: names and types as in the model.
        macs: multiply-accumulates of one inference.
        parameters: elements of all constants.
        weights_bytes: their bytes; biases have 4 bytes each.
        peak_bytes: the largest sum of activations that must be in memory at the same time, in the best order
            found. Kernels have no scratch memory and never write outputs over inputs; what a caller owns,
            inputs and outputs of the network, does not count.
        nodes: one per kernel, in the order that the peak is of.
    """

    name: str
    dtype: str
    board: Board | None
    unsupported: tuple[Culprit, ...]
    error: DnnccError | None = None
    inputs: Mapping[str, TensorType] = field(default_factory=dict)
    outputs: Mapping[str, TensorType] = field(default_factory=dict)
    macs: int | None = None
    parameters: int | None = None
    weights_bytes: int | None = None
    peak_bytes: int | None = None
    nodes: tuple[NodeEstimate, ...] = ()

    @property
    def supported(self) -> bool:
        return not self.unsupported


def inspect(
    model: Any,
    example_inputs: Sequence[Any] | None = None,
    *,
    target: str | None = None,
    dims: Mapping[str, int] | None = None,
    dtype: str = "int8",
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
) -> Inspection:
    """Estimate what a model needs; nothing is calibrated, compiled or written.

    Args:
        model: see ``dnncc.load``.
        target: a board's name, to compare with what it has.
        example_inputs: what a PyTorch module is exported with.
        dims: values of symbolic dimensions.
        inputs, outputs: values or nodes between which the model is cut.
        dtype: "int8" or "float32".

    Raises:
        ModelError: the model cannot be read. What is not supported is no error but part of the result.
        UsageError: an unknown target.
    """
    if dtype not in DTYPES:
        raise UsageError(
            f"unknown dtype {dtype!r}{did_you_mean(dtype, DTYPES)}", help=f"one of {', '.join(DTYPES)}"
        )
    board = load_board(target) if target is not None else None
    try:
        graph = load(model, dims, example_inputs=example_inputs, inputs=inputs, outputs=outputs)
    except UnsupportedError as refused:
        return Inspection(_name(model), dtype, board, refused.culprits or (Culprit(_name(model)),), refused)
    from dnncc.passes.pipeline import Pipeline

    given = {v.name: v.type for v in graph.inputs}
    returned = {v.name: v.type for v in graph.outputs}
    quantized = any(t.quantization is not None for t in given.values())
    Pipeline.parse("simplify").run(graph)
    error = _unsupported(graph, to_be_quantized=dtype == "int8" and not quantized)
    Pipeline.parse(PIPELINE).run(graph)
    element = DType.I8 if dtype == "int8" else DType.F32
    if not quantized:
        _set_elements(graph, element)
    plan = make_plan(graph, {node: KernelNeeds(0, {}) for node in graph.nodes})
    constants = {id(c.data): c for node in graph.nodes for c in _constants(node)}.values()
    return Inspection(
        name=graph.name,
        dtype=dtype,
        board=board,
        unsupported=() if error is None else error.culprits,
        error=error,
        inputs=given,
        outputs=returned,
        macs=graph.macs(),
        parameters=sum(c.type.size for c in constants),
        weights_bytes=sum(c.type.size * (element.bytes if c.type.rank > 1 else 4) for c in constants),
        peak_bytes=plan.order_peak_bytes,
        nodes=_estimates(plan),
    )


def _unsupported(graph: Graph, to_be_quantized: bool) -> DnnccError | None:
    """Why the simplified graph cannot be compiled, with every node."""
    if to_be_quantized:
        from dnncc.passes.quantize.lower import check_supported

        try:
            check_supported(graph)
        except QuantizationError as error:
            return error
        return None
    culprits = [
        Culprit(n.name, n.op.name, "has no code generation") for n in graph.nodes if not n.op.has_code()
    ]
    return UnsupportedError(f"'{graph.name}' cannot be compiled", culprits) if culprits else None


def _set_elements(graph: Graph, element: DType) -> None:
    """Let every value between kernels have this element type: for planning, not for running."""
    for value in graph.values():
        if not isinstance(value, Const):
            value.type = value.type.with_dtype(element)


def _estimates(plan: Plan) -> tuple[NodeEstimate, ...]:
    # Views share their storage's place and lifetime.
    storages: dict[tuple[int, tuple[int, int]], int] = {}
    for value, lifetime in plan.lifetimes.items():
        key = (plan.offsets[value], lifetime)
        storages[key] = max(storages.get(key, 0), value.type.bytes)
    estimates = []
    for step, node in enumerate(plan.steps):
        live = sum(size for (_, (first, end)), size in storages.items() if first <= step < end)
        op = operator_name(node)
        parameters = sum(c.type.size for c in _constants(node))
        shape = node.outputs[0].type.shape
        estimates.append(NodeEstimate(node.name, op, node.macs, parameters, shape, live))
    return tuple(estimates)


def _constants(node: Node) -> list[Const]:
    """The constants that a kernel reads: the node's own and those inside its body."""
    found = [v for v in node.inputs if isinstance(v, Const)]
    return found + (node.op.graph.constants() if isinstance(node.op, Fused) else [])


def _name(model: Any) -> str:
    return Path(model).stem if isinstance(model, str | Path) else "model"
