"""Samples of the positions of maxima."""

from __future__ import annotations

from dnncc.ops.max_position import MaxPosition

from op_samples.case import Case, floats, integers

_SQUARE = ((3, 2, 1, 1, 3), (2, 1, 0, 2, 3))

SAMPLES = {
    "max_position": [
        Case(MaxPosition(_SQUARE), [floats(1, 2, 5, 5)]),
        Case(MaxPosition(_SQUARE, column_major=True), [floats(2, 1, 5, 5)]),
        Case(MaxPosition(_SQUARE), [integers("int8", 1, 3, 5, 5)]),
        Case(MaxPosition(((2, 2, 0, 1, 3),)), [integers("uint8", 1, 2, 6)]),
        Case(MaxPosition(((2, 1, 1, 1, 4), (1, 1, 0, 1, 2), (2, 2, 0, 1, 2))), [floats(1, 1, 3, 2, 4)]),
    ]
}
