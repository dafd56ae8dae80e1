"""Random and typical problems for the tests of the memory planner."""

from __future__ import annotations

from random import Random

from dnncc.passes.planning.problem import Buffer, Operator, OrderProblem, Overlap, PlaceProblem, Tensor


class Net:
    """Builds an order problem operator by operator; every method returns the index of the new tensor."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.operators: list[Operator] = []

    def tensor(self, size: int, view_of: int | None = None, view_offset: int = 0) -> int:
        self.tensors.append(Tensor(size, view_of, view_offset))
        return len(self.tensors) - 1

    def op(self, inputs: list[int], size: int, workspace: int = 0, over: dict[int, int] | None = None) -> int:
        """An operator of one output; `over` gives the overlap distance by input."""
        output = self.tensor(size)
        overlaps = tuple(Overlap(output, i, distance) for i, distance in (over or {}).items())
        self.operators.append(Operator(tuple(inputs), (output,), workspace, overlaps))
        return output

    def problem(self, *outputs: int) -> OrderProblem:
        return OrderProblem(tuple(self.tensors), tuple(self.operators), outputs)


def random_order_problem(rng: Random, count: int) -> OrderProblem:
    """Small operators with all that the problem knows: views, joining in place, overlaps, workspace."""
    net = Net()
    readable = [net.tensor(rng.choice([0, rng.randint(1, 9)])) for _ in range(rng.randint(1, 2))]
    for _ in range(count):
        inputs = [rng.choice(readable) for _ in range(rng.randint(1, 3))]
        if rng.random() < 0.2:
            size = net.tensors[inputs[0]].size
            start = rng.randrange(size) if size else 0
            outputs = [net.tensor(rng.randint(0, size - start), inputs[0], start)]
        else:
            outputs = [net.tensor(rng.randint(0, 9)) for _ in range(rng.choice([1, 1, 1, 2]))]
        overlaps = [
            Overlap(o, i, rng.randint(-4, 9))
            for o in outputs
            for i in dict.fromkeys(inputs)
            if rng.random() < 0.6
        ]
        workspace = rng.choice([0, 0, rng.randint(1, 6)])
        net.operators.append(Operator(tuple(inputs), tuple(outputs), workspace, tuple(overlaps)))
        if rng.random() < 0.15:
            readable.append(net.tensor(net.tensors[outputs[0]].size // 2, outputs[0]))
        readable += outputs
    if count >= 3 and rng.random() < 0.4:
        whole = net.tensor(20)
        parts = (net.tensor(8, whole), net.tensor(12, whole, 8))
        for part in parts:
            net.operators.append(Operator((rng.choice(readable),), (part,)))
        net.operators.append(Operator(parts, (whole,)))
        readable.append(whole)
    return net.problem(*rng.sample(readable, min(len(readable), rng.randint(0, 2))))


def random_place_problem(rng: Random, count: int) -> PlaceProblem:
    """Small buffers in few steps, with rules wherever lifetimes allow them and mixed alignments."""
    alignments = rng.choice([(1,), (2,), (4,), (1, 2, 4)])
    buffers = []
    for n in range(count):
        lower = rng.randrange(5)
        upper = rng.randint(lower + 1, min(5, lower + 3))
        buffers.append(Buffer(3 * n + 1, lower, upper, rng.randint(0, 6), rng.choice(alignments)))
    overlaps: dict[frozenset[int], Overlap] = {}
    for a in buffers:
        for b in buffers:
            if a is not b and b.lower <= a.lower == b.upper - 1 and rng.random() < 0.7:
                overlaps.setdefault(frozenset((a.id, b.id)), Overlap(a.id, b.id, rng.randint(-3, 6)))
    return PlaceProblem(tuple(buffers), tuple(overlaps.values()))


def layered(rng: Random, count: int, reach: int) -> OrderProblem:
    """Every operator reads up to three of the `reach` newest tensors: hard to order."""
    net = Net()
    recent = [net.op([net.tensor(0)], rng.randint(50, 500))]
    for _ in range(count - 1):
        inputs = sorted({rng.choice(recent[-reach:]) for _ in range(rng.randint(1, 3))})
        recent.append(net.op(inputs, rng.randint(50, 500)))
    return net.problem(recent[-1])


def chain(count: int) -> OrderProblem:
    rng = Random(1)
    net = Net()
    x = net.tensor(0)
    for _ in range(count):
        x = net.op([x], rng.randint(1, 1000))
    return net.problem(x)


def resnet(blocks: int) -> OrderProblem:
    """Bottleneck blocks, additions in place, a projected shortcut at every tenth block."""
    net = Net()
    x = net.op([net.tensor(0)], 56 * 56 * 64)
    for block in range(blocks):
        size = 56 * 56 * 64 // (1 + block // 10)
        shortcut = net.op([x], size) if block % 10 == 0 else x
        y = net.op([net.op([x], size // 4, workspace=100)], size // 4)
        y = net.op([y], size)
        x = net.op([y, shortcut], size, over={y: 0, shortcut: 0})
    return net.problem(x)


def mobilenet(blocks: int) -> OrderProblem:
    """Depthwise convolutions two rows below their input, pointwise ones in place or narrowing."""
    net = Net()
    x = net.op([net.tensor(0)], 48 * 48 * 8)
    for block in range(blocks):
        size = net.tensors[x].size
        y = net.op([x], size, over={x: 2 * 48 * 8})
        x = net.op([y], size if block % 3 else size * 3 // 4, over={y: 0})
    return net.problem(x)


def inception(cells: int) -> OrderProblem:
    """Four branches of different lengths, concatenated."""
    net = Net()
    area = 28 * 28
    x = net.op([net.tensor(0)], area * 192)
    for _ in range(cells):
        branches = [
            net.op([x], area * 64),
            net.op([net.op([x], area * 96)], area * 128),
            net.op([net.op([x], area * 16)], area * 32),
            net.op([net.op([x], area * 192)], area * 32),
        ]
        x = net.op(branches, area * 256)
    return net.problem(x)


def nasnet(cells: int) -> OrderProblem:
    """Cells in the manner of NASNet-A: ten branches, which read the two cells before."""
    net = Net()
    size = 42 * 42 * 168

    def separable(x: int) -> int:
        for _ in range(4):
            x = net.op([x], size)
        return x

    def pool(x: int) -> int:
        return net.op([x], size)

    older = net.op([net.tensor(0)], 2 * size)
    newer = net.op([older], size)
    for _ in range(cells):
        p, h = net.op([older], size), net.op([newer], size)
        sums = [
            net.op([separable(h), h], size),
            net.op([separable(p), separable(h)], size),
            net.op([pool(h), p], size),
            net.op([pool(p), pool(p)], size),
            net.op([separable(p), separable(p)], size),
        ]
        older, newer = newer, net.op([p, *sums], 6 * size)
    return net.problem(net.op([newer], 1000))
