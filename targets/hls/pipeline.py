"""A folded network: stages and the streams between them, forks and width converters included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dnncc.targets.hls import simulate
from dnncc.targets.hls.folding import Edge, Problem
from dnncc.targets.hls.network import Network
from dnncc.targets.hls.parts import Part
from dnncc.targets.hls.resources import Resources
from dnncc.targets.hls.stages.base import Choice, Layer, Stage, Stream
from dnncc.targets.hls.stages.movement import BorderLayer, Converter, Fork, conversion_steps


@dataclass(eq=False)
class Design:
    """The pipeline.

    Attributes:
        network: what it computes.
        part: what it is for.
        picks: per layer the folding.
        stages: in the order of the data.
        streams: all of them but the AXI streams.
        inputs, outputs: the AXI streams, as the network's ports.
    """

    network: Network
    part: Part
    picks: tuple[Choice, ...]
    stages: list[Stage] = field(default_factory=list)
    streams: list[Stream] = field(default_factory=list)
    inputs: list[Stream] = field(default_factory=list)
    outputs: list[Stream] = field(default_factory=list)

    def producer(self) -> dict[Stream, Stage]:
        return {s: stage for stage in self.stages for s in stage.outputs}

    def consumer(self) -> dict[Stream, Stage]:
        return {s: stage for stage in self.stages for s in stage.inputs}


def folding_problem(
    network: Network, part: Part, reserve: Resources | None = None, cycles: int | None = None
) -> Problem:
    """All choices of all layers, and how the layers are connected."""
    index = {layer: i for i, layer in enumerate(network.layers)}
    source = {layer.output: i for layer, i in index.items()}
    edges = []
    for wire, readers in network.readers().items():
        edges += [Edge(source[wire], index[layer], port, wire, len(readers) > 1) for layer, port in readers]
    return Problem(
        tuple(layer.name for layer in network.layers),
        tuple(tuple(layer.choices(part)) for layer in network.layers),
        tuple(edges),
        part.usable,
        reserve or Resources(),
        cycles,
    )


def build_design(network: Network, part: Part, picks: Sequence[Choice]) -> Design:
    """Stages and streams of a folding; all streams still have the least depth."""
    design = Design(network, part, tuple(picks))
    readers = network.readers()
    given: dict[tuple[Layer, int], Stream] = {}
    for layer, choice in zip(network.layers, picks, strict=True):
        inputs = [_converted(design, given[layer, port], lanes) for port, lanes in enumerate(choice.lanes_in)]
        output = Stream(f"{layer.name}_out", layer.output, choice.lanes_out)
        if isinstance(layer, BorderLayer):
            if layer.incoming:
                axis = Stream(f"{layer.name}_in", layer.output, choice.lanes_out)
                design.inputs.append(axis)
                inputs = [axis]
            else:
                design.outputs.append(output)
        stages = layer.stages(choice.config, inputs, output)
        design.stages += stages
        found = [s for stage in stages for s in stage.outputs]
        design.streams += [s for s in found if s not in design.outputs]
        _spread(design, layer.node, output, readers.get(layer.output, []), given)
    return design


def _spread(
    design: Design,
    node: str,
    stream: Stream,
    readers: Sequence[tuple[Layer, int]],
    given: dict[tuple[Layer, int], Stream],
) -> None:
    """Give a stream to its readers, through a fork if there are several."""
    if len(readers) == 1:
        given[readers[0]] = stream
    elif readers:
        copies = [Stream(f"{stream.name}{n}", stream.wire, stream.lanes) for n in range(len(readers))]
        design.stages.append(Fork(f"{stream.name}_fork", node, [stream], copies))
        design.streams += copies
        given.update(zip(readers, copies, strict=True))


def _converted(design: Design, stream: Stream, lanes: int) -> Stream:
    """The stream in words of so many lanes."""
    node = design.producer()[stream].node
    for _, into in conversion_steps(stream.lanes, lanes):
        wider = Stream(f"{stream.name}_x{into}", stream.wire, into)
        design.stages.append(Converter(f"{wider.name}_converter", node, [stream], [wider]))
        design.streams.append(wider)
        stream = wider
    return stream


def timing_problem(design: Design) -> simulate.Problem:
    """The design for the token-cycle simulation; its streams as ``design.streams``."""
    index = {stage: i for i, stage in enumerate(design.stages)}
    producer, consumer = design.producer(), design.consumer()
    links = []
    for stream in design.streams:
        writer, reader = producer[stream], consumer[stream]
        links.append(
            (
                index[writer],
                list(writer.outputs).index(stream),
                index[reader],
                list(reader.inputs).index(stream),
            )
        )
    return simulate.Problem(tuple(stage.schedule() for stage in design.stages), tuple(links))
