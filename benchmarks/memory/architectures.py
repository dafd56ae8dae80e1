"""Networks as graphs of operators with the bytes of int8 activations and parameters, one image of 224 x 224.

An operator is a kernel: a convolution with its normalization and activation, a pooling, an addition, a concatenation.
Parameters are its workspace: each is needed by one operator only, and brought in for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from dnncc.passes.planning.problem import Operator, OrderProblem, Tensor

PIXELS = 224


@dataclass(frozen=True)
class Map:
    """An activation: tensor index, height (and width), channels."""

    tensor: int
    size: int
    channels: int


@dataclass
class Builder:
    """Adds operator after operator; every method returns the activation that it makes.

    Attributes:
        parameters: whether the parameters of an operator are its workspace.
        activations: whether the activations before the operations of a searched cell are operators of their own.
    """

    parameters: bool
    activations: bool = False
    tensors: list[Tensor] = field(default_factory=list)
    operators: list[Operator] = field(default_factory=list)

    def image(self) -> Map:
        """The input, which an operator creates: whoever takes the picture."""
        return self.add((), PIXELS, 3)

    def add(self, inputs: Sequence[Map], size: int, channels: int, weights: int = 0) -> Map:
        return Map(self.raw([x.tensor for x in inputs], size * size * channels, weights), size, channels)

    def raw(self, inputs: Sequence[int], bytes_: int, weights: int = 0) -> int:
        self.tensors.append(Tensor(bytes_))
        tensor = len(self.tensors) - 1
        workspace = weights if self.parameters else 0
        self.operators.append(Operator(tuple(dict.fromkeys(inputs)), (tensor,), workspace))
        return tensor

    def conv(self, x: Map, channels: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> Map:
        weights = kernel * kernel * x.channels // groups * channels + 4 * channels
        return self.add([x], -(-x.size // stride), channels, weights)

    def depthwise(self, x: Map, kernel: int, stride: int = 1) -> Map:
        return self.conv(x, x.channels, kernel, stride, x.channels)

    def pool(self, x: Map, stride: int = 1) -> Map:
        return self.add([x], -(-x.size // stride), x.channels)

    def join(self, xs: Sequence[Map]) -> Map:
        """An elementwise operator."""
        return self.add(xs, xs[0].size, xs[0].channels)

    def concat(self, xs: Sequence[Map]) -> Map:
        return self.add(xs, xs[0].size, sum(x.channels for x in xs))

    def activation(self, x: Map) -> Map:
        """What an operation of a searched cell reads: nothing but an operator if activations are not fused."""
        return self.join([x]) if self.activations else x

    def classifier(self, x: Map, classes: int = 1000) -> None:
        pooled = self.add([x], 1, x.channels)
        self.conv(pooled, classes)

    def problem(self) -> OrderProblem:
        return OrderProblem(tuple(self.tensors), tuple(self.operators), (len(self.tensors) - 1,))


def _bottlenecks(net: Builder, x: Map, widths: Sequence[tuple[int, int, int]]) -> Map:
    for width, blocks, stride in widths:
        for block in range(blocks):
            step = stride if block == 0 else 1
            y = net.conv(net.conv(net.conv(x, width), width, 3, step), 4 * width)
            shortcut = net.conv(x, 4 * width, 1, step) if block == 0 else x
            x = net.join([y, shortcut])
    return x


def resnet50(net: Builder) -> None:
    x = net.pool(net.conv(net.image(), 64, 7, 2), 2)
    net.classifier(_bottlenecks(net, x, [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)]))


def densenet121(net: Builder) -> None:
    x = net.pool(net.conv(net.image(), 64, 7, 2), 2)
    for index, layers in enumerate((6, 12, 24, 16)):
        features = [x]
        for _ in range(layers):
            joined = net.concat(features) if len(features) > 1 else x
            features.append(net.conv(net.conv(joined, 128), 32, 3))
        x = net.concat(features)
        if index < 3:
            x = net.pool(net.conv(x, x.channels // 2), 2)
    net.classifier(x)


def vit_b16(net: Builder) -> None:
    tokens, width, heads = 197, 768, 12
    x = net.raw([net.image().tensor], tokens * width, 16 * 16 * 3 * width)
    for _ in range(12):
        y = net.raw([x], tokens * width, 2 * width)
        query, key, value = (net.raw([y], tokens * width, width * width) for _ in range(3))
        scores = net.raw([query, key], heads * tokens * tokens)
        mixed = net.raw([net.raw([scores], heads * tokens * tokens), value], tokens * width)
        x = net.raw([net.raw([mixed], tokens * width, width * width), x], tokens * width)
        y = net.raw([x], tokens * width, 2 * width)
        y = net.raw([y], 4 * tokens * width, 4 * width * width)
        x = net.raw([net.raw([y], tokens * width, 4 * width * width), x], tokens * width)
    net.raw([x], 1000, 1000 * width)


_INCEPTION = (
    # 1x1, 3x3 reduced, 3x3, 5x5 reduced, 5x5, projected pool; None: a pool of stride 2
    (64, 96, 128, 16, 32, 32),
    (128, 128, 192, 32, 96, 64),
    None,
    (192, 96, 208, 16, 48, 64),
    (160, 112, 224, 24, 64, 64),
    (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128),
    None,
    (256, 160, 320, 32, 128, 128),
    (384, 192, 384, 48, 128, 128),
)


def googlenet(net: Builder) -> None:
    x = net.pool(net.conv(net.image(), 64, 7, 2), 2)
    x = net.pool(net.conv(net.conv(x, 64), 192, 3), 2)
    for widths in _INCEPTION:
        if widths is None:
            x = net.pool(x, 2)
            continue
        a, b, c, d, e, f = widths
        x = net.concat(
            [
                net.conv(x, a),
                net.conv(net.conv(x, b), c, 3),
                net.conv(net.conv(x, d), e, 5),
                net.conv(net.pool(x), f),
            ]
        )
    net.classifier(x)


_MOBILE = (
    # kernel, expanded, out, squeeze-and-excite, stride; the last blocks are dilated instead of strided
    (3, 16, 16, False, 1),
    (3, 64, 24, False, 2),
    (3, 72, 24, False, 1),
    (5, 72, 40, True, 2),
    (5, 120, 40, True, 1),
    (5, 120, 40, True, 1),
    (3, 240, 80, False, 2),
    (3, 200, 80, False, 1),
    (3, 184, 80, False, 1),
    (3, 184, 80, False, 1),
    (3, 480, 112, True, 1),
    (3, 672, 112, True, 1),
    (5, 672, 160, True, 1),
    (5, 960, 160, True, 1),
    (5, 960, 160, True, 1),
)


def lraspp(net: Builder) -> None:
    """L-RASPP on MobileNetV3-Large: low-level features are kept for the head."""
    x = net.conv(net.image(), 16, 3, 2)
    low = x
    for kernel, expanded, out, squeeze, stride in _MOBILE:
        y = net.conv(x, expanded) if expanded != x.channels else x
        y = net.depthwise(y, kernel, stride)
        if squeeze:
            gate = net.conv(net.conv(net.add([y], 1, expanded), expanded // 4), expanded)
            y = net.add([y, gate], y.size, expanded)
        y = net.conv(y, out)
        x = net.join([y, x]) if stride == 1 and out == x.channels else y
        if out == 40 and stride == 2:
            low = x
    x = net.conv(x, 960)
    high = net.conv(x, 128)
    gate = net.conv(net.add([x], 1, 960), 128)
    high = net.add([high, gate], high.size, 128)
    high = net.conv(net.add([high], low.size, 128), 21)
    x = net.join([net.conv(low, 21), high])
    net.add([x], PIXELS, 21)


def fcn(net: Builder) -> None:
    """FCN on a ResNet-50 that stays at an eighth of the input."""
    x = net.pool(net.conv(net.image(), 64, 7, 2), 2)
    x = _bottlenecks(net, x, [(64, 3, 1), (128, 4, 2), (256, 6, 1), (512, 3, 1)])
    x = net.conv(net.conv(x, 512, 3), 21)
    net.add([x], PIXELS, 21)


Operation = str
Cell = tuple[tuple[tuple[int, Operation], ...], tuple[int, ...]]
"""Operations in pairs, which are added: (index of the operand, operation). Operand 0 is the older input, 1 the newer
one, 2 and more are the sums. Then the indices of what is concatenated."""

_NASNET_NORMAL: Cell = (
    (
        (1, "sep3"), (1, "skip"), (0, "sep3"), (1, "sep5"), (1, "avg"), (0, "skip"),
        (0, "avg"), (0, "avg"), (0, "sep5"), (0, "sep3"),
    ),
    (0, 2, 3, 4, 5, 6),
)  # fmt: skip
_NASNET_REDUCTION: Cell = (
    (
        (0, "sep7"), (1, "sep5"), (1, "max"), (0, "sep7"), (1, "avg"), (0, "sep5"),
        (1, "max"), (2, "sep3"), (2, "avg"), (3, "skip"),
    ),
    (3, 4, 5, 6),
)  # fmt: skip
_PNASNET: Cell = (
    (
        (0, "sep5"), (0, "max"), (1, "sep7"), (1, "max"), (1, "sep5"), (1, "sep3"),
        (4, "sep3"), (1, "max"), (0, "sep3"), (1, "skip"),
    ),
    (2, 3, 4, 5, 6),
)  # fmt: skip
_AMOEBANET_NORMAL: Cell = (
    (
        (0, "conv1"), (0, "max"), (0, "skip"), (1, "conv17"), (1, "conv1"), (1, "conv17"),
        (2, "max"), (2, "skip"), (0, "avg"), (5, "conv1"),
    ),
    (1, 3, 4, 6),
)  # fmt: skip
_AMOEBANET_REDUCTION: Cell = (
    (
        (1, "max"), (1, "max"), (2, "skip"), (0, "conv3"), (2, "conv17"), (2, "max"),
        (3, "skip"), (0, "max"), (2, "avg"), (3, "conv1"),
    ),
    (4, 5, 6),
)  # fmt: skip
_DARTS_NORMAL: Cell = (
    (
        (0, "sep3"), (1, "sep3"), (0, "sep3"), (1, "sep3"), (1, "sep3"), (0, "skip"),
        (0, "skip"), (2, "dil3"),
    ),
    (2, 3, 4, 5),
)  # fmt: skip
_DARTS_REDUCTION: Cell = (
    (
        (0, "max"), (1, "max"), (2, "skip"), (1, "max"), (0, "max"), (2, "skip"), (2, "skip"), (1, "max"),
    ),
    (2, 3, 4, 5),
)  # fmt: skip


def _operation(net: Builder, kind: Operation, x: Map, stride: int) -> Map:
    if kind == "skip":
        return x if stride == 1 else net.conv(x, x.channels, 1, stride)
    if kind in ("max", "avg"):
        return net.pool(x, stride)
    if kind.startswith("sep"):
        kernel = int(kind[3:])
        y = net.conv(net.depthwise(net.activation(x), kernel, stride), x.channels)
        return net.conv(net.depthwise(net.activation(y), kernel), x.channels)
    x = net.activation(x)
    if kind == "dil3":
        return net.conv(net.depthwise(x, 3, stride), x.channels)
    if kind == "conv17":
        y = net.conv(x, x.channels // 4)
        weights = 7 * y.channels * y.channels
        y = net.add([y], -(-y.size // stride), y.channels, weights)
        return net.conv(net.add([y], y.size, y.channels, weights), x.channels)
    return net.conv(x, x.channels, int(kind[4:]), stride)


def _cell(net: Builder, cell: Cell, older: Map, newer: Map, channels: int, stride: int) -> Map:
    shrink = -(-older.size // newer.size)
    states = [net.conv(net.activation(x), channels, 1, step) for x, step in ((older, shrink), (newer, 1))]
    operations, joined = cell
    for (a, left), (b, right) in zip(operations[::2], operations[1::2], strict=True):
        parts = [
            _operation(net, kind, states[i], stride if i < 2 else 1) for i, kind in ((a, left), (b, right))
        ]
        states.append(net.join(parts))
    small = states[-1].size
    outs = [states[i] for i in joined]
    return net.concat([x if x.size == small else net.conv(x, channels, 1, stride) for x in outs])


def _stacked(normal: Cell, reduction: Cell, repeats: int, channels: int) -> Callable[[Builder], None]:
    """ImageNet stacking: a strided convolution, two reduction cells, then normal cells and reductions in turn."""

    def build(net: Builder) -> None:
        older = newer = net.conv(net.image(), 96, 3, 2)
        width = channels // 4
        for _ in range(2):
            older, newer = newer, _cell(net, reduction, older, newer, width, 2)
            width *= 2
        for stage in range(3):
            if stage:
                width *= 2
                older, newer = newer, _cell(net, reduction, older, newer, width, 2)
            for _ in range(repeats):
                older, newer = newer, _cell(net, normal, older, newer, width, 1)
        net.classifier(newer)

    return build


def _stacked_small(normal: Cell, reduction: Cell, repeats: int, channels: int) -> Callable[[Builder], None]:
    """CIFAR stacking: a convolution on 32 x 32 pixels, then normal cells and reductions in turn."""

    def build(net: Builder) -> None:
        older = newer = net.conv(net.add((), 32, 3), 3 * channels, 3)
        width = channels
        for stage in range(3):
            if stage:
                width *= 2
                older, newer = newer, _cell(net, reduction, older, newer, width, 2)
            for _ in range(repeats):
                older, newer = newer, _cell(net, normal, older, newer, width, 1)
        net.classifier(newer, 10)

    return build


CLASSIC: dict[str, Callable[[Builder], None]] = {
    "resnet50": resnet50,
    "densenet121": densenet121,
    "vit-b16": vit_b16,
    "googlenet": googlenet,
    "lraspp": lraspp,
    "fcn": fcn,
}
SEARCHED: dict[str, Callable[[Builder], None]] = {
    "nasnet-a": _stacked(_NASNET_NORMAL, _NASNET_REDUCTION, 6, 168),
    "pnasnet-5": _stacked(_PNASNET, _PNASNET, 4, 216),
    "amoebanet-d": _stacked(_AMOEBANET_NORMAL, _AMOEBANET_REDUCTION, 6, 190),
    "darts": _stacked(_DARTS_NORMAL, _DARTS_REDUCTION, 4, 48),
}


SEARCHED_CIFAR: dict[str, Callable[[Builder], None]] = {
    "nasnet-a-cifar": _stacked_small(_NASNET_NORMAL, _NASNET_REDUCTION, 6, 32),
    "pnasnet-5-cifar": _stacked_small(_PNASNET, _PNASNET, 6, 48),
    "amoebanet-d-cifar": _stacked_small(_AMOEBANET_NORMAL, _AMOEBANET_REDUCTION, 6, 36),
    "darts-cifar": _stacked_small(_DARTS_NORMAL, _DARTS_REDUCTION, 6, 36),
}


def build(name: str, parameters: bool, activations: bool = False) -> OrderProblem:
    """The graph of a network, with its parameters as workspace or without them; see `Builder`."""
    net = Builder(parameters, activations)
    (CLASSIC | SEARCHED | SEARCHED_CIFAR)[name](net)
    return net.problem()


def randwire(seed: int, nodes: int = 32, neighbours: int = 4, rewired: float = 0.75) -> OrderProblem:
    """A randomly wired stage (Xie et al. 2019): a Watts-Strogatz graph whose edges lead from the lower to the higher
    node, each node one operator on 28 x 28 x 78 bytes, an average of the nodes that nobody reads."""
    import networkx as nx

    graph = nx.connected_watts_strogatz_graph(nodes, neighbours, rewired, seed=seed)
    net = Builder(parameters=False)
    image = net.add((), 56, 78)
    made: list[Map] = []
    for v in range(nodes):
        read = [made[u] for u in sorted(graph[v]) if u < v]
        made.append(net.add(read or [image], 28, 78))
    net.join([made[v] for v in range(nodes) if max(graph[v]) < v])
    return net.problem()
