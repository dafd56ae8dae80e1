"""A float graph as a PyTorch module over batches: for training what a pass has changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from dnncc.errors import Culprit, ToolMissingError, UnsupportedError
from dnncc.ir.graph import Const, Graph, Node, Value
from dnncc.ir.types import Array

TRAINED = ("conv2d", "linear")
"""Operators whose constant weights and biases are parameters; all other constants stay."""


def torch_or_error() -> Any:
    """The module ``torch``; ToolMissingError where it is not installed."""
    try:
        import torch
    except ImportError as error:
        raise ToolMissingError(
            "PyTorch is not installed, which training needs", help="pip install dnncc[torch]"
        ) from error
    return torch


class TorchGraph:
    """A float graph whose first axis, of size 1, may be a batch of any size.

    Attributes:
        graph: what is run; ``store`` writes the parameters back to it.
        parameters: by constant of the graph: f32 tensors that require gradients.

    Raises:
        ToolMissingError: there is no PyTorch. UnsupportedError: operators that have no form here, all of them, or
            inputs and outputs without a batch axis of 1.
    """

    def __init__(self, graph: Graph) -> None:
        torch = torch_or_error()
        self.graph = graph
        self._check()
        trained = dict.fromkeys(v for n in graph.find(*TRAINED) for v in n.inputs[1:] if isinstance(v, Const))
        self._known: dict[Value, Any] = {c: torch.from_numpy(c.data.copy()) for c in graph.constants()}
        self.parameters: dict[Const, Any] = {c: self._known[c].requires_grad_() for c in trained}

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        """Tensors [n, ...] per input to tensors [n, ...] per output."""
        known = dict(self._known)
        known.update(zip(self.graph.inputs, inputs, strict=True))
        for node in self.graph.nodes:
            known[node.output] = _FORMS[node.op.name](node, [known[v] for v in node.inputs])
        return [known[v] for v in self.graph.outputs]

    def store(self) -> None:
        """Give the graph the parameters as they are now."""
        for const, tensor in self.parameters.items():
            data = np.ascontiguousarray(tensor.detach().numpy(), np.float32)
            fresh = Const.of(const.name, data)
            self.graph.replace_uses(const, fresh)

    def _check(self) -> None:
        culprits = [
            Culprit(
                n.name, n.op.name, "has no form in PyTorch" if n.op.name not in _FORMS else "mixes samples"
            )
            for n in self.graph.nodes
            if n.op.name not in _FORMS or not _keeps_batch(n)
        ]
        culprits += [
            Culprit(v.name, reason=f"has no batch axis of 1: {v.type}")
            for v in (*self.graph.inputs, *self.graph.outputs)
            if v.type.shape[:1] != (1,)
        ]
        if culprits:
            raise UnsupportedError(
                f"'{self.graph.name}' cannot become a PyTorch module",
                culprits,
                "train it before it is imported",
            )


def batch(arrays: Sequence[Array]) -> list[Any]:
    """Samples [n, *shape without the batch axis] as tensors."""
    torch = torch_or_error()
    return [torch.from_numpy(np.ascontiguousarray(a)) for a in arrays]


def _keeps_batch(node: Node) -> bool:
    """Whether the first axis of the result is that of the operands, so that it may be a batch."""
    attributes = node.op.attributes(all_fields=True)
    axes = {attributes.get("axis", 1), *attributes.get("axes", ())}
    return 0 not in axes and attributes.get("perm", (0,))[0] == 0 and node.output.type.shape[:1] == (1,)


def _conv2d(node: Node, operands: list[Any]) -> Any:
    from torch.nn.functional import conv2d, pad

    x, w, b = operands
    op: Any = node.op
    top, left, bottom, right = op.pads
    image = pad(x.permute(0, 3, 1, 2), (left, right, top, bottom))
    y = conv2d(image, w.permute(0, 3, 1, 2), b, op.strides, 0, op.dilations, op.groups)
    return y.permute(0, 2, 3, 1)


def _linear(node: Node, operands: list[Any]) -> Any:
    from torch.nn.functional import linear

    return linear(*operands)


def _clip(node: Node, operands: list[Any]) -> Any:
    op: Any = node.op
    return operands[0].clamp(op.lo, op.hi) if (op.lo, op.hi) != (None, None) else operands[0]


def _taps(node: Node, x: Any, value: float) -> Any:
    """[N,OH,OW,C,KH*KW] of a pool."""
    from torch.nn.functional import pad

    op: Any = node.op
    top, left, bottom, right = op.pads
    x = pad(x, (0, 0, left, right, top, bottom), value=value)
    (kh, kw), (dh, dw) = op.kernel, op.dilations
    x = x.unfold(1, (kh - 1) * dh + 1, op.strides[0]).unfold(2, (kw - 1) * dw + 1, op.strides[1])
    return x[..., ::dh, ::dw].flatten(-2)


def _max_pool2d(node: Node, operands: list[Any]) -> Any:
    return _taps(node, operands[0], -np.inf).amax(-1)


def _average_pool2d(node: Node, operands: list[Any]) -> Any:
    import torch

    op: Any = node.op
    divisors = torch.from_numpy(op.divisors(tuple(operands[0].shape[1:3])).astype(np.float32))
    return _taps(node, operands[0], 0.0).sum(-1) / divisors[:, :, None]


def _reshape(node: Node, operands: list[Any]) -> Any:
    op: Any = node.op
    (x,) = operands
    # A constant has no batch; what the graph says of the batch axis holds for each sample.
    return x.reshape(op.shape if isinstance(node.inputs[0], Const) else (x.shape[0], *op.shape[1:]))


def _reduce(name: str) -> Callable[[Node, list[Any]], Any]:
    def form(node: Node, operands: list[Any]) -> Any:
        op: Any = node.op
        return getattr(operands[0], name)(op.axes, keepdim=True)

    return form


def _function(name: str, **options: Any) -> Callable[[Node, list[Any]], Any]:
    """A function of ``torch`` or ``torch.nn.functional`` of all operands."""

    def form(node: Node, operands: list[Any]) -> Any:
        import torch

        function = getattr(torch, name, None) or getattr(torch.nn.functional, name)
        return function(*operands, **options)

    return form


_FORMS: dict[str, Callable[[Node, list[Any]], Any]] = {
    "conv2d": _conv2d,
    "linear": _linear,
    "clip": _clip,
    "max_pool2d": _max_pool2d,
    "average_pool2d": _average_pool2d,
    "reshape": _reshape,
    "transpose": lambda node, operands: operands[0].permute(node.op.attributes(True)["perm"]),
    "concat": lambda node, operands: _function("concat", dim=node.op.attributes(True)["axis"])(
        node, [operands]
    ),
    "softmax": lambda node, operands: operands[0].softmax(node.op.attributes(True)["axis"]),
    "log_softmax": lambda node, operands: operands[0].log_softmax(node.op.attributes(True)["axis"]),
    "reduce_sum": _reduce("sum"),
    "reduce_max": _reduce("amax"),
    "swish": lambda node, operands: operands[0] * (operands[0] * node.op.attributes(True)["alpha"]).sigmoid(),
    "hard_swish": _function("hardswish"),
    **{
        name: _function(name)
        for name in ("add", "sub", "mul", "relu", "sigmoid", "tanh", "exp", "sqrt", "abs")
    },
}
