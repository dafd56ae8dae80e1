"""What the networks must reach, and whether they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.measure import Result, StartUp

MAX_STACK = 512
MAX_CODE = 16 * 1024
MIN_ACCURACY_KWS = 0.904
MIN_AGREEMENT_KWS = 0.990
MAX_LOSS_DIGITS = 0.01
MAX_HELP_SECONDS = 0.3

# Below CMSIS-NN called directly; no more RAM than the layer-wise lower bound.
MAX_INSTRUCTIONS = {"kws": 7_690_000, "ic": 29_800_000, "vww": 24_000_000, "ad": 579_000}
MAX_RAM = {"kws": 16_000, "ic": 49_152, "vww": 55_296, "ad": 768}
MAX_COMPILE_SECONDS = {"kws": 15.0, "ic": 40.0, "vww": 40.0, "ad": 40.0}


@dataclass(frozen=True)
class Bar:
    """One requirement of one network ("": of the command line), and what was measured."""

    network: str
    what: str
    measured: str
    limit: str
    passed: bool


def judge(results: Sequence[Result], start: StartUp | None) -> list[Bar]:
    """Every bar that these measurements can be held against."""
    bars = [bar for result in results for bar in _of_network(result)]
    if start is not None:
        heavy = ", ".join(start.heavy_modules) or "none"
        bars.append(
            Bar(
                "",
                "dnncc --help",
                f"{start.seconds:.2f} s",
                f"< {MAX_HELP_SECONDS} s",
                start.seconds < MAX_HELP_SECONDS,
            )
        )
        bars.append(Bar("", "heavy imports of dnncc --help", heavy, "none", not start.heavy_modules))
    return bars


def _of_network(result: Result) -> list[Bar]:
    name, m4 = result.name, result.cortex_m4
    flash = m4.flash_bytes + m4.library_bytes
    bars = []
    if name in MAX_INSTRUCTIONS:
        bars.append(_below(name, "instructions", m4.instructions, MAX_INSTRUCTIONS[name]))
    if name in MAX_RAM:
        bars.append(_at_most(name, "RAM", m4.ram_bytes, MAX_RAM[name]))
    bars.append(_at_most(name, "stack", m4.stack_bytes, MAX_STACK))
    bars.append(_at_most(name, "code and library", m4.code_bytes + m4.library_bytes, MAX_CODE))
    # The strict reading: what packing, multipliers and tables add to the parameters counts as code.
    bars.append(_at_most(name, "flash, parameters + 16 KB", flash, result.parameter_bytes + MAX_CODE))
    if name in MAX_COMPILE_SECONDS:
        limit = MAX_COMPILE_SECONDS[name]
        seconds = result.compile_seconds
        bars.append(Bar(name, "compile, warm", f"{seconds:.1f} s", f"<= {limit:.0f} s", seconds <= limit))
    bars.append(
        Bar(
            name,
            "same bytes, other hash seed",
            "yes" if result.reproducible else "no",
            "yes",
            result.reproducible,
        )
    )
    quality = result.quality
    if quality is not None and name == "kws":
        bars.append(_share(name, "accuracy", quality.accuracy, MIN_ACCURACY_KWS))
        bars.append(_share(name, "agreement with float", quality.agreement, MIN_AGREEMENT_KWS))
    if quality is not None and name == "digits":
        limit = quality.float_accuracy - MAX_LOSS_DIGITS
        bars.append(_share(name, "accuracy, float - 1 point", quality.accuracy, limit))
    return bars


def _below(network: str, what: str, measured: int, limit: int) -> Bar:
    return Bar(network, what, f"{measured:,}", f"< {limit:,}", measured < limit)


def _at_most(network: str, what: str, measured: int, limit: int) -> Bar:
    return Bar(network, what, f"{measured:,}", f"<= {limit:,}", measured <= limit)


def _share(network: str, what: str, measured: float, limit: float) -> Bar:
    return Bar(network, what, f"{measured:.2%}", f">= {limit:.2%}", measured >= limit)
