"""What many tests share: the digits example, the optional data, and work done once for all workers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

pytest_plugins = ["ir_plugin"]

REPOSITORY = Path(__file__).resolve().parent.parent

# The same examples on every run, and no deadline: neither luck nor a busy machine decides. To explore:
# pytest --hypothesis-profile=default
settings.register_profile("dnncc", deadline=None, derandomize=True, database=None)
settings.load_profile("dnncc")


@dataclass(frozen=True)
class Example:
    """The files of an example: an ONNX model, its calibration samples and its labelled test samples."""

    model: Path
    calibration: Path
    test: Path


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout's root."""
    return REPOSITORY


@pytest.fixture(scope="session")
def digits() -> Example:
    """examples/digits: input `image` [batch, 1, 8, 8], output `logits` [batch, 10], labels `label`."""
    folder = REPOSITORY / "examples" / "digits"
    return Example(folder / "digits.onnx", folder / "calibration.npz", folder / "test.npz")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The optional data: the folder that DNNCC_DATA names, else ../shared/data beside the checkout.

    A test that uses it is skipped where neither is there; a DNNCC_DATA that names no folder is an error.
    """
    named = os.environ.get("DNNCC_DATA")
    if named is not None:
        folder = Path(named)
        if not folder.is_dir():
            pytest.fail(f"DNNCC_DATA={named} is not a folder")
        return folder
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("optional data not found: neither DNNCC_DATA nor ../shared/data beside the checkout")
    return folder


@pytest.fixture(scope="session")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """`built_once(name, build)`: a folder that `build(folder)` fills once per test run, for all workers.

    The same name must always go with the same work, and tests only read the folder. A `build` that raises is
    tried again by the next test that asks.
    """
    base = tmp_path_factory.getbasetemp()
    # Each of pytest-xdist's workers has its own folder inside the run's.
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "built"
    shared.mkdir(exist_ok=True)

    def once(name: str, build: Callable[[Path], object]) -> Path:
        folder, partial = shared / name, shared / f"{name}.partial"
        with FileLock(shared / f"{name}.lock"):
            if not folder.exists():
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir()
                build(partial)
                partial.rename(folder)
        return folder

    return once
