"""Every failure that a user can cause, with its code, its exit status and its explanation.

An error code is documented here and nowhere else: ``dnncc explain`` and ``docs/errors.md`` come from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Culprit:
    """One offending node, file, name or option.

    Attributes:
        name: what the user calls it (a node's name, a path, an option).
        op: the operator type as the model spells it, or "".
        reason: what is wrong with it, with the supported alternative where there is one.
    """

    name: str
    op: str = ""
    reason: str = ""


class DnnccError(Exception):
    """A failure with one clear message.

    Args:
        message: one sentence that says what is wrong.
        culprits: every offending thing, not only the first one.
        help: what the user can do about it.

    Attributes:
        code: the documented code, such as "E0101".
        exit_code: the exit status of the command line.
    """

    code: ClassVar[str] = "E7001"
    exit_code: ClassVar[int] = 70

    def __init__(self, message: str, culprits: Sequence[Culprit] = (), help: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.culprits = tuple(culprits)
        self.help = help

    def __str__(self) -> str:
        return self.render()

    def render(self) -> str:
        """The message as shown on a terminal: error, culprits, help, where to read more."""
        lines = [f"error[{self.code}]: {self.message}"]
        for culprit in self.culprits:
            op = f" ({culprit.op})" if culprit.op else ""
            reason = f": {culprit.reason}" if culprit.reason else ""
            lines.append(f"  --> {culprit.name}{op}{reason}")
        if self.help:
            lines.append(f"  help: {self.help}")
        lines.append(f"  more: dnncc explain {self.code}")
        return "\n".join(lines)


class ModelError(DnnccError):
    """The model cannot be compiled (exit code 1)."""

    code = "E0100"
    exit_code = 1


class UnreadableModelError(ModelError):
    """The file is missing, empty, truncated or not a model that dnncc reads.

    Check the path and that the file is a complete ONNX model;
    `onnx.checker.check_model` tells what is wrong with a damaged one.
    """

    code = "E0102"


class UnsupportedError(ModelError):
    """The model uses operators, attributes or types that dnncc or the chosen target does not support.

    Every offending node is listed. `dnncc list ops --target T` shows what is supported; cutting the model before the
    first such node, or replacing it in the training framework, are the usual ways out.
    """

    code = "E0101"


class InvalidGraphError(ModelError):
    """The graph is not well formed: a dangling input, a cycle, a name defined twice, types that do not fit."""

    code = "E0103"


class UnknownShapeError(ModelError):
    """A dimension is unknown. The batch dimension becomes 1; give the others with `--dim NAME=VALUE`."""

    code = "E0104"


class ExternalDataError(ModelError):
    """A weights file that the model refers to is missing, too short, or points outside the model's folder."""

    code = "E0105"


class CalibrationError(ModelError):
    """The calibration or input data do not fit the model: names, shapes, types, NaN or infinite values, no samples.

    The file is an .npz with one array per model input, named as in the model, first axis = samples, float32.
    """

    code = "E0106"


class QuantizationError(ModelError):
    """The network cannot be made integer-only, or an accumulator could overflow."""

    code = "E0107"


class IrSyntaxError(ModelError):
    """The textual IR does not parse; the message gives line and column."""

    code = "E0108"


class UsageError(DnnccError):
    """The command line or an argument of the Python API is wrong: an unknown target, pass, option or value."""

    code = "E0201"
    exit_code = 2


class OutputError(UsageError):
    """The output folder or file cannot be written."""

    code = "E0202"


class DoesNotFitError(DnnccError):
    """The network needs more RAM or flash than the board has, or more lookup tables, block RAM or DSP blocks than the
    FPGA has.

    The message names the memory pool, by how much it is exceeded, and the node that sets the peak; of an FPGA the
    resource, and the smallest part that is large enough. A larger board, smaller inputs, or `--optimize ram` are the
    ways out.
    """

    code = "E0301"
    exit_code = 3


class BudgetError(DnnccError):
    """No plan keeps within the memory budget, capacity or scratchpad that was asked for.

    The message gives the bound that is proven, or the least that was reached, and what sets it. Ask for at least the
    bound; more time (`--time-limit`) helps only where the bound is below what was asked for.
    """

    code = "E0302"
    exit_code = 3


class MismatchError(DnnccError):
    """The artifact and the reference interpreter disagree. A bug of dnncc or of a compiler: please report it."""

    code = "E0401"
    exit_code = 4


class ToolMissingError(DnnccError):
    """A tool or a device is missing. `pip install dnncc[emulate]` brings a C compiler and an emulator from PyPI,
    `pip install dnncc[hls]` the headers for simulating FPGA designs."""

    code = "E0501"
    exit_code = 5


class ToolFailedError(DnnccError):
    """A tool that dnncc called (a C compiler, an emulator) failed; its own output is in the message."""

    code = "E0502"
    exit_code = 5


class OutOfMemoryError(DnnccError):
    """The machine that dnncc runs on does not have enough memory for this model or this file."""

    code = "E0503"
    exit_code = 5


class InterruptError(DnnccError):
    """Ctrl-C, or a signal like it, ended dnncc before its work was done. Nothing half-written is left."""

    code = "E0601"
    exit_code = 130


class InternalError(DnnccError):
    """A bug of dnncc. The message names the file that reproduces it: please report it."""

    code = "E7001"
    exit_code = 70


def catalog() -> dict[str, type[DnnccError]]:
    """Every documented error code and its class, in the order of the codes."""

    def leaves(cls: type[DnnccError]) -> list[type[DnnccError]]:
        return [cls, *(leaf for sub in cls.__subclasses__() for leaf in leaves(sub))]

    found = {cls.code: cls for cls in leaves(DnnccError) if cls not in (DnnccError, ModelError)}
    return dict(sorted(found.items()))
