"""The documentation: current, linked, and true. Its commands and its code are run.

``pytest tests/test_docs.py --bless`` writes what the README's commands print now into the README.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from commandline import dnncc
from conftest import Example
from dnncc import docgen
from dnncc.cli.app import load_command
from dnncc.cli.parser import Parser
from dnncc.docgen_importers import import_facts
from dnncc.frontends.onnx_registry import ONNX_OPS
from dnncc.ops.base import OPS, load_all
from dnncc.targets.boards import read_board

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECONDS = re.compile(r"\b\d+\.\d s\b")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))


def blocks(page: Path, language: str) -> list[str]:
    """The fenced code of one language."""
    return [code for kind, code in FENCE.findall(page.read_text(encoding="utf-8")) if kind == language]


def commands(page: Path) -> Iterator[list[str]]:
    """The words of every dnncc command line in code, without the program's name."""
    text = page.read_text(encoding="utf-8")
    inline = re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    for line in [*text.replace("\\\n", " ").splitlines(), *inline]:
        code = line.strip().removeprefix("$ ")
        if code.startswith("dnncc ") and (line != line.lstrip() or line.startswith("$") or line in inline):
            yield shlex.split(code, comments=True)[1:]


@pages
def test_options_exist(page: Path) -> None:
    """Every option of every command in the documentation is one that the command has."""
    for words in commands(page):
        if words[0].startswith("-"):
            assert words[0] in ("--help", "--version")
            continue
        if words[0] in ("COMMAND", "..."):
            continue
        command = load_command(words[0])
        parser = Parser(command.name, command.summary)
        command.add_arguments(parser)
        known = {*parser.options(), "--json", "--help"}
        for word in words[1:]:
            if word.startswith("-"):
                assert word.partition("=")[0] in known, f"dnncc {shlex.join(words)}"


