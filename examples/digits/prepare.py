"""Make calibration.npz and test.npz: scikit-learn's digits, split once and for all.

Images are float32 [samples, 1, 8, 8] in the data's own units (0..16), labels int64 [samples]. The first 1500
samples of a fixed permutation are for training (100 of them for calibration), the other 297 for testing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits

FOLDER = Path(__file__).resolve().parent
TRAINING_SAMPLES = 1500
CALIBRATION_SAMPLES = 100
SPLIT_SEED = 0


@dataclass(frozen=True)
class Samples:
    """Images [samples, 1, 8, 8] with their labels [samples]."""

    image: npt.NDArray[np.float32]
    label: npt.NDArray[np.int64]


def split() -> tuple[Samples, Samples]:
    """The training and the test samples, the same on every machine."""
    digits = load_digits()
    images = digits.images.astype(np.float32).reshape(-1, 1, 8, 8)
    labels = digits.target.astype(np.int64)
    # RandomState's stream is frozen by numpy's compatibility policy, default_rng's is not.
    order = np.random.RandomState(SPLIT_SEED).permutation(len(images))
    training, test = order[:TRAINING_SAMPLES], order[TRAINING_SAMPLES:]
    return Samples(images[training], labels[training]), Samples(images[test], labels[test])


def write(folder: Path = FOLDER) -> None:
    """Write calibration.npz (`image`) and test.npz (`image`, `label`) into `folder`."""
    training, test = split()
    np.savez_compressed(folder / "calibration.npz", image=training.image[:CALIBRATION_SAMPLES])
    np.savez_compressed(folder / "test.npz", image=test.image, label=test.label)


if __name__ == "__main__":
    write()
