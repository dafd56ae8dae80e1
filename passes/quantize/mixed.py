"""Mixed precision: how many bits the weights of each layer get under a budget.

An integer program chooses by a sensitivity per layer and width (HAWQ-V3, Yao et al., ICML 2021). No sensitivity is the
best everywhere, so several give candidates, which are ranked by what counts: how far the whole quantized network is
from the float network on the calibration samples. The best one is then improved by moving bits from layer to layer.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from dnncc.errors import Culprit, DoesNotFitError, UsageError
from dnncc.interpreter import interpret
from dnncc.ir.graph import Const, Graph, Node
from dnncc.ir.types import Array
from dnncc.passes.bits.problem import BitsProblem
from dnncc.passes.bits.solve import solve
from dnncc.passes.quantize.border import integer_arguments, to_floats
from dnncc.passes.quantize.calibrate import Samples, arguments, sample_count
from dnncc.passes.quantize.options import BUDGETS, QuantizeOptions
from dnncc.passes.quantize.weights import least_squares
from dnncc.passes.quantize.widths import layers_of

SAMPLES = 128
"""Candidates are compared on so many samples at most."""

EVALUATIONS = 40
"""Networks that are quantized as a whole to be compared, beside one for each layer and width: half of them are what the
sensitivities prefer, the others lie around the best of these."""

Quantizer = Callable[[Graph, Samples, QuantizeOptions], Graph]


@dataclass(frozen=True)
class Candidate:
    """A choice that was tried.

    Attributes:
        bits: per layer.
        divergence: of the quantized network's outputs from the float network's, see ``divergence``.
        used: of the budget.
    """

    bits: tuple[int, ...]
    divergence: float
    used: float


@dataclass(frozen=True)
class Mixed:
    """What was chosen, and from what.

    Attributes:
        layers: names of the nodes whose weights are quantized, in order.
        kind: of the budget: "size" (bytes of weights) or "bops" (multiplications times both widths).
        limit: the budget in the kind's unit.
        best: the choice.
        tried: all that fitted and were tried, the best first.
    """

    layers: tuple[str, ...]
    kind: str
    limit: float
    best: Candidate
    tried: tuple[Candidate, ...]


def choose_bits(graph: Graph, samples: Samples, options: QuantizeOptions, quantizer: Quantizer) -> Mixed:
    """Choose the width of each layer's weights.

    Args:
        graph: the float graph, which stays as it is.
        options: with a budget.
        quantizer: makes the integer graph of a float graph, samples and options that say each layer's width.

    Raises:
        UsageError: the network has no layer to choose for.
        DoesNotFitError: not even the fewest bits everywhere keep within the budget.
    """
    layers = layers_of(graph)
    if not layers:
        raise UsageError(f"'{graph.name}' has no weights whose bits could be chosen")
    search = _Search(graph, layers, samples, options, quantizer)
    costs = search.sensitivities()
    search.consider(costs, EVALUATIONS // 2)
    search.improve(costs[-1])
    tried = sorted(search.tried.values(), key=lambda c: (c.divergence, c.used, c.bits))
    return Mixed(tuple(n.name for n in layers), search.kind, search.limit, tried[0], tuple(tried))


def divergence(expected: Sequence[Array], found: Sequence[Array]) -> float:
    """How far outputs are from the float network's, over all samples.

    The mean Kullback-Leibler divergence in nats where the expected outputs are distributions, with a floor of half a
    step of 8 bits for what was found; else the squared error relative to the squared outputs.
    """
    p = np.stack([a.reshape(-1, a.shape[-1]) if a.ndim else a.reshape(1, 1) for a in expected]).astype(
        np.float64
    )
    q = np.stack([a.reshape(p.shape[1:]) for a in found]).astype(np.float64)
    if p.shape[-1] > 1 and (p >= 0.0).all() and np.allclose(p.sum(axis=-1), 1.0, atol=1e-3):
        q = np.maximum(q, 1.0 / 512.0)
        q /= q.sum(axis=-1, keepdims=True)
        p = np.maximum(p, 1e-12)
        return float(np.mean(np.sum(p * np.log(p / q), axis=-1)))
    return float(np.sum((p - q) ** 2) / max(float(np.sum(p**2)), 1e-300))


def float_outputs(graph: Graph, samples: Samples) -> list[list[Array]]:
    """What the float network answers, for the samples on which candidates are compared."""
    return [
        interpret(graph, arguments(graph, samples, i)) for i in range(min(sample_count(samples), SAMPLES))
    ]


def distance(expected: Sequence[Sequence[Array]], integer: Graph, samples: Samples) -> float:
    """How far the integer network is from ``float_outputs`` on the same samples: divergences, summed over outputs."""
    found = []
    for i in range(len(expected)):
        results = interpret(integer, integer_arguments(integer, samples, i))
        found.append([to_floats(y, v.type) for y, v in zip(results, integer.outputs, strict=True)])
    return math.fsum(map(divergence, zip(*expected, strict=True), zip(*found, strict=True)))


class _Search:
    """Candidates and what is known of them."""

    def __init__(
        self,
        graph: Graph,
        layers: list[Node],
        samples: Samples,
        options: QuantizeOptions,
        quantizer: Quantizer,
    ) -> None:
        self.graph, self.layers, self.samples = graph, layers, samples
        self.options, self.quantizer = options, quantizer
        self.widths = sorted(options.among, reverse=True)
        self.kind, amount = options.budget_of()
        self.usage = [[_usage(self.kind, node, bits, options) for bits in self.widths] for node in layers]
        low, high = (math.fsum(f(u) for u in self.usage) for f in (min, max))
        self.limit = low + amount * (high - low) if amount <= 1 else amount
        if self.limit < low:
            largest = max(range(len(layers)), key=lambda i: min(self.usage[i]))
            unit, fewest = BUDGETS[self.kind], self.widths[-1]
            most = layers[largest]
            raise DoesNotFitError(
                f"with {fewest} bits everywhere there are still {low:,.0f} {unit}; the budget is {self.limit:,.0f}",
                [Culprit(most.name, most.op.name, f"has {min(self.usage[largest]):,.0f}")],
                help="a larger budget, or fewer bits among the choices: quantize{among=...}",
            )
        self.expected = float_outputs(graph, samples)
        self.tried: dict[tuple[int, ...], Candidate] = {}
        self.left = EVALUATIONS

    def used(self, choices: Sequence[int]) -> float:
        return math.fsum(u[k] for u, k in zip(self.usage, choices, strict=True))

    def loss(self, choices: Sequence[int]) -> float:
        """Of the whole network with these choices from the float network."""
        bits = tuple(self.widths[k] for k in choices)
        chosen = replace(self.options, bits=bits, budget="")
        integer = self.quantizer(self.graph, self.samples, chosen)
        return distance(self.expected, integer, self.samples)

    def evaluate(self, choices: tuple[int, ...]) -> Candidate | None:
        """The candidate, quantized as a whole unless it was before; None when enough have been."""
        if choices not in self.tried:
            if self.left <= 0:
                return None
            self.left -= 1
            bits = tuple(self.widths[k] for k in choices)
            self.tried[choices] = Candidate(bits, self.loss(choices), self.used(choices))
        return self.tried[choices]

    def sensitivities(self) -> list[list[list[float]]]:
        """Per measure, layer and width. The last one: what the layer alone does to the whole network."""
        plain: list[list[float]] = []
        relative: list[list[float]] = []
        for node in self.layers:
            rows = _rows(node)
            plain.append([_rounding_error(rows, bits) for bits in self.widths])
            total = max(float(np.sum(rows**2)), 1e-300)
            relative.append([e / total for e in plain[-1]])
        most = (0,) * len(self.layers)
        base = self.loss(most)
        alone = [
            [
                max(self.loss((*most[:i], k, *most[i + 1 :])) - base, 0.0) if k else 0.0
                for k in range(len(self.widths))
            ]
            for i in range(len(self.layers))
        ]
        return [plain, relative, alone]

    def cheapest(self, measure: Sequence[Sequence[float]]) -> Iterator[tuple[int, ...]]:
        """Every choice within the budget, the one of least cost first."""
        known: list[tuple[int, ...]] = []
        while True:
            found = solve(BitsProblem(measure, [self.usage], [self.limit], known))
            if found.status == "infeasible":
                return
            known.append(found.choices)
            yield found.choices

    def consider(self, measures: Sequence[Sequence[Sequence[float]]], count: int) -> None:
        """Evaluate so many choices: the cheapest of each measure, then the second of each, and so on."""
        for rank in itertools.zip_longest(*map(self.cheapest, measures)):
            for choices in filter(None, rank):
                if len(self.tried) >= count:
                    return
                self.evaluate(choices)

    def improve(self, cost: Sequence[Sequence[float]]) -> None:
        """From the best candidate on: more bits for one layer, or for one what another gives up, while that helps."""
        best = min(self.tried, key=lambda c: self.tried[c].divergence)
        while True:
            for neighbour in sorted(
                self._around(best), key=lambda c: sum(r[k] for r, k in zip(cost, c, strict=True))
            ):
                found = self.evaluate(neighbour)
                if found is None:
                    return
                if found.divergence < self.tried[best].divergence:
                    best = neighbour
                    break
            else:
                return

    def _around(self, choices: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        for i, k in enumerate(choices):
            if k == 0:
                continue
            more = (*choices[:i], k - 1, *choices[i + 1 :])
            if self.used(more) <= self.limit:
                yield more
            for j, m in enumerate(choices):
                if j != i and m + 1 < len(self.widths):
                    moved = (*more[:j], m + 1, *more[j + 1 :])
                    if self.used(moved) <= self.limit:
                        yield moved


def _rows(node: Node) -> Array:
    """A layer's weights, float64 [O, K]."""
    weights = node.inputs[1]
    assert isinstance(weights, Const)
    data = weights.data.astype(np.float64)
    return data.reshape(data.shape[0], -1)


def _usage(kind: str, node: Node, bits: int, options: QuantizeOptions) -> float:
    if kind == "bops":
        return float(node.macs * bits * options.activations)
    return float(-(-node.inputs[1].type.size * bits // 8))


def _rounding_error(rows: Array, bits: int) -> float:
    """Squared, with the scales that quantization would choose."""
    levels = (1 << (bits - 1)) - 1
    scale = np.abs(rows).max(axis=1) / levels if bits == 8 else least_squares(rows, levels)
    step = np.where(scale > 0.0, scale, 1.0)[:, None]
    return float(np.sum((rows - step * np.clip(np.rint(rows / step), -levels - 1, levels)) ** 2))
