"""What is checked of one random network, and how a failure shrinks."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import dnncc
import numpy as np
import onnx
import onnxruntime
from dnncc.errors import DnnccError, MismatchError
from dnncc.frontends.onnx_cut import cut
from dnncc.interpreter import interpret
from dnncc.ir.types import Array
from dnncc.passes.quantize.agreement import ROUNDING
from dnncc.runtime.bundle import Bundle
from dnncc.runtime.host import run_sanitized
from dnncc.runtime.runner import open_runner
from onnx import helper
from quantized_models import FORMS as QUANTIZERS
from quantized_models import quantized, unoptimised

from fuzz.forms import LAYERS
from fuzz.network import random_network

TOLERANCE = 1e-4
TREMBLE = 3e-6
"""An element that ONNX Runtime itself changes when inputs change by so little says nothing: a rounding decides it."""
FLIPS = 0.05
"""What roundings to neighbouring integers may add up to, of an output's mean magnitude and deviation."""
SAMPLES = 2
BOARDS = ("cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "x86-64-v2")


@dataclass(frozen=True)
class Verdict:
    """How a check ended: "ok", "refused" (a clean E01xx), "wrong", or "crash"; and why."""

    kind: str
    why: str = ""

    @property
    def failed(self) -> bool:
        return self.kind in ("wrong", "crash")


def guarded(check: Callable[[onnx.ModelProto, bool], str], model: onnx.ModelProto, sanitize: bool) -> Verdict:
    """A check that says what differs, as a verdict."""
    try:
        difference = check(model, sanitize)
    except MismatchError as error:
        return Verdict("wrong", str(error))
    except DnnccError as error:
        if error.code.startswith("E01"):
            return Verdict("refused", str(error))
        return Verdict("crash", str(error))
    except Exception:  # noqa: BLE001 - whatever it is, it is found
        return Verdict("crash", traceback.format_exc())
    return Verdict("wrong", difference) if difference else Verdict("ok")


def samples_of(model: onnx.ModelProto, count: int) -> dict[str, Array]:
    """Normal noise for every input, [count, *shape]."""
    rng = np.random.default_rng(5)
    return {
        v.name: rng.normal(0, 1, (count, *(d.dim_value for d in v.type.tensor_type.shape.dim))).astype(
            np.float32
        )
        for v in model.graph.input
    }


def floats(model: onnx.ModelProto, sanitize: bool) -> str:
    """Interpreter and generated C against ONNX Runtime in float32; "" or what differs."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    graph = dnncc.load(model)
    given = samples_of(model, SAMPLES)
    with TemporaryDirectory() as folder:
        dnncc.compile(model, target="host-c", dtype="float32", output=Path(folder) / "net")
        bundle = Bundle.open(Path(folder) / "net")
        runs = [[given[v.name][i] for v in graph.inputs] for i in range(SAMPLES)]
        if sanitize:
            results = run_sanitized(bundle, runs)
        else:
            runner = open_runner(bundle, "host", None, None, "-O1")
            results = [runner.run(arguments) for arguments in runs]
    for i, arguments in enumerate(runs):
        feeds = {v.name: a for v, a in zip(graph.inputs, arguments, strict=True)}
        wanted = session.run(None, feeds)
        steady = _steady(session, feeds, wanted)
        for name, found in (("interpreter", interpret(graph, arguments)), ("C", results[i])):
            difference = _apart(name, [v.name for v in model.graph.output], found, wanted, steady)
            if difference:
                return difference
    return ""


def _apart(
    what: str,
    outputs: Sequence[str],
    found: Sequence[Array],
    wanted: Sequence[Array],
    steady: Sequence[Array],
) -> str:
    for output, ours, theirs, sure in zip(outputs, found, wanted, steady, strict=True):
        if ours.shape != theirs.shape:
            return f"{what}: {output} has shape {ours.shape}, not {theirs.shape}"
        far = np.abs(ours - theirs) > TOLERANCE * np.maximum(1.0, np.abs(theirs).max(initial=0))
        if (far & sure).any():
            at = tuple(int(k[0]) for k in np.nonzero(far & sure))
            return f"{what}: {output}{list(at)} is {ours[at]}, not {theirs[at]}"
    return ""


def _steady(
    session: onnxruntime.InferenceSession, feeds: dict[str, Array], wanted: Sequence[Array]
) -> list[Array]:
    rng = np.random.default_rng(9)
    steady = [np.ones(w.shape, bool) for w in wanted]
    for _ in range(4):
        moved = {
            k: np.asarray(v * (1 + TREMBLE * rng.normal(0, 1, v.shape))).astype(np.float32)
            for k, v in feeds.items()
        }
        for mask, before, after in zip(steady, wanted, session.run(None, moved), strict=True):
            mask &= np.abs(after - before) <= TOLERANCE / 2 * np.maximum(1.0, np.abs(before).max(initial=0))
    return steady


def integers(model: onnx.ModelProto, sanitize: bool) -> str:
    """Quantized, the generated C against the interpreter, bit by bit; "" or what differs."""
    given = samples_of(model, 12)
    chance = _chance(model)
    options = {
        "io": chance.choice(["int8", "float32"]),
        "optimize": chance.choice(["balanced", "ram", "time"]),
    }
    with TemporaryDirectory() as folder:
        compiled = dnncc.compile(
            model,
            target="host-c",
            calibrate=given,
            output=Path(folder) / "net",
            **{k: str(v) for k, v in options.items()},
        )
        found = dnncc.validate(Path(folder) / "net", on="host", samples=4)
        if not found.match:
            return f"{found.mismatches} of {found.values} values differ: {found.first}"
        if sanitize:
            run_sanitized(Bundle.open(Path(folder) / "net"), [list(s) for s in compiled.samples])
    return ""


def boards(model: onnx.ModelProto, sanitize: bool) -> str:
    """The kernels of the families of cores, on the emulator or this machine, against the interpreter, bit by bit."""
    chance = _chance(model)
    target = str(chance.choice(BOARDS))
    dtype = str(chance.choice(["int8", "int8", "float32"]))
    with TemporaryDirectory() as folder:
        given = samples_of(model, 12)
        dnncc.compile(model, target=target, dtype=dtype, calibrate=given, output=Path(folder) / "net")
        on = "host" if target.startswith("x86") else "emulator"
        found = dnncc.validate(Path(folder) / "net", on=on, samples=2)
    return (
        "" if found.match else f"{target} {dtype}: {found.mismatches} of {found.values} differ: {found.first}"
    )


def cuts(model: onnx.ModelProto, sanitize: bool) -> str:
    """Parts between chosen values, in the interpreter, against ONNX Runtime and the onnx package's extractor."""
    chance = _chance(model)
    whole = onnx.shape_inference.infer_shapes(model)
    typed = {v.name for v in whole.graph.value_info if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
    made = [n for node in whole.graph.node for n in node.output if n in typed]
    if len(made) < 2:
        return ""
    starts = [str(n) for n in chance.choice(made, chance.integers(0, 2), replace=False)]
    later = made[max((made.index(n) for n in starts), default=-1) + 1 :]
    ends = [str(n) for n in chance.choice(later, min(len(later), chance.integers(1, 3)), replace=False)]
    graph = dnncc.load(model, inputs=starts, outputs=ends)
    inputs = [v.name for v in graph.inputs]
    part = onnx.utils.Extractor(whole).extract_model(
        [n.removesuffix(":cut") for n in inputs], ends or [v.name for v in graph.outputs]
    )
    try:
        session = onnxruntime.InferenceSession(part.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001 - the extractor loses what subgraphs read, and names results twice
        return ""
    own = {k: v[0] for k, v in samples_of(model, 1).items()}
    # What the network itself computes: casts of anything larger would not be defined.
    probe = onnx.ModelProto.FromString(whole.SerializeToString())
    probe.graph.output.extend(helper.make_empty_tensor_value_info(n) for n in starts)
    run = onnxruntime.InferenceSession(probe.SerializeToString(), providers=["CPUExecutionProvider"]).run
    own |= {f"{n}:cut": a for n, a in zip(starts, run(None, own)[len(model.graph.output) :], strict=True)}
    own |= {n: own[f"{n}:cut"] for n in starts}
    feeds = {n: np.asarray(own[n]) for n in inputs}
    arguments = list(feeds.values())
    wanted = session.run(None, feeds)
    steady = _steady(session, feeds, wanted)
    return _apart("interpreter", [v.name for v in graph.outputs], interpret(graph, arguments), wanted, steady)


def given_grids(model: onnx.ModelProto, sanitize: bool) -> str:
    """Quantized by ONNX Runtime: each tensor within a step of ONNX Runtime's unoptimised result, or named with its
    reason; the generated C bit by bit."""
    chance = _chance(model)
    options = QUANTIZERS[str(chance.choice(sorted(QUANTIZERS)))]
    given = samples_of(model, 12)
    try:
        samples = [{k: v[i] for k, v in given.items()} for i in range(12)]
        quantized_model = quantized(model, samples, **options)
        session = unoptimised(quantized_model)
    except Exception:  # noqa: BLE001 - nothing to compare with
        return ""
    with TemporaryDirectory() as folder:
        compiled = dnncc.compile(
            quantized_model, target="host-c", calibrate=given, output=Path(folder) / "net"
        )
        found = dnncc.validate(Path(folder) / "net", on="host", samples=4)
        if not found.match:
            return f"{found.mismatches} of {found.values} values differ: {found.first}"
    far = [a for a in compiled.agreement if a.steps > 1 and a.reason == ROUNDING]
    if far:
        return f"{options}: {far[0]}"
    graph = dnncc.load(quantized_model)
    for i in range(SAMPLES):
        feeds = {v.name: given[v.name][i] for v in graph.inputs}
        wanted = session.run(None, feeds)
        found_reals = interpret(graph, [feeds[v.name] for v in graph.inputs])
        for value, ours, theirs in zip(graph.outputs, found_reals, wanted, strict=True):
            if ours.shape != theirs.shape:
                return f"{options}: {value.name} has shape {ours.shape}, not {theirs.shape}"
            if np.abs(ours - theirs).mean() > FLIPS * (np.abs(theirs).mean() + theirs.std()):
                return f"{options}: {value.name} is {ours.reshape(-1)[:8]}, not {theirs.reshape(-1)[:8]}"
    return ""


def _chance(model: onnx.ModelProto) -> np.random.Generator:
    """What a check chooses depends on the network's seed alone, and stays when the network shrinks."""
    return np.random.default_rng([17, int(model.doc_string or 0)])


CHECKS = {"float32": floats, "int8": integers, "boards": boards, "cuts": cuts, "quantized": given_grids}


def network_for(check: str, seed: int) -> onnx.ModelProto:
    """The network that a check is made with."""
    return random_network(seed, LAYERS, (2, 3, 4, 4, 4)) if check == "quantized" else random_network(seed)


def shrunk(
    check: Callable[[onnx.ModelProto, bool], str], model: onnx.ModelProto, verdict: Verdict, sanitize: bool
) -> tuple[onnx.ModelProto, Verdict]:
    """The smallest part of a failing model that fails alike: the first bad value alone, from as late as possible."""
    best, why = model, verdict
    names = [name for node in model.graph.node for name in node.output]
    for name in names:
        found = _tried(check, model, (), (name,), sanitize)
        if found is not None and found[1].kind == verdict.kind:
            best, why = found
            break
    for node in reversed(best.graph.node):
        starts = [n for n in node.input if n in names]
        found = _tried(check, best, starts, [v.name for v in best.graph.output], sanitize) if starts else None
        if (
            found is not None
            and found[1].kind == verdict.kind
            and len(found[0].graph.node) < len(best.graph.node)
        ):
            return found
    return best, why


def _tried(
    check: Callable[[onnx.ModelProto, bool], str],
    model: onnx.ModelProto,
    inputs: Sequence[str],
    outputs: Sequence[str],
    sanitize: bool,
) -> tuple[onnx.ModelProto, Verdict] | None:
    try:
        part = cut(onnx.shape_inference.infer_shapes(model), inputs, outputs)
        part = onnx.shape_inference.infer_shapes(part)
        if any(v.type.tensor_type.elem_type != onnx.TensorProto.FLOAT for v in part.graph.input):
            return None
        onnx.checker.check_model(part)
        onnxruntime.InferenceSession(part.SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001
        return None  # not a model by itself
    return part, guarded(check, part, sanitize)
