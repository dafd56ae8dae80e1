"""The C++ of a design: header, constants, top function, testbench, and the Tcl script for the vendor's tool."""

from __future__ import annotations

import numpy as np
from dnncc.ir.types import Array, DType
from dnncc.targets.hls.network import Port
from dnncc.targets.hls.pipeline import Design
from dnncc.targets.hls.resources import fifo_style
from dnncc.targets.hls.stages.base import Rom, Stage, Stream
from dnncc.targets.hls.stages.movement import Border

_C_TYPES = {
    DType.I8: "int8_t",
    DType.U8: "uint8_t",
    DType.I16: "int16_t",
    DType.U16: "uint16_t",
    DType.I32: "int32_t",
    DType.U32: "uint32_t",
}
_PER_LINE = 24


def header(design: Design) -> str:
    """NAME.h: the top function."""
    name = design.network.name
    guard = f"{name.upper()}_H"
    ports = [
        f"// {kind} {index}: '{port.name}', {port.type.dtype.value}{list(port.type.shape)}, "
        + (f"transposed by {list(port.order)}, " if list(port.order) != sorted(port.order) else "")
        + f"{stream.words} beats of {stream.lanes} elements"
        for kind, found in (("in", _ports(design, True)), ("out", _ports(design, False)))
        for index, (port, stream) in enumerate(found)
    ]
    lines = "\n".join(ports)
    return (
        f"// One frame per call.\n{lines}\n#ifndef {guard}\n#define {guard}\n\n"
        f'#include "dnncc_hls.h"\n\n{_signature(design)};\n\n#endif\n'
    )


def weights(design: Design) -> str:
    """NAME_weights.h: the constant arrays."""
    arrays = [_rom(stage, rom) for stage in design.stages for rom in stage.roms()]
    guard = f"{design.network.name.upper()}_WEIGHTS_H"
    return f'#ifndef {guard}\n#define {guard}\n\n#include "dnncc_hls.h"\n\n' + (
        "\n".join(arrays) + "\n#endif\n"
    )


def top(design: Design) -> str:
    """NAME.cpp: the stages that the library does not have, and the pipeline."""
    name = design.network.name
    definitions = "\n".join(d for stage in design.stages if (d := stage.definition()))
    streams = "\n".join(_declaration(stream) for stream in design.streams)
    ports = [stream.name for stream in (*design.inputs, *design.outputs)]
    pragmas = "\n".join(f"#pragma HLS interface axis port={port}" for port in ports)
    calls = "\n".join(_call(design, stage) for stage in design.stages)
    return (
        f'#include "{name}.h"\n\n#include "{name}_weights.h"\n\n{definitions}\n{_signature(design)} {{\n'
        f"{pragmas}\n#pragma HLS interface ap_ctrl_chain port=return\n#pragma HLS dataflow\n{streams}\n\n{calls}\n"
        "  DNNCC_RUN()\n}\n"
    )


def testbench(design: Design) -> str:
    """NAME_testbench.cpp: frames from files through the top function; ends with 1 if a value differs."""
    name = design.network.name
    inputs = "\n".join(
        f'  static dnncc::stream<{_beat(s, p.type.dtype)}> in{i}("in{i}");\n'
        f'  const auto given{i} = load<{_C_TYPES[p.type.dtype]}>(folder + "/in{i}.bin");'
        for i, (p, s) in enumerate(_ports(design, True))
    )
    outputs = "\n".join(
        f'  static dnncc::stream<{_beat(s, p.type.dtype)}> out{i}("out{i}");\n'
        f'  const auto wanted{i} = load<{_C_TYPES[p.type.dtype]}>(folder + "/out{i}.bin");\n'
        f"  std::vector<{_C_TYPES[p.type.dtype]}> found{i};"
        for i, (p, s) in enumerate(_ports(design, False))
    )
    sends = "\n".join(
        f"      send<{s.words}, {s.lanes}>(given{i}, frame, in{i});"
        for i, (_, s) in enumerate(_ports(design, True))
    )
    takes = "\n".join(
        f"      take<{s.words}, {s.lanes}>(found{i}, out{i});"
        for i, (_, s) in enumerate(_ports(design, False))
    )
    arguments = ", ".join(
        [f"in{i}" for i in range(len(design.inputs))] + [f"out{i}" for i in range(len(design.outputs))]
    )
    first = design.inputs[0]
    compares = "\n".join(f"  wrong += differing(found{i}, wanted{i});" for i in range(len(design.outputs)))
    stores = "\n".join(
        f'    store(std::string(arguments[2]) + "/out{i}.bin", found{i});' for i in range(len(design.outputs))
    )
    return _TESTBENCH.format(
        name=name,
        inputs=inputs,
        outputs=outputs,
        sends=sends,
        takes=takes,
        arguments=arguments,
        frame=first.words * first.lanes,
        compares=compares,
        stores=stores,
    )


def script(design: Design) -> str:
    """run_hls.tcl: simulation, synthesis, export."""
    name, part = design.network.name, design.part
    return f"""# vitis_hls -f run_hls.tcl
open_project -reset {name}_hls
set_top {name}
add_files {name}.cpp -cflags "-I."
add_files -tb {name}_testbench.cpp -cflags "-I."
add_files -tb vectors
open_solution -reset {part.name} -flow_target vivado
set_part {part.device}
create_clock -period {part.clock_ns:g} -name default
csim_design
csynth_design
cosim_design
export_design -format ip_catalog
exit
"""


def _ports(design: Design, incoming: bool) -> list[tuple[Port, Stream]]:
    if incoming:
        return list(zip(design.network.inputs, design.inputs, strict=True))
    return list(zip(design.network.outputs, design.outputs, strict=True))


