"""A copy from the scratchpad to external memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dnncc.ops.transfer import Transfer


@dataclass(frozen=True)
class Spill(Transfer):
    """``y = x``, where y lies in the board's external memory: only ``retrieve`` may read it."""

    name: ClassVar[str] = "spill"
