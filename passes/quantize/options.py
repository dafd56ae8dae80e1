"""What can be chosen about quantization."""

from __future__ import annotations

from dataclasses import dataclass

from dnncc.errors import UsageError
from dnncc.passes.quantize.observers import OBSERVERS, Observer

AUTO = "auto"
ROUNDINGS = ("nearest", "compensated")
IO_TYPES = ("int8", "float32")


@dataclass(frozen=True)
class QuantizeOptions:
    """How a float graph becomes an integer one.

    Attributes:
        observer: how activation scales follow from calibration: "minmax", "percentile", "mse" or "entropy";
            "auto" is percentile for 8 bits and mse for fewer, where rounding costs more than clipping.
        weights: bits of a weight, 2 to 8 (an i8 in the graph; kernels may pack them).
        activations: bits of an activation inside the network, 2 to 8; inputs and outputs always have 8.
        equalize: cross-layer equalization of the float weights first.
        rounding: how weights become integers: "nearest", or "compensated", where each makes up for the error of those
            before it on the calibration samples; "auto" is nearest for 8 bits and compensated for fewer.
        bias_correction: shift each bias by the mean error that quantization causes on the calibration
            samples.
        zero_point: allow an input a zero point where all that reads it can take it into a bias.
        io: "int8", or "float32" for a network that quantizes its inputs and dequantizes its outputs itself.
    """

    observer: str = "auto"
    weights: int = 8
    activations: int = 8
    equalize: bool = False
    rounding: str = AUTO
    bias_correction: bool = True
    zero_point: bool = True
    io: str = "int8"

    def __post_init__(self) -> None:
        if self.observer not in (AUTO, *OBSERVERS):
            raise UsageError(
                f"unknown observer '{self.observer}'", help=f"choose one of {', '.join((AUTO, *OBSERVERS))}"
            )
        if self.io not in IO_TYPES:
            raise UsageError(f"unknown io '{self.io}'", help=f"choose one of {', '.join(IO_TYPES)}")
        if self.rounding not in (AUTO, *ROUNDINGS):
            raise UsageError(
                f"unknown rounding '{self.rounding}'", help=f"choose one of {', '.join((AUTO, *ROUNDINGS))}"
            )
        for name in ("weights", "activations"):
            if not 2 <= getattr(self, name) <= 8:
                raise UsageError(f"{name} cannot have {getattr(self, name)} bits", help="choose 2 to 8")

    @property
    def observe(self) -> Observer:
        """The observer's function."""
        automatic = "percentile" if self.activations == 8 else "mse"
        return OBSERVERS[automatic if self.observer == AUTO else self.observer]

    @property
    def compensates(self) -> bool:
        """Whether weights are rounded such that later ones make up for the error of earlier ones."""
        return self.rounding == "compensated" or (self.rounding == AUTO and self.weights < 8)
