"""The contract of sample files: what fits, and that everything that does not is named at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dnncc.calibration import load_samples, synthetic_samples
from dnncc.errors import CalibrationError
from dnncc.ir.graph import Graph, Value
from dnncc.ir.types import Array, DType, TensorType


def graph(**shapes: tuple[int, ...]) -> Graph:
    return Graph("net", [Value(name, TensorType(DType.F32, shape)) for name, shape in shapes.items()])


NET = graph(image=(1, 1, 4, 5), scalar=(1, 3))


def good(count: int = 7) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    return {
        "scalar": rng.standard_normal((count, 3)).astype(np.float32),
        "image": rng.standard_normal((count, 1, 4, 5)).astype(np.float32),
    }


def culprits(error: pytest.ExceptionInfo[CalibrationError]) -> dict[str, str]:
    return {c.name: c.reason for c in error.value.culprits}


def test_a_file_and_a_mapping_give_the_same(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **good())
    for source in (tmp_path / "x.npz", str(tmp_path / "x.npz"), good()):
        found = load_samples(source, NET)
        assert list(found) == ["image", "scalar"]
        assert found["image"].shape == (7, 1, 4, 5) and found["scalar"].shape == (7, 3)
        assert all(a.dtype == np.float32 and np.array_equal(a, good()[k]) for k, a in found.items())


def test_the_batch_axis_of_one_may_be_there() -> None:
    found = load_samples(good() | {"image": good()["image"][:, None]}, NET)
    assert np.array_equal(found["image"], good()["image"])


def test_an_input_without_batch_axis_keeps_its_shape() -> None:
    found = load_samples({"x": np.zeros((2, 5), np.float32)}, graph(x=(5,)))
    assert found["x"].shape == (2, 5)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats_become_float32(dtype: type) -> None:
    found = load_samples({k: a.astype(dtype) for k, a in good().items()}, NET)
    assert all(a.dtype == np.float32 for a in found.values())


def test_every_wrong_name_and_shape_is_listed() -> None:
    wrong = {"Image": good()["image"], "scalar": good()["scalar"][:, :2], "more": np.zeros(3)}
    with pytest.raises(CalibrationError) as error:
        load_samples(wrong, NET)
    assert error.value.code == "E0106" and error.value.exit_code == 1
    assert culprits(error) == {
        "image": "is missing: expected float32 [n, 1, 4, 5]",
        "Image": "is no input of the model (inputs: 'image', 'scalar')",
        "more": "is no input of the model (inputs: 'image', 'scalar')",
        "scalar": "has the shape [7, 2]; expected float32 [n, 3]",
    }


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((4, 3), np.int8), "is int8; expected float32 [n, 3]"),
        (np.zeros((4, 3), np.complex64), "is complex64; expected float32 [n, 3]"),
        (np.array(["a"]), "is <U1; expected float32 [n, 3]"),
        (np.float32(1.0), "has the shape []; expected float32 [n, 3]"),
        (np.zeros((0, 3), np.float32), "has no samples"),
        (np.zeros(3, np.float32), "has the shape [3]; expected float32 [n, 3]"),
        (np.array([[0, 0, 0], [0, np.nan, 0], [0, 0, np.inf]], np.float32), "in 2 of 3 samples (first: 1)"),
        (np.array([[1e300, 0, 0]]), "in 1 of 1 samples (first: 0)"),
    ],
)
def test_wrong_arrays(array: Array, reason: str) -> None:
    with pytest.raises(CalibrationError) as error:
        load_samples({"scalar": np.asarray(array)}, graph(scalar=(1, 3)))
    assert reason in "; ".join(c.reason for c in error.value.culprits)


def test_different_numbers_of_samples() -> None:
    with pytest.raises(CalibrationError) as error:
        load_samples({"image": good(7)["image"], "scalar": good(5)["scalar"]}, NET)
    assert culprits(error) == {"image": "has 7 samples", "scalar": "has 5 samples"}


def test_files_that_are_no_npz(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.zeros(3))
    np.savez(tmp_path / "whole.npz", **good())
    (tmp_path / "text.npz").write_text("no archive")
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "half.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:300])
    np.savez(tmp_path / "pickled.npz", image=np.array([{}], dtype=object), scalar=good()["scalar"])
    names = ["one.npy", "text.npz", "empty.npz", "half.npz", "pickled.npz", "missing.npz", "."]
    for name in names:
        with pytest.raises(CalibrationError) as error:
            load_samples(tmp_path / name, NET)
        assert str(tmp_path / name) in error.value.message, name
    assert load_samples(tmp_path / "whole.npz", NET)


def test_synthetic_samples_are_reproducible() -> None:
    one, same, other = (synthetic_samples(NET, 5, seed) for seed in (0, 0, 1))
    assert one["image"].shape == (5, 1, 4, 5) and one["scalar"].dtype == np.float32
    assert all(np.array_equal(one[k], same[k]) and not np.array_equal(one[k], other[k]) for k in one)
    assert load_samples(one, NET).keys() == one.keys()
    with pytest.raises(CalibrationError):
        synthetic_samples(NET, 0, 0)
