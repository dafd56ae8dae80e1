"""What others reach on the MLPerf Tiny models. None of these figures is ours; each says where it comes from.

"Measured by others": built for a Cortex-M4 and run to the end in an emulator, instructions counted exactly, input and
output buffers not counted as RAM. "Published": MLPerf Tiny submissions (closed division, same model files) on boards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MEASURED = "measured by others, emulated Cortex-M4"


@dataclass(frozen=True)
class Peer:
    """One stack, by network; a network that is missing was not measured or does not run.

    Attributes:
        instructions: per inference.
        cycles: per inference, on hardware.
        ram: bytes beside the stack.
        stack: bytes.
        flash: bytes, code and weights.
    """

    name: str
    source: str
    instructions: Mapping[str, int] = field(default_factory=dict)
    cycles: Mapping[str, int] = field(default_factory=dict)
    ram: Mapping[str, int] = field(default_factory=dict)
    stack: Mapping[str, int] = field(default_factory=dict)
    flash: Mapping[str, int] = field(default_factory=dict)


CMSIS_NN = Peer(
    "CMSIS-NN called directly",
    MEASURED,
    instructions={"kws": 7_697_482, "ic": 29_858_105, "vww": 24_091_909, "ad": 579_819},
    ram={"kws": 16_256, "ic": 51_456, "vww": 65_536, "ad": 768},
    stack={"kws": 708, "ic": 748, "vww": 716, "ad": 348},
    flash={"kws": 53_416, "ic": 102_720, "vww": 268_724, "ad": 278_476},
)
TFLM = Peer(
    "TFLite-Micro + CMSIS-NN",
    MEASURED,
    instructions={"kws": 7_701_394, "ic": 29_863_229, "vww": 24_101_961, "ad": 582_963},
    ram={"kws": 22_924, "ic": 55_100, "vww": 100_812, "ad": 2_580},
    stack={"kws": 1_804, "ic": 1_804, "vww": 1_804, "ad": 1_308},
    flash={"kws": 138_988, "ic": 178_392, "vww": 418_340, "ad": 309_732},
)
TINYENGINE = Peer(
    "TinyEngine",
    MEASURED,
    instructions={"vww": 19_711_648, "ad": 771_906},
    ram={"vww": 60_728},
    stack={"vww": 556},
)
X_CUBE_AI = Peer(
    "X-CUBE-AI",
    "published, MLPerf Tiny v1.2/v1.3, STM32L4R5 at 120 MHz",
    cycles={"kws": 5_180_000, "ic": 19_800_000, "vww": 10_670_000, "ad": 575_000},
)
MICROTVM = Peer(
    "microTVM + CMSIS-NN",
    "published, MLPerf Tiny v1.1, STM32L4R5",
    cycles={"kws": 11_980_000, "ic": 46_700_000, "vww": 36_100_000, "ad": 1_030_000},
)
LAYER_WISE = Peer(
    "layer-wise lower bound",
    "the largest input plus output of a layer, computed",
    ram={"kws": 16_000, "ic": 49_152, "vww": 55_296, "ad": 768},
)

PEERS = (CMSIS_NN, TFLM, TINYENGINE, X_CUBE_AI, MICROTVM, LAYER_WISE)
