"""What a pass is: one frozen dataclass whose fields are its options, registered by being defined."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from typing import Any, ClassVar

from dnncc.ir.graph import Graph

PASSES: dict[str, type[Pass]] = {}


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

    def run(self, graph: Graph) -> bool | None:
        """Rewrite ``graph``; True or False says whether it changed, None lets the pipeline find out."""
        raise NotImplementedError(f"pass '{self.name}' has no run()")

    def resolved(self) -> Pass:
        """After a run: the pass with what it chose as options, which does the same again without choosing."""
        return self


def load_all() -> dict[str, type[Pass]]:
    """Import every module of ``dnncc.passes`` and return the registry; an import error is raised."""
    import dnncc.passes

    for module in sorted(m.name for m in pkgutil.iter_modules(dnncc.passes.__path__)):
        importlib.import_module(f"dnncc.passes.{module}")
    return PASSES
