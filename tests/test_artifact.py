"""The C of an artifact: what every compiler says of it, what it needs, and that it keeps to itself."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dnncc
import networkx
import numpy as np
import pytest
from artifact_models import AWKWARD, awkward_names, branches
from conftest import Example
from dnncc.artifact import load_graph, load_manifest
from dnncc.errors import UsageError
from dnncc.interpreter import interpret
from dnncc.runtime.bundle import Bundle
from dnncc.runtime.compilers import Compiler, find_compiler, first_host_compiler, run_tool
from dnncc.runtime.cores import CORES, get_core
from dnncc.runtime.host import HostModel, run_sanitized
from dnncc.runtime.toolchain import WARNINGS, firmware_flags
from dnncc.validation import made_up
from elftools.elf.elffile import ELFFile
from onnx_models import one_node

PARTS = ("net", "net_weights", "net_selftest")
LIBRARY = {"memcpy", "memset", "memmove"}
COMPILERS = {"gcc": "gcc", "clang": "clang", "gcc-arm": "arm-none-eabi-gcc"}
WRITABLE, ALLOCATED, EXECUTABLE = 0x1, 0x2, 0x4  # flags of ELF sections


@dataclass(frozen=True)
class Tool:
    """A compiler for this machine, or for a core."""

    compiler: str
    core: str = ""

    @property
    def driver(self) -> Compiler:
        return find_compiler(self.compiler)

    @property
    def flags(self) -> tuple[str, ...]:
        return firmware_flags(self.driver, get_core(self.core)) if self.core else ()

    def compile(self, source: Path, output: Path, *options: str) -> None:
        """To an object file, every warning an error."""
        includes = ("-I", str(source.parent))
        arguments = (*self.flags, "-O2", *WARNINGS, *includes, *options, "-c", str(source), "-o", str(output))
        self.driver.run(arguments, output.parent)


def needs(*words: str) -> Any:
    """A parameter that is skipped where the compiler is missing; zig comes from PyPI and is always there."""
    executable = COMPILERS.get(words[0])
    missing = executable is not None and shutil.which(executable) is None
    mark = pytest.mark.skipif(missing, reason=f"{executable} is not installed")
    return pytest.param(Tool(*words), marks=mark, id=" ".join(words))


HOST = [needs("gcc"), needs("clang"), needs("zig")]
FIRMWARE = [needs(compiler, core) for core in CORES for compiler in ("zig", "gcc-arm")]


@pytest.fixture(scope="module", params=["digits", "branches"])
def artifact(
    request: pytest.FixtureRequest,
    digits: Example,
    built_once: Callable[[str, Callable[[Path], object]], Path],
) -> Path:
    """The folder of an artifact named `net`: the digits example, or two inputs, two outputs, a residual, a concat."""

    def build(folder: Path) -> None:
        if request.param == "digits":
            dnncc.compile(digits.model, target="stm32f4", calibrate=digits.calibration, output=folder)
        else:
            dnncc.compile(branches(), target="stm32f4", output=folder)

    return built_once(f"artifact-{request.param}", build)


def objects(tool: Tool, artifact: Path, folder: Path, *options: str) -> dict[str, Path]:
    """Every part compiled."""
    found = {part: folder / f"{part}.o" for part in PARTS}
    for part, output in found.items():
        tool.compile(artifact / f"{part}.c", output, *options)
    return found


@pytest.mark.parametrize("tool", [*HOST, *FIRMWARE])
def test_no_compiler_warns_and_the_linker_has_nothing_to_add(
    tool: Tool, artifact: Path, tmp_path: Path
) -> None:
    """Needed is memcpy and its kin at most, every global carries the network's name, none is ever written."""
    found = objects(tool, artifact, tmp_path)
    if not found["net"].read_bytes().startswith(b"\x7fELF"):
        pytest.skip("compiles without a warning; the host's object files are not ELF")
    network = [found["net"], found["net_weights"]]
    defined = {name for path in network for name in symbols(path, undefined=False)}
    assert lacks(network, tool) - defined <= LIBRARY
    assert defined
    assert [name for name in defined if not name.startswith("net_")] == []
    assert [section for path in network for section in sections(path, ALLOCATED | WRITABLE)] == []
    assert lacks([found["net_selftest"]], tool) <= {*LIBRARY, "net_run"}


