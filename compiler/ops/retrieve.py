"""A copy from external memory back to the scratchpad."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dnncc.ops.transfer import Transfer


@dataclass(frozen=True)
class Retrieve(Transfer):
    """``y = x``, where x is what ``spill`` wrote to external memory."""

    name: ClassVar[str] = "retrieve"
