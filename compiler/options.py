"""What a compile can be told, and what of it goes together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from dnncc.errors import Culprit, UsageError
from dnncc.sizes import parse_bytes


@dataclass(frozen=True)
class Options:
    """What a compile can be told; the defaults are those of the command line.

    Attributes:
        target: a board's name or alias.
        dtype: "int8", or "float32" for a network that is not quantized.
        name: prefix of every C symbol.
        optimize: how the planner chooses among the measures that make a network fit, see ``dnncc.planner``: "balanced"
            the first one that suffices, "time" the one of least added work that suffices, "ram" the smallest arena.
        dims: values of symbolic dimensions.
        inputs, outputs: values or nodes between which the model is cut; none: the whole model.
        io: "int8", or "float32" for a network that converts at its border.
        weight_bits: of the quantized network; "mixed" chooses for each layer within the budget for "size" or "bops".
        activation_bits: of the quantized network; activations are stored in 8.
        budget: what the network may take, by kind: ``{"ram": 65536}`` or ``{"ram": "64K"}`` bytes for the arenas in
            the board's RAM, together; with mixed weights ``{"size": "20K"}`` bytes of weights, or ``{"size": 0.5}``,
            half way between the least and the most, likewise ``{"bops": 0.5}``; on an FPGA ``{"cycles": 1000}`` per
            frame.
        passes: the pass pipeline instead of the default one.
        dump_ir: a folder for the graph after every pass.
        time_limit: a measure of how long the planner may search, roughly seconds; deterministic, no clock is read.
        tuned: a file of ``dnncc tune`` with the fastest kernels of a processor.
    """

    target: str
    dtype: str = "int8"
    name: str = "net"
    optimize: str = "balanced"
    dims: Mapping[str, int] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    io: str = "int8"
    weight_bits: int | str = 8
    activation_bits: int = 8
    budget: Mapping[str, float | str] = field(default_factory=dict)
    passes: str | None = None
    dump_ir: Path | None = None
    time_limit: float | None = None
    tuned: Path | None = None

    @property
    def ram_budget(self) -> int | None:
        """Bytes that the arenas may take together, or None for what the board has."""
        given = self.budget.get("ram")
        return None if given is None else int(given)

    @property
    def cycles_budget(self) -> int | None:
        """Cycles that a frame may take on an FPGA, or None for as few as possible."""
        given = self.budget.get("cycles")
        return None if given is None else int(given)


WIDTH_BUDGETS = ("size", "bops")
"""The kinds of budgets that the widths of weights are chosen under."""
BUDGETS = ("ram", *WIDTH_BUDGETS, "cycles")
"""The kinds of budgets; "cycles" are those of a frame on an FPGA."""
_CHOICES: dict[str, tuple[object, ...]] = {
    "dtype": ("int8", "float32"),
    "optimize": ("ram", "time", "balanced"),
    "io": ("int8", "float32"),
    "weight_bits": (8, 4, 3, 2, "mixed"),
    "activation_bits": (8, 4),
}
# fmt: off
_C_KEYWORDS = frozenset((
    "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum", "extern",
    "float", "for", "goto", "if", "inline", "int", "long", "register", "restrict", "return", "short", "signed",
    "sizeof", "static", "struct", "switch", "typedef", "union", "unsigned", "void", "volatile", "while",
))
# NAME_t would be a type of <stdint.h> or <stddef.h>, or NAME.h one of the headers that the sources include.
_C_TAKEN = frozenset((
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "intptr", "uintptr", "intmax",
    "uintmax", "size", "ssize", "ptrdiff", "wchar", "max_align", "nullptr", "dnncc", "dnncc_math", "stdint", "stddef",
    "string", "stdio", "stdlib", "limits", "math", "stdbool", "main",
))
# fmt: on


def resolve(target: str, given: Mapping[str, Any]) -> Options:
    """The options of a compile, checked.

    Raises:
        UsageError: an unknown option, or a value that it cannot have.
    """
    from dnncc.runtime.suggest import did_you_mean

    known = [f.name for f in fields(Options)]
    for name in given:
        if name not in known:
            raise UsageError(f"unknown option '{name}'{did_you_mean(name, known)}")
    options = Options(target=target, **given)
    if options.dtype == "float32":
        options = replace(options, io="float32")
    for name, choices in _CHOICES.items():
        value = getattr(options, name)
        if value not in choices:
            shown = ", ".join(map(str, choices))
            raise UsageError(f"{name} cannot be {value!r}", help=f"choose one of {shown}")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", options.name) or _taken(options.name):
        raise UsageError(
            f"'{options.name}' cannot prefix C names", help="choose letters, digits and _, with --name"
        )
    options = replace(options, budget=_budgets(options.budget))
    widths = [kind for kind in options.budget if kind in WIDTH_BUDGETS]
    if options.weight_bits == "mixed" and len(widths) != 1:
        raise UsageError(
            "mixed weight bits need one budget to choose under",
            help="such as --budget size=0.5 or --budget bops=0.5",
        )
    if options.weight_bits != "mixed" and widths:
        raise UsageError(
            f"a budget for {' and '.join(widths)} goes with mixed weight bits", help="--weight-bits mixed"
        )
    return options


def _budgets(given: Mapping[str, float | str]) -> dict[str, float]:
    """Budgets as numbers: bytes, or up to 1 a fraction for widths of weights.

    Raises:
        UsageError: with every kind that is unknown and every value that is wrong.
    """
    from dnncc.runtime.suggest import did_you_mean

    found: dict[str, float] = {}
    culprits = []
    for kind, value in given.items():
        if kind not in BUDGETS:
            culprits.append(Culprit(kind, reason=f"is no kind of budget{did_you_mean(kind, BUDGETS)}"))
            continue
        try:
            if kind == "cycles":
                found[kind] = _positive(str(value))
                continue
            fraction = _fraction(str(value)) if kind in WIDTH_BUDGETS else None
            found[kind] = parse_bytes(str(value)) if fraction is None else fraction
        except ValueError as error:
            culprits.append(Culprit(kind, reason=str(error)))
    if culprits:
        raise UsageError(
            "the budget cannot be kept",
            culprits,
            help=f"known budgets: {', '.join(BUDGETS)}; such as --budget ram=64K",
        )
    return found


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"'{text}' is no positive whole number")
    return int(text)


def refuse_budget(options: Options, kind: str, machines: str) -> None:
    """UsageError if a budget was given that only the other machines have."""
    if kind in options.budget:
        raise UsageError(f"the budget '{kind}' is for {machines}, not for '{options.target}'")


def _fraction(text: str) -> float | None:
    """A number from 0 to 1, or None for any other text."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0.0 <= number <= 1.0 else None


def _taken(name: str) -> bool:
    """Whether C or its headers use the name, or dnncc.h the macros with this prefix."""
    return name in _C_KEYWORDS | _C_TAKEN or name.lower() == "dnncc"


def default_pipeline(options: Options) -> str:
    """The pass pipeline of these options, as text."""
    if options.dtype == "float32":
        return "simplify"
    chosen = [f"{k}={v!r}" for k, v in options.budget.items() if k in WIDTH_BUDGETS]
    widths = (
        {"bits": "mixed", "budget": f'"{chosen[0]}"'} if chosen else {"weights": str(options.weight_bits)}
    )
    given = {**widths, "activations": str(options.activation_bits), "io": options.io}
    default = {"weights": "8", "activations": "8", "io": "int8"}
    text = ",".join(f"{k}={v}" for k, v in given.items() if v != default.get(k))
    return f"simplify,quantize{{{text}}},cse,dce" if text else "simplify,quantize,cse,dce"
