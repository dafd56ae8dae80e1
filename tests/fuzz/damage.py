"""Damaged model files, and what the command line makes of one: exit code 0, 1 or 3, in bounded time and memory."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import signal
import traceback
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx

SECONDS, BYTES = 60, 4 << 30
ALLOWED = (0, 1, 3)
_FORK_FAILED = 99


def damaged(data: bytes, seed: int) -> bytes:
    """A model file with flipped bits, a missing end, a hole, or fields of other nodes and tensors."""
    rng = np.random.default_rng([13, seed])
    kind = rng.integers(6)
    raw = bytearray(data)
    if kind == 0:
        for _ in range(rng.integers(1, 9)):
            raw[rng.integers(len(raw))] ^= 1 << rng.integers(8)
    elif kind == 1:
        del raw[rng.integers(len(raw)) :]
    elif kind == 2:
        start = rng.integers(len(raw))
        del raw[start : start + rng.integers(1, 64)]
    else:
        model = onnx.ModelProto.FromString(data)
        for _ in range(rng.integers(1, 4)):
            _swap(model, rng)
        return bytes(model.SerializeToString())
    return bytes(raw)


def _swap(model: Any, rng: np.random.Generator) -> None:
    """One field says something else."""
    graph = model.graph
    node = graph.node[rng.integers(len(graph.node))]
    other = graph.node[rng.integers(len(graph.node))]
    choice = rng.integers(10)
    with contextlib.suppress(ValueError, IndexError):  # a node without such a field
        if choice == 0:
            node.op_type = other.op_type
        elif choice == 1:
            node.input[rng.integers(len(node.input))] = other.output[0]
        elif choice == 2:
            node.output[0] = other.output[0]
        elif choice == 3:
            node.attribute[rng.integers(len(node.attribute))].i = int(rng.integers(-(2**62), 2**62))
        elif choice == 4:
            attribute = node.attribute[rng.integers(len(node.attribute))]
            if len(attribute.ints):
                attribute.ints[rng.integers(len(attribute.ints))] = int(
                    rng.choice([-1, 0, 7, 2**31, -(2**40)])
                )
        elif choice == 5:
            tensor = graph.initializer[rng.integers(len(graph.initializer))]
            tensor.dims[rng.integers(len(tensor.dims))] = int(rng.choice([0, -1, 5, 2**31, 2**62]))
        elif choice == 6:
            graph.initializer[rng.integers(len(graph.initializer))].data_type = int(rng.integers(0, 24))
        elif choice == 7:
            dims = graph.input[0].type.tensor_type.shape.dim
            dims[rng.integers(len(dims))].dim_value = int(rng.choice([0, -3, 2, 2**20, 2**40]))
        elif choice == 8:
            model.opset_import[0].version = int(rng.choice([-1, 0, 1, 6, 7, 11, 13, 99, 2**40]))
        else:
            del graph.node[rng.integers(len(graph.node))]


def outcome(data: bytes) -> str:
    """What `dnncc compile` makes of a file, in a process of its own: "" if that is fine, else what is not."""
    with TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "model.onnx").write_bytes(data)
        child = os.fork()
        if child == 0:
            os._exit(_compile(path))
        _, status, usage = os.wait4(child, 0)
        report = (path / "report").read_text() if (path / "report").exists() else ""
        if os.WIFSIGNALED(status):
            return f"killed by {signal.Signals(os.WTERMSIG(status)).name} after at most {SECONDS} s"
        code = os.WEXITSTATUS(status)
        if code not in ALLOWED or "Traceback" in report:
            return f"exit code {code}\n{report}"
        if usage.ru_maxrss * 1024 > BYTES:
            return f"{usage.ru_maxrss >> 10} MiB of memory"
        if code and (path / "net").exists():
            return "an artifact in spite of an error"
        return ""


def _compile(folder: Path) -> int:
    from dnncc.cli import main

    signal.alarm(SECONDS)
    resource.setrlimit(resource.RLIMIT_DATA, (2 * BYTES, 2 * BYTES))
    report = io.StringIO()
    try:
        with contextlib.redirect_stderr(report), contextlib.redirect_stdout(report):
            code = main(
                ["compile", str(folder / "model.onnx"), "--target", "host-c", "-o", str(folder / "net")]
            )
    except BaseException:  # noqa: BLE001 - the child must not return into the parent's code
        report.write(traceback.format_exc())
        code = _FORK_FAILED
    (folder / "report").write_text(report.getvalue())
    return int(code)