def lacks(paths: Sequence[Path], tool: Tool) -> set[str]:
    """Undefined symbols; for a core without the compiler's own helpers for 64-bit integers, switches and memory.

    A helper for a division or a float is none of them: integer networks have neither.
    """
    helpers = re.compile(r"__aeabi_(lmul|l[al]s[lr]|mem(cpy|set|move|clr)[48]?)|__gnu_thumb1_case_\w+")
    found = {name for path in paths for name in symbols(path, undefined=True)}
    return {name for name in found if not (tool.core and helpers.fullmatch(name))}


@pytest.mark.parametrize("tool", HOST)
@pytest.mark.parametrize("first", range(0, len(AWKWARD), 6))
def test_awkward_names_do_not_break_the_c(
    tool: Tool, first: int, tmp_path: Path, built_once: Callable[[str, Callable[[Path], object]], Path]
) -> None:
    def build(folder: Path) -> None:
        dnncc.compile(branches(awkward_names(first)), target="stm32f4", output=folder)

    artifact = built_once(f"artifact-awkward-{first}", build)
    objects(tool, artifact, tmp_path)
    for source in artifact.glob("net*.[ch]"):
        text = source.read_bytes()
        assert text.isascii()
        assert b"\r" not in text
        assert b"\\\n" not in text


@pytest.mark.parametrize("tool", [needs("zig"), needs("gcc")])
def test_the_header_is_a_c_plus_plus_header_too(tool: Tool, artifact: Path, tmp_path: Path) -> None:
    source = tmp_path / "user.cpp"
    source.write_text('#include "net.h"\nint main() { return sizeof(net_t) == 0; }\n')
    includes = ("-I", str(artifact))
    if tool.compiler == "gcc" and shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    tool.driver.run(("-Wall", "-Wextra", "-Werror", *includes, "-c", str(source), "-o", "user.o"), tmp_path)


@pytest.mark.parametrize("tool", [needs("zig", "cortex-m4"), needs("gcc-arm", "cortex-m4")])
def test_the_weights_go_where_the_firmware_wants_them(tool: Tool, artifact: Path, tmp_path: Path) -> None:
    found = objects(tool, artifact, tmp_path, '-DNET_WEIGHTS_ATTR=__attribute__((section(".my_flash")))')
    weights = sections(found["net_weights"], ALLOCATED)
    assert set(weights) == {".my_flash"}
    assert weights[".my_flash"] >= load_manifest(artifact)["weights_bytes"] > 0


@pytest.mark.parametrize(
    "tool", [needs("gcc"), needs("gcc-arm", "cortex-m4"), needs("gcc-arm", "cortex-m0plus")]
)
def test_the_stack_is_known_and_nothing_recurses(tool: Tool, artifact: Path, tmp_path: Path) -> None:
    """From gcc's own account of frames and calls: no frame of run-time size, no cycle, no call of a pointer."""
    tool.compile(artifact / "net.c", tmp_path / "net.o", "-fstack-usage", "-fcallgraph-info=su")
    frames = [line.split("\t") for line in (tmp_path / "net.su").read_text().splitlines()]
    assert [name for name, _, kind in frames if kind != "static"] == []
    account = (tmp_path / "net.ci").read_text()
    calls = re.findall(r'edge: \{ sourcename: "([^"]*)" targetname: "([^"]*)"', account)
    assert len(calls) > 3
    assert networkx.is_directed_acyclic_graph(networkx.DiGraph(calls))
    assert "__indirect_call" not in account


