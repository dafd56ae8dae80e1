"""The folder of an artifact: the same bytes for the same input, whole or not at all, nothing of this machine in it."""

from __future__ import annotations

import errno
import hashlib
import html.parser
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dnncc
import pytest
from artifact_models import AWKWARD, awkward_names, branches
from conftest import REPOSITORY, Example
from dnncc.artifact import load_graph, load_manifest, write_artifact
from dnncc.driver import Compilation
from dnncc.errors import OutputError

Build = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="module")
def compilation(digits: Example) -> Compilation:
    return dnncc.compile(digits.model, target="stm32f4", calibrate=digits.calibration)


def content(folder: Path) -> dict[str, bytes]:
    """Every file by its path inside the folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def is_whole(folder: Path) -> bool:
    """Whether every file is there that the manifest lists, with the bytes that it lists, and no other."""
    listed: dict[str, str] = load_manifest(folder)["files"]
    found = content(folder)
    del found["manifest.json"]
    return listed == {name: hashlib.sha256(data).hexdigest() for name, data in found.items()}


def test_the_same_input_gives_the_same_bytes(digits: Example, tmp_path: Path) -> None:
    """Whatever Python's hash seed, the current folder, the place of the model and the output, the locale, the hour."""
    runs = []
    for seed, zone in (("0", "UTC"), ("1", "Pacific/Kiritimati")):
        home = tmp_path / f"home{seed}"
        home.mkdir()
        model = home / "digits.onnx"
        model.write_bytes(digits.model.read_bytes())
        words = (
            "compile",
            model.name,
            "--target",
            "stm32f4",
            "--calibrate",
            str(digits.calibration),
            "-o",
            "out",
        )
        environment = os.environ | {"PYTHONHASHSEED": seed, "TZ": zone, "HOME": str(home)}
        done = subprocess.Popen([sys.executable, "-m", "dnncc", *words], cwd=home, env=environment)
        runs.append((home / "out", done))
    assert [done.wait() for _, done in runs] == [0, 0]
    first, second = (content(folder) for folder, _ in runs)
    assert len(first) > 10
    assert [name for name in {**first, **second} if first.get(name) != second.get(name)] == []


def test_so_does_the_branching_network(tmp_path: Path) -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import dnncc, artifact_models;"
        "dnncc.compile(artifact_models.branches(), target='stm32f4', output=sys.argv[2])"
    )
    tests = str(Path(__file__).parent)
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", script, tests, str(tmp_path / seed)],
            env=os.environ | {"PYTHONHASHSEED": seed},
        )
        for seed in ("3", "4")
    ]
    assert [run.wait() for run in runs] == [0, 0]
    assert content(tmp_path / "3") == content(tmp_path / "4")


def test_the_manifest_is_complete(compilation: Compilation, tmp_path: Path) -> None:
    write_artifact(compilation, tmp_path / "net")
    assert is_whole(tmp_path / "net")


def test_nothing_tells_of_this_machine(digits: Example, tmp_path: Path) -> None:
    """No absolute path, no time, in any file."""
    folder = tmp_path / "net"
    dnncc.compile(
        str(digits.model),
        target="stm32f4",
        calibrate=str(digits.calibration),
        dump_ir=tmp_path / "dumps",
        output=folder,
    )
    for path, value in leaves(json.loads((folder / "manifest.json").read_text())):
        if isinstance(value, str):
            assert not value.startswith(("/", "~", "\\")), path
            assert not re.search(r"\d{4}-\d\d-\d\d|\d\d:\d\d:\d\d|:[\\/]", value), path
        assert not re.search(r"time$|date$|seconds|host|user", path, re.IGNORECASE) or value is None, path
    private = [str(tmp_path), str(REPOSITORY), str(Path.home()), os.uname().nodename]
    for name, data in content(folder).items():
        for word in private:
            assert word in ("/", "localhost") or word.encode() not in data, (name, word)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of a JSON document, with where it is."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}/{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, f"{path}/")
    else:
        yield path, value


