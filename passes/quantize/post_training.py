"""Post-training quantization to dyadic integers: the pass, and the same as a plain function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, fields, replace
from typing import Any, ClassVar

from dnncc.calibration import synthetic_samples
from dnncc.errors import Culprit, QuantizationError, UsageError
from dnncc.ir.graph import Graph
from dnncc.passes.base import Pass, Surroundings
from dnncc.passes.quantize.accumulators import accumulator_intervals
from dnncc.passes.quantize.border import integer_arguments
from dnncc.passes.quantize.calibrate import CORRECTION_SAMPLES, Observations, Samples, arguments
from dnncc.passes.quantize.context import QuantizeContext
from dnncc.passes.quantize.equalize import equalize
from dnncc.passes.quantize.layers import improve_layers
from dnncc.passes.quantize.lower import check_supported, lower
from dnncc.passes.quantize.masks import bound_masks
from dnncc.passes.quantize.mixed import Mixed, choose_bits
from dnncc.passes.quantize.options import QuantizeOptions
from dnncc.passes.quantize.side_by_side import SideBySide
from dnncc.passes.quantize.static import make_static

SYNTHETIC_SEED = 0
_SHOWN = 8


@dataclass(frozen=True)
class Quantize(QuantizeOptions, Pass):
    """Float graph to integer graph; scales and bias corrections come from calibration samples.

    The options print in a pipeline string. The samples are no option: ``Pipeline.bind`` gives them.

    Attributes:
        synthetic: where no samples were bound, make up this many; 0 makes samples obligatory.
        samples: one array per graph input, as ``dnncc.calibration.load_samples`` returns them.
    """

    name: ClassVar[str] = "quantize"
    synthetic: int = 0
    samples: InitVar[Samples | None] = None

    def __post_init__(self, samples: Samples | None) -> None:
        super().__post_init__()
        object.__setattr__(self, "_samples", samples)

    def bind(self, surroundings: Surroundings) -> Quantize:
        """The same pass with calibration samples."""
        return replace(self, samples=surroundings.samples)

    def run(self, graph: Graph) -> bool:
        samples: Samples | None = getattr(self, "_samples", None)
        if samples is None and self.synthetic:
            samples = synthetic_samples(graph, self.synthetic, SYNTHETIC_SEED)
        if samples is None:
            raise UsageError(
                "the pass 'quantize' needs calibration samples",
                help="give --calibrate X.npz, or quantize{synthetic=N} for a try with N made up samples",
            )
        object.__setattr__(self, "_static", make_static(graph, samples))
        options, mixed = _chosen(graph, samples, self._options())
        object.__setattr__(self, "_mixed", mixed)
        object.__setattr__(self, "_calibrated", _quantize(graph, samples, options))
        return True

    def _options(self) -> QuantizeOptions:
        return QuantizeOptions(**{f.name: getattr(self, f.name) for f in fields(QuantizeOptions)})

    def resolved(self) -> Quantize:
        """After a run: the pass that does the same without choosing."""
        if self.mixed is None:
            return self
        return replace(self, bits=self.mixed.best.bits, budget="", samples=getattr(self, "_samples", None))

    def record(self) -> Mapping[str, Any]:
        """After a run with bits=mixed: the choice, and what was tried."""
        if self.mixed is None:
            return {}
        tried = [{"bits": list(c.bits), "divergence": c.divergence, "used": c.used} for c in self.mixed.tried]
        return {
            "layers": list(self.mixed.layers),
            "budget": self.mixed.kind,
            "limit": self.mixed.limit,
            "bits": list(self.mixed.best.bits),
            "tried": tried,
        }

    def notes(self) -> tuple[str, ...]:
        """After a run: what the user must know about grids that the model would choose while it runs."""
        static: list[str] = getattr(self, "_static", [])
        if not static:
            return ()
        shown = ", ".join(static[:_SHOWN]) + (", ..." if len(static) > _SHOWN else "")
        return (f"grids that the model chooses while it runs are fixed by the calibration samples: {shown}",)

    @property
    def mixed(self) -> Mixed | None:
        """After a run with bits=mixed: what was chosen."""
        return getattr(self, "_mixed", None)

    @property
    def calibrated(self) -> tuple[str, ...]:
        """After a run: the values whose grids came from the samples and not from the model, by name."""
        return getattr(self, "_calibrated", ())


def quantize(graph: Graph, samples: Samples, options: QuantizeOptions | None = None) -> Graph:
    """The integer form of a float graph (simplified, NHWC), which stays as it is.

    Args:
        samples: calibration samples; one float32 array [n, ...] per graph input, by name.

    Raises:
        QuantizationError: operators without an integer form (all of them), or a sum that does not fit 32
            bits.
        CalibrationError: no samples, or values that are not finite.
    """
    options = options or QuantizeOptions()
    result = graph.clone()
    make_static(result, samples)
    _quantize(result, samples, _chosen(result, samples, options)[0])
    return result


def _chosen(graph: Graph, samples: Samples, options: QuantizeOptions) -> tuple[QuantizeOptions, Mixed | None]:
    """The options with the widths of mixed precision chosen, and the choice if there was one."""
    if not options.mixes:
        return options, None
    check_supported(graph)
    mixed = choose_bits(graph, samples, options, quantize)
    return replace(options, bits=mixed.best.bits, budget=""), mixed


def _quantize(graph: Graph, samples: Samples, options: QuantizeOptions) -> tuple[str, ...]:
    """Quantize in place; the names of the values that calibration decided about."""
    check_supported(graph)
    bound_masks(graph)
    if options.equalize:
        equalize(graph)
    observations = Observations(graph, samples)
    float_graph = graph.clone() if options.compensates else None
    context = lower(graph, observations, options)
    if context.correctable:
        _improve(graph, float_graph, samples, observations, context, options)
    unproven = [row for row in accumulator_intervals(graph) if not row.proven]
    if unproven:
        culprits = [Culprit(r.node, r.op, f"could reach [{r.low}, {r.high}]") for r in unproven]
        raise QuantizationError(f"'{graph.name}' has accumulators that could overflow 32 bits", culprits)
    return tuple(observations.asked)


def _improve(
    graph: Graph,
    float_graph: Graph | None,
    samples: Samples,
    observations: Observations,
    context: QuantizeContext,
    options: QuantizeOptions,
) -> None:
    """Round the weights anew, beside ``float_graph`` if that is given, and correct the biases."""
    statistics = observations.gather()
    indices = range(min(statistics.count, CORRECTION_SAMPLES))
    inputs = [integer_arguments(graph, samples, i) for i in indices]
    reference, sums = None, {}
    if float_graph is not None:
        reference = SideBySide(float_graph, [arguments(float_graph, samples, i) for i in indices])
        named = {v.name: v for v in float_graph.values()}
        sums = {c.source: named[c.source.name] for c in context.correctable}
    improve_layers(
        graph, inputs, context.correctable, statistics.means, options.bias_correction, reference, sums
    )
