"""The build files of a C artifact, tried with the real tools on two tiny networks in one firmware."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from dnncc.targets.c_build import build_files, cmake_target

FIRMWARE = """#include <stdio.h>
#include "one.h"
#include "test.h"
int main(void) {
    printf("%d %d\\n", one_run(), test_run());
    return 0;
}
"""


def need(tool: str) -> str:
    path = shutil.which(tool)
    if path is None:
        pytest.skip(f"needs {tool}")
    return path


def run(*command: str | Path, folder: Path) -> str:
    done = subprocess.run([*map(str, command)], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def write_network(folder: Path, name: str, weight: int) -> None:
    """An artifact of two sources; its run function returns the weight, the other file's constant."""
    macro = name.upper()
    texts = {
        f"{name}.h": f"#ifndef {macro}_WEIGHTS_ATTR\n#define {macro}_WEIGHTS_ATTR\n#endif\n"
        f"int {name}_run(void);\n",
        f"{name}.c": f'#include "{name}.h"\nextern const int {name}_w;\n'
        f"int {name}_run(void) {{ return {name}_w; }}\n",
        f"{name}_weights.c": f'#include "{name}.h"\nextern const int {name}_w;\n'
        f"const int {name}_w {macro}_WEIGHTS_ATTR = {weight};\n",
    }
    texts |= build_files(name, [f"{name}.c", f"{name}_weights.c"], [f"{name}.h"])
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


@pytest.fixture
def firmware(tmp_path: Path) -> Path:
    """A folder with main.c and the networks `one` and `test`, the latter a name that CMake reserves."""
    (tmp_path / "main.c").write_text(FIRMWARE)
    write_network(tmp_path / "nets" / "one", "one", 7)
    write_network(tmp_path / "nets" / "test", "test", 11)
    return tmp_path


def test_names_are_checked() -> None:
    for name, sources, headers in (
        ("a b", ["a.c"], ["a.h"]),
        ("a", ["../a.c"], ["a.h"]),
        ("a", ["a.c"], ["a.c"]),
        ("a", [], ["a.h"]),
        ("a", ['a").c'], ["a.h"]),
    ):
        with pytest.raises(ValueError, match=r"artifact|identifier|file name"):
            build_files(name, sources, headers)


def test_platformio_manifest() -> None:
    files = build_files("My__net_", ["a.c", "b.c"], ["My__net_.h", "dnncc.h"])
    document = json.loads(files["library.json"])
    # PlatformIO's rule for names: lower-case letters, digits and single dashes inside.
    assert document["name"] == "dnncc-my-net"
    assert document["headers"] == "My__net_.h"
    assert document["build"] == {"srcDir": ".", "includeDir": ".", "srcFilter": ["-<*>", "+<a.c>", "+<b.c>"]}


def test_zephyr_module_points_at_its_files() -> None:
    files = build_files("net", ["net.c"], ["net.h"])
    assert "  cmake: zephyr\n" in files["zephyr/module.yml"]
    assert "  kconfig: zephyr/Kconfig\n" in files["zephyr/module.yml"]
    assert {"zephyr/CMakeLists.txt", "zephyr/Kconfig"} <= set(files)
    # A bare `no`, `on` or `null` would be no string to YAML.
    assert '\nname: "dnncc_net"\n' in files["zephyr/module.yml"]


def test_cmake_subdirectories(firmware: Path) -> None:
    """Two networks in one firmware, one with its weights in a section."""
    cmake = need("cmake")
    need("cc")
    assert cmake_target("one") == "one"
    section = 'TEST_WEIGHTS_ATTR=__attribute__((section(\\".flash2\\")))'
    (firmware / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13)\nproject(firmware C)\n"
        "add_subdirectory(nets/one one)\nadd_subdirectory(nets/test test)\n"
        f'target_compile_definitions({cmake_target("test")} PRIVATE "{section}")\n'
        "add_executable(firmware main.c)\n"
        f"target_link_libraries(firmware PRIVATE one {cmake_target('test')})\n"
    )
    run(cmake, "-S", ".", "-B", "build", folder=firmware)
    run(cmake, "--build", "build", folder=firmware)
    assert run("build/firmware", folder=firmware) == "7 11\n"
    assert b".flash2" in (firmware / "build" / "firmware").read_bytes()


def test_cmake_standalone(firmware: Path) -> None:
    cmake = need("cmake")
    need("cc")
    run(cmake, "-S", "nets/one", "-B", "build", folder=firmware)
    run(cmake, "--build", "build", folder=firmware)
    assert list((firmware / "build").glob("*one.*")) != []


def test_zephyr_cmake(firmware: Path) -> None:
    """The module's CMake file with Zephyr's commands stood in for by what they are documented to do."""
    cmake = need("cmake")
    need("cc")
    (firmware / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\nproject(firmware C)\n"
        "function(zephyr_library_named name)\n  add_library(${name} STATIC)\n"
        "  set(ZEPHYR_CURRENT_LIBRARY ${name} PARENT_SCOPE)\nendfunction()\n"
        "function(zephyr_library_sources)\n"
        "  target_sources(${ZEPHYR_CURRENT_LIBRARY} PRIVATE ${ARGN})\nendfunction()\n"
        "add_library(zephyr_interface INTERFACE)\nfunction(zephyr_include_directories)\n"
        "  target_include_directories(zephyr_interface INTERFACE ${ARGN})\nendfunction()\n"
        "set(CONFIG_DNNCC_ONE y)\nset(CONFIG_DNNCC_TEST y)\n"
        "add_subdirectory(nets/one/zephyr one)\nadd_subdirectory(nets/test/zephyr two)\n"
        "add_executable(app main.c)\n"
        "target_link_libraries(app PRIVATE zephyr_interface dnncc_one dnncc_test)\n"
    )
    run(cmake, "-S", ".", "-B", "build", folder=firmware)
    run(cmake, "--build", "build", folder=firmware)
    assert run("build/app", folder=firmware) == "7 11\n"


def test_make_fragment(firmware: Path) -> None:
    make = need("make")
    need("cc")
    (firmware / "Makefile").write_text(
        "include nets/one/one.mk nets/test/test.mk\n"
        "firmware: main.c $(ONE_SOURCES) $(TEST_SOURCES)\n"
        "\tcc $(ONE_CFLAGS) $(TEST_CFLAGS) $^ -o $@\n"
    )
    run(make, folder=firmware)
    assert run("./firmware", folder=firmware) == "7 11\n"
