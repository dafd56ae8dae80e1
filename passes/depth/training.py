"""Short training of a float graph, towards labels or towards what it gave before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from dnncc.errors import CalibrationError, Culprit, UsageError
from dnncc.interpreter import interpret
from dnncc.ir.graph import Graph
from dnncc.ir.types import Array
from dnncc.torch_module import TorchGraph, batch, torch_or_error

Evaluate = Callable[[Graph, Sequence[Array]], tuple[Array, ...]]
"""A float graph and its inputs to its outputs, with samples along the first axis of each."""

BATCH = 32
_EVALUATED = 128
_FLOOR = 1e-12


@dataclass(frozen=True)
class Data:
    """What a network should do.

    Attributes:
        inputs: per graph input [n, *shape without the batch axis], f32.
        outputs: per graph output what the network gave at first, likewise.
        labels: [n] integers: the right class, by the graph's first output; or none.
        evaluate: how a changed network is run on the inputs.
    """

    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]
    labels: Array | None = None
    evaluate: Evaluate = field(default_factory=lambda: outputs_of)

    @staticmethod
    def of(
        graph: Graph, samples: Mapping[str, Array], labels: Array | None = None, torch: bool = False
    ) -> Data:
        """What the float ``graph`` does now.

        Args:
            samples: one array per graph input, by name.
            labels: [n] classes.
            torch: run networks as PyTorch modules, which is much faster; else by the interpreter.

        Raises:
            CalibrationError: no samples, or labels that are no classes of the first output.
        """
        inputs = tuple(np.ascontiguousarray(samples[v.name]) for v in graph.inputs)
        evaluate = module_outputs if torch else outputs_of
        outputs = evaluate(graph, inputs)
        if labels is not None:
            classes = int(np.prod(outputs[0].shape[1:]))
            fits = labels.shape == (len(inputs[0]),) and labels.dtype.kind in "iu"
            if not fits or labels.min() < 0 or labels.max() >= classes:
                culprit = Culprit("labels", reason=f"are {labels.dtype} {list(labels.shape)}")
                raise CalibrationError(f"one integer in 0..{classes - 1} per sample was expected", [culprit])
        return Data(inputs, outputs, labels, evaluate)

    def first(self, count: int) -> Data:
        """The first samples only."""
        labels = None if self.labels is None else self.labels[:count]
        inputs, outputs = (tuple(a[:count] for a in arrays) for arrays in (self.inputs, self.outputs))
        return Data(inputs, outputs, labels, self.evaluate)


def outputs_of(graph: Graph, inputs: Sequence[Array]) -> tuple[Array, ...]:
    """The graph on every sample, by the interpreter: per output [n, *shape without the batch axis]."""
    count = min((len(a) for a in inputs), default=0)
    if count == 0:
        raise CalibrationError("there are no calibration samples")
    rows = [
        interpret(graph, [a[k].reshape(v.type.shape) for a, v in zip(inputs, graph.inputs, strict=True)])
        for k in range(count)
    ]
    return tuple(
        np.stack([row[k].reshape(v.type.shape[1:] or (1,)) for row in rows])
        for k, v in enumerate(graph.outputs)
    )


def module_outputs(graph: Graph, inputs: Sequence[Array]) -> tuple[Array, ...]:
    """The same by PyTorch, many samples at once; equal up to float rounding."""
    torch = torch_or_error()
    with _one_thread(torch), torch.no_grad():
        module = TorchGraph(graph)
        parts = [module(part) for part in zip(*(x.split(_EVALUATED) for x in batch(inputs)), strict=True)]
        return tuple(torch.cat(outputs).numpy() for outputs in zip(*parts, strict=True))


@contextmanager
def _one_thread(torch: Any) -> Iterator[None]:
    """The order of sums depends on the number of threads, and small layers are faster on one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def train(graph: Graph, data: Data, steps: int, rate: float, seed: int = 0) -> None:
    """Train weights and biases of ``graph`` (in place) with Adam and a rate that falls to 0 along a cosine.

    The loss is the outputs' error relative to ``data.outputs`` (distillation), plus the cross entropy of the first
    output where there are labels. Batches come from a generator with a fixed seed.

    Args:
        steps: of BATCH samples each.
        rate: the first steps' learning rate.

    Raises:
        ToolMissingError: there is no PyTorch. UnsupportedError: operators that cannot be trained.
        UsageError: the training diverged.
    """
    torch = torch_or_error()
    with _one_thread(torch):
        _train(torch, graph, data, steps, rate, seed)


def _train(torch: Any, graph: Graph, data: Data, steps: int, rate: float, seed: int) -> None:
    module = TorchGraph(graph)
    parameters = list(module.parameters.values())
    if not parameters or steps == 0:
        return
    optimizer = torch.optim.Adam(parameters, rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    inputs, outputs = batch(data.inputs), batch(data.outputs)
    labels = None if data.labels is None else torch.from_numpy(data.labels.astype(np.int64))
    probabilities = graph.producers()[graph.outputs[0]].op.name == "softmax"
    power = [float(y.square().mean()) + _FLOOR for y in outputs]
    generator = torch.Generator().manual_seed(seed)
    order: list[Any] = []
    for _ in range(steps):
        order = order or list(torch.randperm(len(inputs[0]), generator=generator).split(BATCH))
        chosen = order.pop()
        found = module([x[chosen] for x in inputs])
        loss = sum((y - t[chosen]).square().mean() / p for y, t, p in zip(found, outputs, power, strict=True))
        if labels is not None:
            scores = found[0].flatten(1)
            scores = (scores + _FLOOR).log() if probabilities else scores
            loss = loss + torch.nn.functional.cross_entropy(scores, labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    if not all(bool(p.isfinite().all()) for p in parameters):
        raise UsageError(f"training diverged at a rate of {rate}", help="a lower rate")
    module.store()