def _beat(stream: Stream, dtype: DType) -> str:
    return f"ap_axiu<{stream.lanes * 8 * dtype.bytes}, 0, 0, 0>"


def _signature(design: Design) -> str:
    parameters = [
        f"dnncc::stream<{_beat(stream, port.type.dtype)}> &{stream.name}"
        for incoming in (True, False)
        for port, stream in _ports(design, incoming)
    ]
    return f"void {design.network.name}({', '.join(parameters)})"


def _declaration(stream: Stream) -> str:
    impl = fifo_style(stream.bits, stream.depth)
    return (
        f'  dnncc::fifo<{stream.c_word}, {stream.depth}> {stream.name}("{stream.name}");\n'
        f"#pragma HLS aggregate variable={stream.name} compact=bit\n"
        f"#pragma HLS stream variable={stream.name} depth={stream.depth}\n"
        f"#pragma HLS bind_storage variable={stream.name} type=fifo impl={impl}"
    )


def _call(design: Design, stage: Stage) -> str:
    records = [
        f"  DNNCC_RECORD({stream.name})"
        for stream in stage.outputs
        if not stream.internal and stream not in design.outputs
    ]
    return "\n".join([f"  DNNCC_STAGE({stage.call()});  // {_comment(stage)}", *records])


def _comment(stage: Stage) -> str:
    node = "".join(c if c.isprintable() and c != "\\" else "_" for c in stage.node)
    return f"{'AXI' if isinstance(stage, Border) else stage.kind} of {node}"


def _rom(stage: Stage, rom: Rom) -> str:
    data = np.ascontiguousarray(rom.data)
    shape = "".join(f"[{n}]" for n in data.shape)
    rows = data.reshape(-1, data.shape[-1])
    text = _nested(data) if data.ndim > 1 else _row(rows[0])
    kind = f"dnncc::{'rom' if rom.number.signed else 'urom'}<{rom.number.bits}>"
    return f"static const {kind} {stage.rom_name(rom.suffix)}{shape} = {text};\n"


def _nested(data: Array) -> str:
    if data.ndim == 1:
        return _row(data)
    return "{" + ",\n".join(_nested(part) for part in data) + "}"


def _row(values: Array) -> str:
    texts = [str(int(v)) for v in values]
    lines = [", ".join(texts[i : i + _PER_LINE]) for i in range(0, len(texts), _PER_LINE)]
    return "{" + ",\n ".join(lines) + "}"


_TESTBENCH = """\
// Sends the frames in FOLDER/in*.bin (default: vectors) through {name}() and compares with FOLDER/out*.bin.
// usage: testbench [FOLDER [RESULTS]]
#include "{name}.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

template <typename T> static std::vector<T> load(const std::string &path) {{
  std::ifstream file(path, std::ios::binary);
  if (!file) {{
    std::printf("cannot read %s\\n", path.c_str());
    std::exit(2);
  }}
  const std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  const T *first = reinterpret_cast<const T *>(bytes.data());
  return std::vector<T>(first, first + bytes.size() / sizeof(T));
}}

template <typename T> static void store(const std::string &path, const std::vector<T> &values) {{
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char *>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(T)));
}}

template <int WORDS, int LANES, typename T, typename S>
static void send(const std::vector<T> &values, int frame, S &stream) {{
  const int bits = 8 * sizeof(T);
  for (int word = 0; word < WORDS; ++word) {{
    ap_axiu<LANES * 8 * sizeof(T), 0, 0, 0> beat;
    for (int lane = 0; lane < LANES; ++lane) {{
      const ap_int<8 * sizeof(T)> raw = values[(frame * WORDS + word) * LANES + lane];
      beat.data.range((lane + 1) * bits - 1, lane * bits) = raw;
    }}
    beat.keep = -1;
    beat.strb = -1;
    beat.last = word == WORDS - 1;
    stream.write(beat);
  }}
}}

template <int WORDS, int LANES, typename T, typename S> static void take(std::vector<T> &values, S &stream) {{
  const int bits = 8 * sizeof(T);
  for (int word = 0; word < WORDS; ++word) {{
    if (stream.empty()) {{
      std::printf("a result is missing\\n");
      std::exit(1);
    }}
    const ap_axiu<LANES * 8 * sizeof(T), 0, 0, 0> beat = stream.read();
    if (beat.last != (word == WORDS - 1)) std::printf("TLAST is wrong\\n");
    for (int lane = 0; lane < LANES; ++lane) {{
      const ap_uint<8 * sizeof(T)> raw = beat.data.range((lane + 1) * bits - 1, lane * bits);
      values.push_back(static_cast<T>(raw.to_uint64()));
    }}
  }}
}}

template <typename T> static int differing(const std::vector<T> &found, const std::vector<T> &wanted) {{
  int count = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) count += i >= found.size() || found[i] != wanted[i];
  return count;
}}

int main(int count, char **arguments) {{
  const std::string folder = count > 1 ? arguments[1] : "vectors";
{inputs}
{outputs}
  const int frames = static_cast<int>(given0.size() / {frame});
#ifdef DNNCC_HLS_BOUNDED
  dnncc::frames() = frames;
  for (int frame = 0; frame < frames; ++frame) {{
{sends}
  }}
  {name}({arguments});
  for (int frame = 0; frame < frames; ++frame) {{
{takes}
  }}
#else
  for (int frame = 0; frame < frames; ++frame) {{
{sends}
    {name}({arguments});
{takes}
  }}
#endif
  int wrong = 0;
{compares}
  if (count > 2) {{
{stores}
  }}
  std::printf("%d frames, %d values differ\\n", frames, wrong);
  return wrong != 0;
}}
"""
