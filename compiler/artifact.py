"""The artifact on disk: what a folder holds, its manifest, and writing it whole or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dnncc.errors import OutputError, UnreadableModelError
from dnncc.ir.graph import Graph, Value
from dnncc.ir.text import read_ir, write_ir
from dnncc.ops.fused import operator_name

if TYPE_CHECKING:
    from dnncc.driver import Compilation, Prepared

MANIFEST = "manifest.json"
GRAPH = "graph.ir"


def write_artifact(compilation: Compilation, folder: Path) -> None:
    """Write the artifact of a board to ``folder``, see ``write_folder``."""
    write_folder(Path(folder), lambda place: _fill(compilation, place))


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Write what ``fill`` puts into a folder to ``folder``: everything, or nothing if anything fails.

    An earlier artifact there is replaced; a folder that holds something else is refused.

    Raises:
        OutputError: the folder cannot be written, or is not an artifact's.
    """
    check_writable(folder)
    exists = folder.is_dir()
    temporary: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Inside a folder that exists: it may be a mount point, or the current one, and cannot be exchanged then.
        temporary = Path(tempfile.mkdtemp(prefix=".dnncc-", dir=folder if exists else folder.parent))
        fill(temporary)
        if exists:
            _replace_content(folder, temporary)
        else:
            temporary.chmod(0o755)
            temporary.rename(folder)
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _replace_content(folder: Path, new: Path) -> None:
    """Put what is in ``new`` in the place of the artifact in ``folder``; without a manifest it is none meanwhile.

    Only files that the old manifest lists go: what the user put beside them stays.
    """
    listed = [folder / name for name in load_manifest(folder)["files"]] if _is_artifact(folder) else []
    moves = {path: folder / path.relative_to(new) for path in new.rglob("*") if path.is_file()}
    # What can fail on a full disk comes first; removing and renaming do not need space.
    for place in {target.parent for target in moves.values()}:
        if not place.is_dir():
            place.mkdir(parents=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    for old in listed:
        if folder.resolve() in old.resolve().parents:
            old.unlink(missing_ok=True)
    for path in sorted(moves, key=lambda path: path.name == MANIFEST):
        path.replace(moves[path])
    for place in {old.parent for old in listed} - {folder}:
        if place.is_dir() and not any(place.iterdir()):
            place.rmdir()


def _is_artifact(folder: Path) -> bool:
    """Whether the folder holds a manifest of ours."""
    try:
        return "dnncc" in load_manifest(folder)
    except UnreadableModelError:
        return False


def check_writable(folder: Path) -> None:
    """OutputError if ``write_artifact`` could not write there; leaves nothing behind."""
    choose = "choose another output folder with -o"
    try:
        if folder.is_dir():
            if any(folder.iterdir()) and not _is_artifact(folder):
                raise OutputError(
                    f"{folder} is not empty and holds no artifact of dnncc",
                    help=f"{choose}, or empty this one",
                )
        elif folder.exists() or folder.is_symlink():
            raise OutputError(f"{folder} exists and is no folder", help=choose)
        existing = next(f for f in (folder, *folder.absolute().parents) if f.exists())
        # Permissions do not tell all: the file system may be read-only or full.
        with tempfile.TemporaryDirectory(prefix=".dnncc-", dir=existing):
            pass
    except OSError as error:
        raise OutputError(f"cannot write {folder}: {error.strerror}", help=choose) from error


def load_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an artifact.

    Raises:
        UnreadableModelError: there is none, or it is damaged.
    """
    try:
        manifest = json.loads((Path(folder) / MANIFEST).read_text())
    except FileNotFoundError as error:
        raise UnreadableModelError(
            f"{folder} is no artifact: it has no {MANIFEST}",
            help="dnncc compile MODEL --target T -o DIR makes one",
        ) from error
    except (OSError, ValueError) as error:
        raise UnreadableModelError(f"{Path(folder) / MANIFEST} cannot be read: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("schema") != 1:
        raise UnreadableModelError(f"{Path(folder) / MANIFEST} is not a manifest of this version")
    return manifest


def load_graph(folder: Path) -> Graph:
    """The network's meaning: the integer (or float) graph that the interpreter runs."""
    load_manifest(folder)
    return read_ir(Path(folder) / GRAPH)


def _fill(compilation: Compilation, folder: Path) -> None:
    from dnncc.report import from_compilation, render
    from dnncc.targets.target import target_of

    own = target_of(compilation.board).write(compilation, folder)
    write_text(folder, {"report.html": render(from_compilation(compilation))})
    write_ir(compilation.graph, folder / GRAPH)
    finish(folder, {**manifest_of(compilation), **own})


def finish(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest, with the hashes of all files that are there."""
    written = sorted(p for p in folder.rglob("*") if p.is_file())
    hashes = {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in written}
    text = json.dumps({**manifest, "files": hashes}, indent=1) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def write_text(folder: Path, texts: Mapping[str, str]) -> None:
    """Write files, by their path in the folder."""
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8", newline="\n")


def manifest_of(compilation: Compilation) -> dict[str, Any]:
    """Everything that reproduces and describes a board's artifact, without hashes of its files."""
    from dnncc.planner import summary

    program, plan = compilation.program, compilation.program.plan
    return {
        **shared_manifest(compilation),
        "target": compilation.board.name,
        "core": compilation.board.core,
        "board_sha256": hashlib.sha256(repr(compilation.board).encode()).hexdigest(),
        "tuned_sha256": None
        if compilation.options.tuned is None
        else hashlib.sha256(compilation.options.tuned.read_bytes()).hexdigest(),
        "pools": [
            {"name": a.name, "member": a.member, "macro": a.macro, "bytes": a.bytes, "align": plan.alignment}
            for a in program.arenas
        ],
        "weights_bytes": program.weights_bytes,
        "plan": {
            "status": plan.status,
            "peak_bytes": plan.arena_bytes,
            "bound_bytes": plan.bound_bytes,
            "order_peak_bytes": plan.order_peak_bytes,
            "copied_bytes": plan.copied_bytes,
            **summary(compilation.planning),
        },
        "nodes": [
            {"name": s.node.name, "op": operator_name(s.node), "macs": s.node.macs, "kernel": s.function}
            for s in program.steps
        ],
    }


def shared_manifest(prepared: Prepared) -> dict[str, Any]:
    """The part of a manifest that is the same for every target."""
    from dnncc import __version__

    options, graph = prepared.options, prepared.graph
    return {
        "schema": 1,
        "dnncc": __version__,
        "name": options.name,
        "model": graph.name,
        "model_sha256": prepared.model_hash,
        "dtype": options.dtype,
        "io": options.io,
        "options": _plain(asdict(options)),
        "pipeline": prepared.pipeline,
        "choices": list(prepared.choices),
        "seed": 0,
        "calibrated": prepared.calibrated,
        "rounding": "half_up",
        "inputs": [_border(v) for v in graph.inputs],
        "outputs": [_border(v) for v in graph.outputs],
        "accumulators": {"proven": all(a.proven for a in prepared.accumulators)},
        "macs": graph.macs(),
        "warnings": list(prepared.warnings),
    }


def _border(value: Value) -> dict[str, Any]:
    quantization = value.type.quantization
    return {
        "name": value.name,
        "dtype": value.type.dtype.value,
        "shape": list(value.type.shape),
        "scale": None if quantization is None else value.type.scale,
        "zero_point": 0 if quantization is None else quantization.zero_point,
    }


def _plain(value: Any) -> Any:
    """JSON values only; a path is given by its name, never absolute."""
    if isinstance(value, Path):
        return value.name
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    return value
