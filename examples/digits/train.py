"""Train the digits network and write digits.onnx, calibration.npz and test.npz beside this file.

    pip install torch onnx onnxruntime scikit-learn
    python examples/digits/train.py

Some 15 seconds on one core. Seeds, thread count and algorithms are fixed: the same torch on the same kind of
CPU gives the same bytes.
"""

from __future__ import annotations

from pathlib import Path

import export
import numpy as np
import onnxruntime
import prepare
import torch
from network import DigitsNetwork
from torch import nn

EPOCHS = 40
BATCH = 50
LEARNING_RATE = 5e-3
WEIGHT_DECAY = 1e-3
SEED = 1


def train(samples: prepare.Samples) -> DigitsNetwork:
    """A network trained on `samples` with AdamW and a one-cycle learning rate, in eval mode."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(SEED)
    images, labels = torch.from_numpy(samples.image), torch.from_numpy(samples.label)
    network = DigitsNetwork()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=WEIGHT_DECAY)
    steps = EPOCHS * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    loss_function = nn.CrossEntropyLoss(label_smoothing=0.05)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images)).split(BATCH):
            loss = loss_function(network(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def accuracy(model: Path, samples: prepare.Samples) -> float:
    """The share of samples that ONNX Runtime classifies correctly with `model`."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"image": samples.image})
    return float(np.mean(logits.argmax(axis=1) == samples.label))


def main() -> None:
    prepare.write()
    training, test = prepare.split()
    network = train(training)
    path = prepare.FOLDER / "digits.onnx"
    export.save(network, path)
    print(f"parameters     {sum(p.numel() for p in network.parameters())}")
    print(f"file           {path.stat().st_size} bytes")
    print(f"training set   {accuracy(path, training):.2%} of {len(training.label)}")
    print(f"test set       {accuracy(path, test):.2%} of {len(test.label)}")


if __name__ == "__main__":
    main()