@pytest.mark.parametrize("tool", [needs("gcc"), needs("clang")])
@pytest.mark.parametrize("opt", ["-O0", "-O2"])
def test_the_sanitizers_are_silent(tool: Tool, opt: str, artifact: Path) -> None:
    graph = load_graph(artifact)
    samples = made_up(graph, 4)
    results = run_sanitized(artifact, samples, tool.compiler, opt)
    for sample, outputs in zip(samples, results, strict=True):
        for got, wanted in zip(outputs, interpret(graph, sample), strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_the_selftest_passes_and_can_fail(artifact: Path, tmp_path: Path) -> None:
    assert HostModel(artifact).selftest() == 0
    changed = tmp_path / "net"
    shutil.copytree(artifact, changed)
    source = changed / "net_selftest.c"
    head, name, tail = source.read_text().partition("net_expected0[")
    first = re.compile(r"(= \{\s+\{\s+)(-?\d+)")
    source.write_text(head + name + first.sub(lambda found: found[1] + str(int(found[2]) ^ 1), tail, count=1))
    assert HostModel(changed).selftest() == 1


def test_two_networks_in_one_program(digits: Example, tmp_path: Path) -> None:
    """Different names, one program: both run, both self-tests pass, and neither takes what it must not."""
    dnncc.compile(
        digits.model, target="stm32f4", calibrate=digits.calibration, name="one", output=tmp_path / "a"
    )
    dnncc.compile(branches(), target="stm32f4", name="Two_2", output=tmp_path / "b")
    (tmp_path / "main.c").write_text(TWO_NETWORKS)
    sources = [
        *sorted((tmp_path / "a").glob("*.c")),
        *sorted((tmp_path / "b").glob("*.c")),
        tmp_path / "main.c",
    ]
    assert len(sources) == 7
    program = tmp_path / "program"
    words = ("-I", str(tmp_path / "a"), "-I", str(tmp_path / "b"), *map(str, sources), "-o", str(program))
    first_host_compiler().run((*WARNINGS, "-O1", *words), tmp_path)
    printed = run_tool((str(program),), tmp_path, "the program").split()
    assert [int(word) for word in printed[:8]] == [0, 0, 0, 0, 1, 1, 1, 1]
    outputs = np.array([int(word) for word in printed[8:]], np.int8)
    expected = []
    for folder in ("a", "b"):
        graph = load_graph(tmp_path / folder)
        zeros = [np.zeros(v.type.shape, np.int8) for v in graph.inputs]
        expected += [output.reshape(-1) for output in interpret(graph, zeros)]
    np.testing.assert_array_equal(outputs, np.concatenate(expected))


TWO_NETWORKS = """\
#include "one.h"
#include "Two_2.h"
#include <stdio.h>

static uint32_t arena[(ONE_ARENA_SIZE > TWO_2_ARENA_SIZE ? ONE_ARENA_SIZE : TWO_2_ARENA_SIZE) / 4 + 2];
static int8_t zeros[ONE_INPUT_SIZE > TWO_2_INPUT_0_SIZE ? ONE_INPUT_SIZE : TWO_2_INPUT_0_SIZE];
static int8_t out[ONE_OUTPUT_SIZE], map[TWO_2_OUTPUT_0_SIZE], classes[TWO_2_OUTPUT_1_SIZE];

static void show(const int8_t *values, unsigned count) {
    unsigned i;
    for (i = 0; i < count; ++i) printf("%d\\n", values[i]);
}

int main(void) {
    const one_t one = {arena}, nowhere = {0}, odd = {(uint8_t *)arena + 1};
    const Two_2_t two = {arena};
    printf("%d %d\\n", one_selftest(&one), Two_2_selftest(&two));
    printf("%d %d\\n", one_run(&one, zeros, out), Two_2_run(&two, zeros, zeros, map, classes));
    printf("%d %d\\n", one_run(0, zeros, out) != 0, one_run(&nowhere, zeros, out) != 0);
    printf("%d %d\\n", one_run(&odd, zeros, out) != 0, Two_2_run(&two, zeros, 0, map, classes) != 0);
    show(out, sizeof out);
    show(map, sizeof map);
    show(classes, sizeof classes);
    return 0;
}
"""


# Each would be a header or a type of C, or clash with our own; the last ones merely look like it.
CLASHING = (
    *("dnncc", "DNNCC", "int8", "uint64", "size", "ptrdiff", "wchar"),
    *("string", "stdint", "stddef", "math", "time"),
)
HARMLESS = ("in", "arena", "memcpy", "NULL", "DNNCC_OK", "class", "Int8")


@pytest.mark.parametrize("name", [*CLASHING, *HARMLESS])
def test_a_name_is_refused_or_works(name: str, tmp_path: Path) -> None:
    """Beside the C library's headers, with the artifact's folder in front of them."""
    folder = tmp_path / "net"
    relu = one_node("Relu", {"x": [1, 4]})
    if name in CLASHING:
        try:
            dnncc.compile(relu, target="stm32f4", name=name, output=folder)
        except UsageError as error:
            assert f"'{name}'" in str(error)
            assert not folder.exists()
            return
    else:
        dnncc.compile(relu, target="stm32f4", name=name, output=folder)
    headers = (
        "stdio",
        "stdlib",
        "string",
        "math",
        "limits",
        "errno",
        "time",
        "signal",
        "stddef",
        "stdint",
        "wchar",
    )
    includes = "".join(f"#include <{header}.h>\n" for header in headers)
    user = folder / "user.c"
    user.write_text(
        f'{includes}#include "{name}.h"\nint main(void) {{ return (int)(sizeof({name}_t) + sqrt(4.0)) == 0; }}\n'
    )
    for source in folder.glob("*.c"):
        Tool("zig").compile(source, tmp_path / f"{source.stem}.o")


@pytest.mark.parametrize("model", ["digits", "branches"])
def test_float_borders(model: str, digits: Example, tmp_path: Path) -> None:
    """--io float32: the same integers inside, the conversion at the border."""
    given: Any = digits.model if model == "digits" else branches()
    samples = digits.calibration if model == "digits" else None
    whole = dnncc.compile(given, target="stm32f4", calibrate=samples, output=tmp_path / "int8")
    dnncc.compile(given, target="stm32f4", calibrate=samples, io="float32", output=tmp_path / "float32")
    bundle = Bundle.open(tmp_path / "float32")
    assert {port.dtype for port in (*bundle.inputs, *bundle.outputs)} == {"f32"}
    assert dnncc.validate(tmp_path / "float32", on="host").match
    assert dnncc.validate(tmp_path / "float32", on="emulator", samples=3).match
    rng = np.random.default_rng(1)
    inputs = {
        v.name: rng.normal(0, 64 * (v.type.scale or 0), (5, *v.type.shape[1:])).astype(np.float32)
        for v in whole.graph.inputs
    }
    as_integers = dnncc.run(tmp_path / "int8", inputs, on="host")
    as_floats = dnncc.run(tmp_path / "float32", inputs, on="host")
    assert as_floats.keys() == as_integers.keys()
    for name, values in as_floats.items():
        np.testing.assert_array_equal(values, as_integers[name])
    objects(Tool("zig", "cortex-m4"), tmp_path / "float32", tmp_path)


def sections(path: Path, flags: int) -> dict[str, int]:
    """Bytes of every section that has all these flags and is not empty; code apart."""
    with path.open("rb") as file:
        return {
            section.name: section["sh_size"]
            for section in ELFFile(file).iter_sections()
            if section["sh_flags"] & flags == flags
            and section["sh_size"]
            and not section["sh_flags"] & EXECUTABLE
            and not section.name.startswith((".eh_frame", ".ARM", ".note"))
        }


def symbols(path: Path, undefined: bool) -> Iterator[str]:
    """The global symbols that an object lacks, or defines."""
    with path.open("rb") as file:
        for symbol in ELFFile(file).get_section_by_name(".symtab").iter_symbols():
            outside = symbol["st_info"]["bind"] != "STB_LOCAL"
            if symbol.name and outside and (symbol["st_shndx"] == "SHN_UNDEF") == undefined:
                yield symbol.name
