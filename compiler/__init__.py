"""dnncc: a compiler from trained networks to bit-exact integer code.

What is listed in ``__all__`` is the public API. It loads when it is first used: ``import dnncc`` is cheap::

    compilation = dnncc.compile("model.onnx", target="stm32", calibrate="samples.npz", output="build/net")
    assert dnncc.validate("build/net", on="emulator").match
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dnncc.artifact import write_artifact
    from dnncc.benchmark import Benchmark, bench
    from dnncc.calibration import load_samples
    from dnncc.comparison import Comparison
    from dnncc.comparison import schedule_model as schedule
    from dnncc.driver import Compilation
    from dnncc.driver import compile_model as compile
    from dnncc.errors import DnnccError
    from dnncc.execution import run
    from dnncc.exploration import Exploration, explore
    from dnncc.fpga import FpgaCompilation, compile_fpga
    from dnncc.inspection import Inspection, inspect
    from dnncc.interpreter import interpret
    from dnncc.ir.graph import Const, Graph, Node, Value
    from dnncc.ir.types import DType, Quantization, TensorType
    from dnncc.loading import load
    from dnncc.ops.base import Op
    from dnncc.options import Options
    from dnncc.passes.base import Pass, Surroundings
    from dnncc.passes.pipeline import Pipeline
    from dnncc.plan import Plan, make_plan
    from dnncc.runtime.library import LibraryModel, load_artifact
    from dnncc.scheduling import (
        BufferSchedule,
        OrderSchedule,
        RecomputeSchedule,
        recompute_graph,
        schedule_buffers,
        schedule_graph,
    )
    from dnncc.spilling import SpillSchedule, schedule_spills
    from dnncc.targets.boards import Board, load_board
    from dnncc.tuning import tune
    from dnncc.validation import Validation, validate

    __version__: str

__all__ = [
    "Benchmark",
    "Board",
    "BufferSchedule",
    "Comparison",
    "Compilation",
    "Const",
    "DType",
    "DnnccError",
    "Exploration",
    "FpgaCompilation",
    "Graph",
    "Inspection",
    "LibraryModel",
    "Node",
    "Op",
    "Options",
    "OrderSchedule",
    "Pass",
    "Pipeline",
    "Plan",
    "Quantization",
    "RecomputeSchedule",
    "SpillSchedule",
    "Surroundings",
    "TensorType",
    "Validation",
    "Value",
    "__version__",
    "bench",
    "compile",
    "compile_fpga",
    "explore",
    "inspect",
    "interpret",
    "load",
    "load_artifact",
    "load_board",
    "load_samples",
    "make_plan",
    "recompute_graph",
    "run",
    "schedule",
    "schedule_buffers",
    "schedule_graph",
    "schedule_spills",
    "tune",
    "validate",
    "write_artifact",
]

# No module may have the name of an entry: importing it would put the module in the entry's place.
_MODULES = {
    "dnncc.artifact": ("write_artifact",),
    "dnncc.benchmark": ("Benchmark", "bench"),
    "dnncc.calibration": ("load_samples",),
    "dnncc.comparison": ("Comparison",),
    "dnncc.driver": ("Compilation",),
    "dnncc.errors": ("DnnccError",),
    "dnncc.execution": ("run",),
    "dnncc.exploration": ("Exploration", "explore"),
    "dnncc.fpga": ("FpgaCompilation", "compile_fpga"),
    "dnncc.inspection": ("Inspection", "inspect"),
    "dnncc.interpreter": ("interpret",),
    "dnncc.ir.graph": ("Const", "Graph", "Node", "Value"),
    "dnncc.ir.types": ("DType", "Quantization", "TensorType"),
    "dnncc.loading": ("load",),
    "dnncc.ops.base": ("Op",),
    "dnncc.options": ("Options",),
    "dnncc.passes.base": ("Pass", "Surroundings"),
    "dnncc.passes.pipeline": ("Pipeline",),
    "dnncc.plan": ("Plan", "make_plan"),
    "dnncc.runtime.library": ("LibraryModel", "load_artifact"),
    "dnncc.scheduling": (
        "BufferSchedule",
        "OrderSchedule",
        "RecomputeSchedule",
        "recompute_graph",
        "schedule_buffers",
        "schedule_graph",
    ),
    "dnncc.spilling": ("SpillSchedule", "schedule_spills"),
    "dnncc.targets.boards": ("Board", "load_board"),
    "dnncc.tuning": ("tune",),
    "dnncc.validation": ("Validation", "validate"),
}
_PLACES = {name: (module, name) for module, names in _MODULES.items() for name in names}
_PLACES["compile"] = ("dnncc.driver", "compile_model")
_PLACES["schedule"] = ("dnncc.comparison", "schedule_model")


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("dnncc")
    elif name in _PLACES:
        module, attribute = _PLACES[name]
        value = getattr(importlib.import_module(module), attribute)
    else:
        raise AttributeError(f"module 'dnncc' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
