"""The project's frame: packaging, imports, the link tree for mypy, and what the README promises to exist."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typecheck

# Libraries that take long to load: `dnncc --help` needs none of them.
HEAVY = {"torch", "tvm", "tvm_ffi", "onnx", "ortools", "onnxruntime", "unicorn", "capstone", "ziglang"}
# Distribution to import name, where the two differ.
IMPORT_NAMES = {
    "protobuf": "google",
    "apache-tvm": "tvm",
    "apache-tvm-ffi": "tvm_ffi",
    "pyelftools": "elftools",
}
FOLDERS = ("compiler", "passes", "targets", "runtime")


@pytest.fixture(scope="module")
def pyproject(repository: Path) -> dict[str, Any]:
    with (repository / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)


@pytest.fixture(scope="module")
def package_folders(pyproject: dict[str, Any], repository: Path) -> dict[str, Path]:
    """Every package found on disk, and its folder."""
    roots: dict[str, str] = pyproject["tool"]["setuptools"]["package-dir"]
    return {
        ".".join([package, *init.parent.relative_to(repository / folder).parts]): init.parent
        for package, folder in roots.items()
        for init in sorted((repository / folder).rglob("__init__.py"))
    }


def run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def tracked_files(repository: Path) -> list[Path]:
    """What git tracks or would track: everything that is neither ignored nor deleted."""
    if shutil.which("git") is None or not (repository / ".git").exists():
        pytest.skip("needs git and a git checkout")
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", folder=repository)
    assert listed.returncode == 0, listed.stderr
    return [path for name in listed.stdout.split("\0") if name and (path := repository / name).is_file()]


def sources(repository: Path) -> list[Path]:
    found = [path for folder in FOLDERS for path in sorted((repository / folder).rglob("*.py"))]
    assert found
    return found


def deferred(node: ast.AST) -> bool:
    """Whether importing a file leaves this part of it out: functions, and what is there for type checkers."""
    if isinstance(node, ast.If):
        return ast.unparse(node.test).endswith("TYPE_CHECKING")
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every absolute import in a file: the dotted module, and whether importing the file executes it."""

    def visit(node: ast.AST, executed: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                yield from ((alias.name, executed) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                if child.level == 0 and child.module:
                    yield child.module, executed
            else:
                yield from visit(child, executed and not deferred(child))

    yield from visit(ast.parse(path.read_text(encoding="utf-8")), True)


def top(module: str) -> str:
    return module.partition(".")[0]


def test_every_package_is_listed(pyproject: dict[str, Any], package_folders: dict[str, Path]) -> None:
    assert sorted(pyproject["tool"]["setuptools"]["packages"]) == sorted(package_folders)


def test_every_source_is_in_a_package(repository: Path, package_folders: dict[str, Path]) -> None:
    folders = set(package_folders.values())
    assert [path for path in sources(repository) if path.parent not in folders] == []


def test_data_files_are_packaged(
    repository: Path, pyproject: dict[str, Any], package_folders: dict[str, Path]
) -> None:
    """An editable install finds every file; a wheel holds only those that package-data names."""
    patterns: dict[str, list[str]] = pyproject["tool"]["setuptools"]["package-data"]
    packaged = {
        path
        for package, globs in patterns.items()
        for glob in globs
        for path in package_folders[package].glob(glob)
    }
    data = [
        path
        for path in tracked_files(repository)
        if path.relative_to(repository).parts[0] in FOLDERS and path.suffix != ".py"
    ]
    assert data
    assert [path for path in data if path not in packaged] == []


def test_imports_are_declared_dependencies(repository: Path, pyproject: dict[str, Any]) -> None:
    """The package imports nothing that `pip install dnncc` or a documented extra would not bring."""
    project = pyproject["project"]
    requirements: list[str] = list(project["dependencies"])
    for extra in ("torch", "emulate"):
        requirements += project["optional-dependencies"][extra]
    distributions = [re.split(r"[^\w.-]", requirement, maxsplit=1)[0] for requirement in requirements]
    allowed = {IMPORT_NAMES.get(name, name) for name in distributions} | sys.stdlib_module_names | {"dnncc"}
    undeclared = {
        (str(path.relative_to(repository)), module)
        for path in sources(repository)
        for module, _ in imports(path)
        if top(module) not in allowed
    }
    assert undeclared == set()


def test_folders_are_not_imported_by_their_names(repository: Path) -> None:
    """`import passes` would load a second copy of dnncc.passes, whose classes are not the same."""
    banned = {
        (str(path.relative_to(repository)), module)
        for path in tracked_files(repository)
        if path.suffix == ".py"
        for module, _ in imports(path)
        if top(module) in FOLDERS
    }
    assert banned == set()


def test_tvm_stays_in_its_package(repository: Path) -> None:
    """Outside targets/lowering, importing a module of ours does not load TVM."""
    strays = {
        str(path.relative_to(repository))
        for path in sources(repository)
        for module, executed in imports(path)
        if executed
        and top(module) in {"tvm", "tvm_ffi"}
        and repository / "targets/lowering" not in path.parents
    }
    assert strays == set()


HELP = f"""
import contextlib, io, sys
from dnncc.cli import main
with contextlib.redirect_stdout(io.StringIO()) as out:
    try:
        status = main(["--help"])
    except SystemExit as stop:
        status = stop.code
assert not status, status
assert "compile" in out.getvalue(), out.getvalue()
print(*(name for name in {sorted(HEAVY)} if name in sys.modules))
"""


def test_help_loads_no_heavy_library(repository: Path) -> None:
    done = run(sys.executable, "-c", HELP, folder=repository)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_no_machine_paths(repository: Path) -> None:
    """No file names a folder of the machine it was written on."""
    folders = "|".join(["work", "home", "root", "Users"])
    pattern = re.compile(rf"((?<![\w.$}})*-])|(?<=-[IL]))/({folders})/".encode())
    files = tracked_files(repository)
    assert [path for path in files if pattern.search(path.read_bytes())] == []


def test_link_tree_follows_the_files(tmp_path: Path) -> None:
    (tmp_path / "compiler").mkdir()
    (tmp_path / "passes").mkdir()
    (tmp_path / "compiler" / "first.py").write_text("first = 1\n")
    (tmp_path / "pyproject.toml").write_text(
        '[tool.setuptools]\npackage-dir = { "dnncc" = "compiler", "dnncc.passes" = "passes" }\n'
    )
    root = typecheck.link_tree(tmp_path) / "dnncc"
    assert (root / "first.py").read_text() == "first = 1\n"

    (tmp_path / "compiler" / "first.py").rename(tmp_path / "compiler" / "second.py")
    (tmp_path / "passes" / "fold.py").write_text("")
    typecheck.link_tree(tmp_path)
    assert sorted(path.name for path in root.iterdir()) == ["passes", "second.py"]
    assert (root / "passes" / "fold.py").is_file()


def commands(document: Path, name: str) -> list[list[str]]:
    """The arguments of every call of `name` in a Markdown document's fenced and indented code."""
    code: list[str] = []
    fenced = False
    for line in document.read_text(encoding="utf-8").splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            code.append(line.strip().removeprefix("$ "))
    joined = "\n".join(code).replace("\\\n", " ")
    calls = [line for line in joined.splitlines() if line.startswith(f"{name} ")]
    return [shlex.split(call, comments=True)[1:] for call in calls]


def test_readme_make_targets_exist(repository: Path) -> None:
    called = commands(repository / "README.md", "make")
    assert ["demo"] in called
    assert ["test"] in called
    for words in called:
        done = run("make", "-n", *words, folder=repository)
        assert done.returncode == 0, f"make {shlex.join(words)}: {done.stderr}"


def test_readme_commands_exist(repository: Path) -> None:
    """Each `dnncc COMMAND --option` of the README is one that `dnncc COMMAND --help` knows."""
    script = "import sys; from dnncc.cli import main; sys.exit(main())"
    called = commands(repository / "README.md", "dnncc")
    assert {words[0] for words in called} >= {"compile", "validate", "bench"}
    for command, *words in called:
        done = run(sys.executable, "-c", script, command, "--help", folder=repository)
        assert done.returncode == 0, f"dnncc {command} --help: {done.stderr}"
        for option in (word.partition("=")[0] for word in words if word.startswith("--")):
            assert re.search(rf"{option}\b", done.stdout), f"dnncc {command} has no {option}"
