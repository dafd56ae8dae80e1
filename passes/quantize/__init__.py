"""Post-training quantization to dyadic integers: calibration, scales, integer operators, bias correction,
proofs.
"""

from dnncc.passes.quantize.accumulators import Accumulator, accumulator_intervals, proven
from dnncc.passes.quantize.agreement import Agreement, agreements
from dnncc.passes.quantize.border import integer_arguments, to_floats, to_integers
from dnncc.passes.quantize.calibrate import calibrate
from dnncc.passes.quantize.equalize import Equalize, equalize
from dnncc.passes.quantize.options import QuantizeOptions
from dnncc.passes.quantize.post_training import Quantize, quantize

__all__ = [
    "Accumulator",
    "Agreement",
    "Equalize",
    "Quantize",
    "QuantizeOptions",
    "accumulator_intervals",
    "agreements",
    "calibrate",
    "equalize",
    "integer_arguments",
    "proven",
    "quantize",
    "to_floats",
    "to_integers",
]