class Disk:
    """A file system that fails at the n-th file written or renamed: "no space left on device"."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fails_at: int) -> None:
        self.operations = 0
        self._fails_at = fails_at
        for method in ("open", "mkdir"):
            self._wrap(monkeypatch, method, getattr(Path, method))

    def _wrap(self, monkeypatch: pytest.MonkeyPatch, name: str, method: Callable[..., Any]) -> None:
        def wrapped(path: Path, *words: Any, **options: Any) -> Any:
            writes = name == "mkdir" or any("w" in str(word) for word in (*words, options.get("mode", "")))
            if writes:
                self.operations += 1
                if self.operations == self._fails_at:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return method(path, *words, **options)

        monkeypatch.setattr(Path, name, wrapped)


@pytest.mark.parametrize("before", ["nothing", "an empty folder", "an artifact"])
def test_a_full_disk_leaves_what_was_there(
    before: str, compilation: Compilation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it happens while the artifact is written."""
    folder = tmp_path / "place" / "net"
    folder.parent.mkdir()
    if before == "an empty folder":
        folder.mkdir()
    if before == "an artifact":
        write_artifact(compilation, folder)
    earlier = content(tmp_path)
    fails_at = 0
    while True:
        fails_at += 1
        with monkeypatch.context() as patch:
            disk = Disk(patch, fails_at)
            try:
                write_artifact(compilation, folder)
                break
            except OutputError as error:
                assert "No space left on device" in str(error)
        assert disk.operations == fails_at
        assert content(tmp_path) == earlier
        assert folder.exists() == (before != "nothing")
        assert [path.name for path in folder.parent.iterdir()] == [folder.name] * folder.exists()
    assert fails_at > 8  # as many files were written
    assert is_whole(folder)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_file_that_may_not_grow(digits: Example, tmp_path: Path) -> None:
    """The real thing, of the operating system's making: one message, its exit code, and no trace."""
    resource = pytest.importorskip("resource", reason="limits are those of POSIX")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    folder = tmp_path / "net"
    words = ("compile", digits.model, "--target", "stm32f4", "--calibrate", digits.calibration, "-o", folder)
    done = subprocess.run(
        [sys.executable, "-m", "dnncc", *map(str, words)],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""
    assert f"cannot write {folder}: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == OutputError.exit_code
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_folder_is_refused(compilation: Compilation, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match="holds no artifact"):
        write_artifact(compilation, folder)
    assert content(tmp_path) == {"net/thesis.tex": b"years of work"}
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError, match="is no folder"):
        write_artifact(compilation, tmp_path / "file")
    with pytest.raises(OutputError, match="cannot write"):
        write_artifact(compilation, tmp_path / "file" / "net")
    assert (tmp_path / "file").read_text() == "no folder"


def test_somebody_elses_manifest_is_no_artifact(compilation: Compilation, tmp_path: Path) -> None:
    """Web extensions, package managers and others have a manifest.json too: their folders are not ours to empty."""
    folder = tmp_path / "extension"
    folder.mkdir()
    (folder / "manifest.json").write_text('{"manifest_version": 3, "name": "mine"}')
    (folder / "background.js").write_text("years of work")
    with pytest.raises(OutputError, match="holds no artifact"):
        write_artifact(compilation, folder)
    assert (folder / "background.js").read_text() == "years of work"


def test_what_the_user_put_beside_the_artifact_stays(compilation: Compilation, tmp_path: Path) -> None:
    """A rewritten artifact is the new one, whole, and what was not dnncc's is not deleted."""
    folder = tmp_path / "net"
    write_artifact(compilation, folder)
    (folder / "notes.txt").write_text("mine")
    (folder / "net.c").write_text("changed")
    try:
        write_artifact(compilation, folder)
    except OutputError:
        assert (folder / "net.c").read_text() == "changed"  # refused: nothing at all has happened
    else:
        assert (folder / "net.c").read_text() != "changed"
    assert (folder / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("first", range(0, len(AWKWARD), 6))
def test_awkward_names_survive(first: int, tmp_path: Path) -> None:
    """Through graph, manifest, C, report and back: the artifact runs, and calls its inputs what the model does."""
    model = branches(awkward_names(first))
    plain = dnncc.compile(branches(), target="stm32f4", output=tmp_path / "plain")
    dnncc.compile(model, target="stm32f4", output=tmp_path / "net")
    names = [port.name for port in (*model.graph.input, *model.graph.output)]
    manifest = load_manifest(tmp_path / "net")
    assert [port["name"] for port in manifest["inputs"] + manifest["outputs"]] == names
    graph = load_graph(tmp_path / "net")
    assert [value.name for value in (*graph.inputs, *graph.outputs)] == names
    assert dnncc.validate(tmp_path / "net", on="interpreter").match
    assert dnncc.validate(tmp_path / "net", on="host").match
    assert len(graph.nodes) == len(plain.graph.nodes)
    page, plain_page = (
        Page((tmp_path / n / "report.html").read_text(encoding="utf-8")) for n in ("net", "plain")
    )
    assert page.tags == plain_page.tags


class Page(html.parser.HTMLParser):
    """Which elements a page has, by how often."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: dict[str, int] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: object) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
