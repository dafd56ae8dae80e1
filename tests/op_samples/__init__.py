"""Samples of operators, one module per family: each has ``SAMPLES``, operator name -> cases.

A case is legal; the cases of an operator together cover its types, awkward shapes, and the ends of its ranges. Types,
references, tensor expressions and generated code are tested on all of them.
"""

from __future__ import annotations

import importlib
import pkgutil

from op_samples.case import Case


def further_samples() -> dict[str, list[Case]]:
    """The samples of every module in this folder."""
    found: dict[str, list[Case]] = {}
    for module in sorted(m.name for m in pkgutil.iter_modules(__path__)):
        samples = getattr(importlib.import_module(f"op_samples.{module}"), "SAMPLES", {})
        twice = found.keys() & samples.keys()
        assert not twice, f"{module} repeats the samples of {sorted(twice)}"
        found.update(samples)
    return found
