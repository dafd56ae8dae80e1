"""Generated C without a warning where values meet themselves, on gcc and on clang, and under sanitizers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dnncc
import numpy as np
import onnx
import pytest
from dnncc.errors import ToolMissingError
from dnncc.ir.types import Array
from dnncc.runtime.host import HostModel, run_sanitized
from onnx import helper
from onnx_models import floats, model, run_onnxruntime

GRID = np.array([[-1.4, 0.9], [0.3, -0.2], [1.2, 1.2]], np.float32).reshape(1, 3, 1, 2)
NODES: dict[str, tuple[str, list[str], dict[str, Any], list[int], dict[str, Array]]] = {
    "less than itself": ("Less", ["x", "x"], {}, [2, 3], {}),
    "no more than itself": ("LessOrEqual", ["x", "x"], {}, [2, 3], {}),
    "equal to itself": ("Equal", ["x", "x"], {}, [2, 3], {}),
    "an image of one column": (
        "GridSample",
        ["x", "grid"],
        {"padding_mode": "border"},
        [1, 2, 4, 1],
        {"grid": GRID},
    ),
}


@pytest.mark.parametrize("name", NODES)
@pytest.mark.parametrize("compiler", ["gcc", "clang", "zig"])
def test_what_compilers_would_warn_of(name: str, compiler: str, tmp_path: Path) -> None:
    op_type, operands, attributes, shape, constants = NODES[name]
    nodes = [
        helper.make_node(op_type, operands, ["found"], **attributes),
        helper.make_node("Cast", ["found"], ["y"], to=onnx.TensorProto.FLOAT),
    ]
    proto = model(nodes, {"x": shape}, constants, ["y"], opset=20)
    dnncc.compile(proto, target="host-c", dtype="float32", output=tmp_path / "net")
    try:
        (found,) = HostModel(tmp_path / "net", compiler).run([floats(*shape)])
    except ToolMissingError:
        pytest.skip(f"{compiler} is not installed")
    (wanted,) = run_onnxruntime(proto, {"x": floats(*shape)})
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("kind", [onnx.TensorProto.INT8, onnx.TensorProto.UINT16])
@pytest.mark.parametrize("op_type", ["Div", "Mod"])
def test_quotients_of_narrow_integers_under_sanitizers(op_type: str, kind: int, tmp_path: Path) -> None:
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    infos = [helper.make_tensor_value_info(name, kind, [5]) for name in "aby"]
    graph = helper.make_graph([helper.make_node(op_type, ["a", "b"], ["y"])], "net", infos[:2], infos[2:])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    dnncc.compile(proto, target="host-c", dtype="float32", output=tmp_path / "net")
    a, b = np.array([7, 100, 0, 5, 127], dtype), np.array([2, 7, 3, 9, 1], dtype)
    ((found,),) = run_sanitized(tmp_path / "net", [[a, b]])
    assert found.tolist() == (a // b if op_type == "Div" else a % b).tolist()
