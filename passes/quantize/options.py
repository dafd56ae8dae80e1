"""What can be chosen about quantization."""

from __future__ import annotations

from dataclasses import dataclass

from dnncc.errors import UsageError
from dnncc.passes.quantize.observers import OBSERVERS, Observer

AUTO = "auto"
ROUNDINGS = ("nearest", "compensated")
BITS = ("uniform", "mixed")
BUDGETS = {"size": "bytes of weights", "bops": "bit operations"}
"""Kinds of budgets for mixed precision, and what they count."""
IO_TYPES = ("int8", "float32")


@dataclass(frozen=True)
class QuantizeOptions:
    """How a float graph becomes an integer one.

    Attributes:
        observer: how activation scales follow from calibration: "minmax", "percentile", "mse" or "entropy";
            "auto" is percentile for 8 bits and mse for fewer, where rounding costs more than clipping.
        weights: bits of a weight, 2 to 8 (an i8 in the graph; kernels may pack them).
        bits: "uniform", or "mixed": weights of each layer get one of the widths ``among``, chosen under the budget
            (see ``passes.quantize.mixed``); or the widths themselves, in the order of the layers.
        budget: of mixed precision: "size=0.5" or "bops=0.5" for half way between the narrowest and the widest weights
            everywhere, "size=20000" for so many bytes.
        among: widths to choose from.
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
    bits: str | tuple[int, ...] = "uniform"
    budget: str = ""
    among: tuple[int, ...] = (8, 4, 2)
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
        self._check_bits()
        for name in ("weights", "activations"):
            if not 2 <= getattr(self, name) <= 8:
                raise UsageError(f"{name} cannot have {getattr(self, name)} bits", help="choose 2 to 8")

    def _check_bits(self) -> None:
        if isinstance(self.bits, str) and self.bits not in BITS:
            raise UsageError(
                f"unknown bits '{self.bits}'", help=f"choose {', '.join(BITS)}, or a width per layer"
            )
        widths = (*self.among, *(self.bits if isinstance(self.bits, tuple) else ()))
        if not self.among or not all(2 <= w <= 8 for w in widths):
            raise UsageError(f"widths {widths} are not all 2 to 8 bits")
        if self.mixes:
            self.budget_of()
        elif self.budget:
            raise UsageError("a budget goes with bits=mixed")

    @property
    def mixes(self) -> bool:
        """Whether the bits of each layer are still to be chosen."""
        return self.bits == "mixed"

    def budget_of(self) -> tuple[str, float]:
        """Kind and amount of the budget; up to 1 the amount is a fraction of the way from the least to the most."""
        kind, _, amount = self.budget.partition("=")
        try:
            number = float(amount)
        except ValueError:
            number = -1.0
        if kind not in BUDGETS or not 0.0 <= number < float("inf"):
            known = " or ".join(f"{k}=0.5" for k in BUDGETS)
            raise UsageError(f"bits=mixed needs a budget, not '{self.budget}'", help=f"such as {known}")
        return kind, number

    def rounds(self, bits: int) -> bool:
        """Whether weights of so many bits are rounded such that later ones make up for the error of earlier ones."""
        return self.rounding == "compensated" or (self.rounding == AUTO and bits < 8)

    @property
    def observe(self) -> Observer:
        """The observer's function."""
        automatic = "percentile" if self.activations == 8 else "mse"
        return OBSERVERS[automatic if self.observer == AUTO else self.observer]

    @property
    def compensates(self) -> bool:
        """Whether any weights are rounded so."""
        return any(map(self.rounds, self.bits if isinstance(self.bits, tuple) else (self.weights,)))