def test_option_tables_are_complete() -> None:
    """docs/cli.md names every option that there is, and none that is not."""
    text = (REPOSITORY / "docs" / "cli.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?<![\w-])(--?[a-z][a-z-]*)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)))
    known: set[str] = set()
    for name in ("compile", "validate", "bench", "run", "explore", "schedule", "tune"):
        command = load_command(name)
        parser = Parser(name, "")
        command.add_arguments(parser)
        known |= set(parser.options())
    short_or_general = {"-h", "--help", "--output"}
    assert known - named - short_or_general == set()
    assert named - known - {"--json"} == set()


@pages
def test_links_resolve(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path) if path else page
        assert linked.exists(), f"{page.name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
            assert anchor in slugs, f"{page.name}: {target}"


@pages
def test_is_reachable_from_the_index(page: Path) -> None:
    seen, queue = set(), [REPOSITORY / "README.md"]
    while queue:
        current = queue.pop()
        if current in seen or not current.is_file() or current.suffix != ".md":
            continue
        seen.add(current)
        links = re.findall(r"\]\(([^)#\s]+)", current.read_text(encoding="utf-8"))
        queue += [(current.parent / link).resolve() for link in links]
    assert page in seen


@pytest.mark.parametrize("name", docgen.PAGES)
def test_generated_pages_are_current(name: str) -> None:
    written = (REPOSITORY / "docs" / name).read_text(encoding="utf-8")
    assert written == docgen.PAGES[name](), "run python -m dnncc.docgen"


def test_docgen_writes_and_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert docgen.main([str(tmp_path), "--check"]) == 1
    assert "operators.md is not current" in capsys.readouterr().err
    assert docgen.main([str(tmp_path)]) == 0
    assert docgen.main([str(tmp_path), "--check"]) == 0


def test_import_facts() -> None:
    load_all()
    conv = import_facts(ONNX_OPS["Conv"])
    assert {"conv2d", "pad", "concat"} <= set(conv.ops)
    # Some are asked for in helper functions, with the name as an argument.
    assert set(conv.attributes) == {"kernel_shape", "strides", "pads", "dilations", "auto_pad", "group"}
    assert "negative pads …" in conv.refused
    assert import_facts(ONNX_OPS["Pad"]).constants >= {1, 2}
    # Operands 0 to 2 in a comprehension; a lambda; neither operators nor constants.
    assert import_facts(ONNX_OPS["Range"]).constants == {0, 1, 2}
    assert import_facts(ONNX_OPS["Add"]).result == "`add`"
    assert import_facts(ONNX_OPS["Identity"]).result == "its operand"
    assert import_facts(ONNX_OPS["Reshape"]).result == "`reshape`"
    assert not import_facts(ONNX_OPS["RoiAlign"]).quantizes


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the examples in it, as the current one."""
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_readme_shows_what_its_commands_print(elsewhere: Path, request: pytest.FixtureRequest) -> None:
    """To the last digit, times apart."""
    readme = REPOSITORY / "README.md"
    text = readme.read_text(encoding="utf-8")
    (shown,) = blocks(readme, "console")
    printed = ""
    for line in shown.splitlines():
        if line.startswith("$ dnncc "):
            result = dnncc(*shlex.split(line)[2:])
            assert result.status == 0, result.err
            printed += f"{line}\n{result.out}"
    if request.config.getoption("--bless", default=False):
        readme.write_text(text.replace(shown, printed), encoding="utf-8")
        return
    assert SECONDS.sub("N s", printed) == SECONDS.sub("N s", shown), "pytest tests/test_docs.py --bless"


@pytest.fixture
def execute(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Sequence[str]], dict[str, Any]]:
    """Runs pieces of Python, one after the other, as one module; returns its names."""

    def run(page: Path, pieces: Sequence[str]) -> dict[str, Any]:
        module = ModuleType(f"page_{page.stem.replace('-', '_')}")
        # Dataclasses look their module up.
        monkeypatch.setitem(sys.modules, module.__name__, module)
        for code in pieces:
            exec(compile(code, page, "exec", dont_inherit=True), module.__dict__)
        return module.__dict__

    return run


def test_python_page_runs(elsewhere: Path, execute: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from dnncc.passes.base import PASSES

    page = REPOSITORY / "docs" / "python.md"
    try:
        execute(page, blocks(page, "python"))
    finally:
        PASSES.pop("my-count-nodes", None)
    printed = capsys.readouterr().out
    assert "(297, 10)" in printed
    assert "stem.conv" in printed
    assert re.search(r"^\d+ nodes$", printed, re.MULTILINE)
    report = (elsewhere / "build" / "report.html").read_text(encoding="utf-8")
    assert "Instructions" in report


def test_operator_page_runs(execute: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its operator agrees with ONNX Runtime, whether or not dnncc has one of that name by now."""
    from onnx_models import check_against_onnxruntime, one_node

    load_all()
    monkeypatch.delitem(OPS, "abs", raising=False)
    monkeypatch.delitem(ONNX_OPS, "Abs", raising=False)
    page = REPOSITORY / "docs" / "add-an-operator.md"
    known_ops, known_onnx = dict(OPS), dict(ONNX_OPS)
    try:
        names = execute(page, blocks(page, "python")[:1])
        graph = check_against_onnxruntime(one_node("Abs", {"x": [2, 3]}))
        assert [n.op.name for n in graph.nodes] == ["abs"]
        assert type(graph.nodes[0].op) is names["Abs"]
    finally:
        OPS.clear()
        OPS.update(known_ops)
        ONNX_OPS.clear()
        ONNX_OPS.update(known_onnx)


def test_board_page_is_a_board(tmp_path: Path) -> None:
    (example,) = blocks(REPOSITORY / "docs" / "add-a-board.md", "toml")
    path = tmp_path / "myboard.toml"
    path.write_text(example, encoding="utf-8")
    board = read_board(path)
    assert (board.core, board.ram.bytes, board.flash.wait_states) == ("cortex-m4", 98_304, 4)


@pytest.fixture
def artifact(digits: Example, built_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """The digits network compiled for a Cortex-M4."""

    def build(folder: Path) -> None:
        result = dnncc(
            "compile",
            digits.model,
            "--target=cortex-m4",
            "--calibrate",
            digits.calibration,
            "-o",
            folder / "net",
        )
        assert result.status == 0, result.err

    return built_once("docs-artifact", build) / "net"


def test_c_of_the_pages_compiles(artifact: Path, tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    readme = blocks(REPOSITORY / "README.md", "c")
    firmware = blocks(REPOSITORY / "docs" / "firmware.md", "c")
    assert len(readme) == 1
    for number, code in enumerate([readme[0], firmware[0], '#include "net.h"\n' + firmware[2]]):
        source = tmp_path / f"page{number}.c"
        source.write_text(code, encoding="utf-8")
        command = [
            compiler,
            "-std=c99",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-fsyntax-only",
            f"-I{artifact}",
            source,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def firmware(artifact: Path, build: Path, *words: str) -> tuple[int, str]:
    """Build and run the example; make's status, and everything that it and QEMU printed."""
    for tool in ("make", "arm-none-eabi-gcc", "qemu-system-arm"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}")
    command = [
        "make",
        "-C",
        REPOSITORY / "examples" / "firmware",
        f"ARTIFACT={artifact}",
        f"BUILD={build}",
        *words,
    ]
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=300)
    return done.returncode, done.stdout + done.stderr  # semihosting prints to either, by QEMU's version


def test_firmware_example(artifact: Path, tmp_path: Path) -> None:
    status, printed = firmware(artifact, tmp_path / "build", "run")
    assert status == 0, printed
    assert "warning" not in printed
    assert "self-test: 0 bytes differ" in printed


def test_firmware_example_profiles(artifact: Path, tmp_path: Path) -> None:
    status, printed = firmware(artifact, tmp_path / "build", "PROFILE=1", "run")
    assert status == 0, printed
    nodes = re.findall(r"^node (\d+): (\d+) ticks$", printed, re.MULTILINE)
    macro = re.search(r"NET_NODES (\d+)u", (artifact / "net.h").read_text(encoding="utf-8"))
    assert macro is not None
    assert [int(n) for n, _ in nodes] == list(range(int(macro[1])))
    assert all(int(ticks) > 0 for _, ticks in nodes)


def test_firmware_example_finds_a_wrong_weight(artifact: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "net"
    shutil.copytree(artifact, wrong)
    path = wrong / "net_weights.c"
    text = path.read_text(encoding="utf-8")
    # The last array is the classifier's.
    head, brace, numbers = text.rpartition("{\n")
    values = re.sub(r"-?\d+", lambda n: str(int(n[0]) // 2), numbers)
    assert values != numbers
    path.write_text(head + brace + values, encoding="utf-8")
    status, printed = firmware(wrong, tmp_path / "build", "run")
    assert status != 0
    found = re.search(r"self-test: (\d+) bytes differ", printed)
    assert found is not None, printed
    assert int(found[1]) > 0


def test_quickstart_samples_are_what_the_model_takes(elsewhere: Path, execute: Any) -> None:
    """The .npz that the page makes is accepted for the digits network."""
    page = REPOSITORY / "docs" / "quickstart.md"
    execute(page, blocks(page, "python"))
    with np.load("calibration.npz") as made, np.load("examples/digits/calibration.npz") as real:
        assert {name: array.shape[1:] for name, array in made.items()} == {
            name: array.shape[1:] for name, array in real.items()
        }
