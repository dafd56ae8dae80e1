"""Models for the tests of artifacts, written by hand: two inputs, two outputs, a residual, a concatenation."""

from __future__ import annotations

from collections.abc import Callable

import onnx
from onnx import helper
from onnx_models import floats, model

# What a name in a model may hold, and a C file, a comment, a build file or a page may not.
AWKWARD = (
    "a*/ int broken(void; /*",
    "*??/\n/ int broken(void;",
    "*\\\n/ int broken(void;",
    "two\nlines\r\nand\rmore",
    "#error no\n#error no",
    "trigraphs ??( ??' ??>",
    "ends with ??/",
    "ends with a backslash\\",
    "quotes \" and ' and `",
    "größe 名前 \U0001f600 \u2028",
    "</script><script>alert(1)</script><!--",
    "%s%n {0} ${HOME} $(id) ]]>",
    "/a/b:c;../d ",
    "int",
    "net_run",
    "0",
    " ",
    "//",
)


def branches(rename: Callable[[str], str] = str) -> onnx.ModelProto:
    """Inputs `left` and `right` [1, 4, 7, 5]; outputs `map` [1, 5, 7, 5] and `classes` [1, 3], a softmax.

    Args:
        rename: from each name (of the graph, its values and its nodes) to another, one to one.
    """
    constants = {
        "w_first": floats(8, 4, 3, 3) / 8,
        "b_first": floats(8),
        "w_second": floats(8, 8, 3, 3, seed=1) / 12,
        "b_second": floats(8, seed=1),
        "w_right": floats(4, 4, 1, 1) / 4,
        "b_right": floats(4),
        "w_map": floats(5, 12, 1, 1) / 6,
        "b_map": floats(5),
        "w_classes": floats(12, 3) / 6,
        "b_classes": floats(3),
    }
    same = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    steps = [
        ("Conv", ["left", "w_first", "b_first"], "first", same),
        ("Relu", ["first"], "first_relu", {}),
        ("Conv", ["first_relu", "w_second", "b_second"], "second", same),
        ("Add", ["second", "first_relu"], "sum", {}),
        ("Relu", ["sum"], "sum_relu", {}),
        ("Conv", ["right", "w_right", "b_right"], "signed", {}),
        ("Concat", ["sum_relu", "signed"], "both", {"axis": 1}),
        ("Conv", ["both", "w_map", "b_map"], "map", {}),
        ("GlobalAveragePool", ["both"], "pooled", {}),
        ("Flatten", ["pooled"], "flat", {}),
        ("Gemm", ["flat", "w_classes", "b_classes"], "logits", {}),
        ("Softmax", ["logits"], "classes", {"axis": 1}),
    ]
    nodes = [
        helper.make_node(
            op, [rename(i) for i in inputs], [rename(output)], name=rename(f"node {output}"), **attributes
        )
        for op, inputs, output, attributes in steps
    ]
    shape = [1, 4, 7, 5]
    found = model(
        nodes,
        {rename("left"): shape, rename("right"): shape},
        {rename(name): data for name, data in constants.items()},
        [rename("map"), rename("classes")],
    )
    found.graph.name = rename("branches")
    return found


def awkward_names(first: int) -> Callable[[str], str]:
    """Gives out awkward names, beginning with that one; from the second round on with a number before them."""
    given: dict[str, str] = {}

    def rename(name: str) -> str:
        turn, index = divmod(len(given) + first, len(AWKWARD))
        return given.setdefault(name, f"{turn if turn else ''}{AWKWARD[index]}")

    return rename
