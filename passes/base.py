"""What a pass is: one frozen dataclass whose fields are its options, registered by being defined."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from dnncc.ir.graph import Graph
from dnncc.ir.types import Array

PASSES: dict[str, type[Pass]] = {}


@dataclass(frozen=True)
class Surroundings:
    """What a compile knows and a pipeline string does not say.

    Attributes:
        samples: calibration samples, one array per graph input as ``dnncc.calibration.load_samples`` returns them.
        others: further arrays [samples, ...] that came with them, such as labels.
        real: whether the samples were given; False means made up noise.
        target: the board.
        dtype: what the network will compute with, see ``dnncc.options.Options``.
    """

    samples: Mapping[str, Array]
    others: Mapping[str, Array] = field(default_factory=dict)
    real: bool = True
    target: str | None = None
    dtype: str = "int8"


@dataclass(frozen=True)
class Pass:
    """A rewriting of a graph in place.

    Subclasses are frozen dataclasses whose docstring states the rule; the fields are the options. ``name`` is
    what pipelines call the pass; abstract bases leave it empty.
    """

    name: ClassVar[str] = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__dict__.get("name"):
            known = PASSES.setdefault(cls.name, cls)
            # dataclass(slots=True) and reloading define a class twice under the same module.
            if known.__module__ != cls.__module__:
                raise ValueError(f"pass '{cls.name}' is defined in {known.__module__} and {cls.__module__}")
            PASSES[cls.name] = cls

    def bind(self, surroundings: Surroundings) -> Pass:
        """The same pass with what it wants of the surroundings."""
        return self

    def resolved(self) -> Pass:
        """After a run: the same pass with what it chose as options, so that it does the same without choosing."""
        return self

    def notes(self) -> tuple[str, ...]:
        """After a run: what the user must know, one sentence each."""
        return ()

    def record(self) -> Mapping[str, Any]:
        """After a run: what the pass chose and from what, as JSON values; empty for a pass that chooses nothing."""
        return {}

    def run(self, graph: Graph) -> bool | None:
        """Rewrite ``graph``; True or False says whether it changed, None lets the pipeline find out."""
        raise NotImplementedError(f"pass '{self.name}' has no run()")


def load_all() -> dict[str, type[Pass]]:
    """Import every module of ``dnncc.passes`` and return the registry; an import error is raised."""
    import dnncc.passes

    for module in sorted(m.name for m in pkgutil.iter_modules(dnncc.passes.__path__)):
        importlib.import_module(f"dnncc.passes.{module}")
    return PASSES
