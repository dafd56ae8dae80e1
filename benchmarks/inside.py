"""A network that shows its inside: the same kernels, with the output of every one of them as an output.

A softmax at the end hides most of what could go wrong before it; here every byte that any kernel writes is compared.
The memory plan is another one (outputs lie outside the arena): the plan is proven by the network itself.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from dnncc.artifact import write_artifact
from dnncc.driver import Compilation, compile_model
from dnncc.ir.graph import Const
from dnncc.passes.pipeline import Pipeline
from dnncc.targets.program import build_program

from benchmarks.measure import TARGET, Progress
from benchmarks.networks import Network


def compile_inside(network: Network, folder: Path, progress: Progress) -> Path:
    """The artifact of the network with every kernel's output, in `folder`.

    Raises:
        DnnccError: it does not compile.
    """
    artifact = folder / f"{network.name}-inside"
    progress(f"{network.name}: compiling with every kernel's output")
    found = compile_model(network.model, target=TARGET, calibrate=network.calibration)
    write_artifact(with_inside(found), artifact)
    return artifact


def with_inside(found: Compilation) -> Compilation:
    """The same compilation with every kernel's output as an output, after its own."""
    meaning = found.graph.clone()
    known = {value.name: value for value in meaning.values() if not isinstance(value, Const)}
    outputs = [known[value.name] for step in found.program.steps for value in step.node.outputs]
    meaning.outputs += [value for value in outputs if value not in meaning.outputs]
    fused = meaning.clone()
    Pipeline.parse("separate-outputs,fuse").run(fused)
    return replace(found, graph=meaning, program=build_program(fused, found.program.name))
