"""The second opinion, where gcc-arm-none-eabi and QEMU are installed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from dnncc.errors import MismatchError, ToolFailedError, ToolMissingError, UsageError
from dnncc.runtime.emulator import Emulator
from dnncc.runtime.qemu import MODELS, Qemu
from dnncc.runtime.runner import open_runner
from handwritten import write_artifact

SAMPLE = np.arange(-4, 4, dtype=np.int8)
HAVE_GCC = shutil.which("arm-none-eabi-gcc") is not None
HAVE_QEMU = shutil.which("qemu-system-arm") is not None
both = pytest.mark.skipif(
    not (HAVE_GCC and HAVE_QEMU), reason="gcc-arm-none-eabi or qemu-system-arm is missing"
)

BODY = """
    int32_t *sums = (int32_t *)net->arena;
    for (int i = 0; i < 8; i++) {
        sums[i] = 0;
        for (int j = 0; j < 200; j++) sums[i] += in[(i + j) & 7] * net_w[j & 15];
    }
    for (int i = 0; i < 8; i++) out[i] = (int8_t)(sums[i] >> 4);
"""


@both
@pytest.mark.parametrize("model", MODELS)
def test_bits_and_instructions_agree_with_the_emulator(tmp_path: Path, model: str) -> None:
    bundle = write_artifact(tmp_path, BODY, core=MODELS[model].core)
    emulator = Emulator(bundle, compiler="gcc-arm")
    samples = [[SAMPLE], [SAMPLE[::-1].copy()], [SAMPLE * 3]]
    for sample, result in zip(samples, Qemu(bundle, model).run_samples(samples), strict=True):
        measured = emulator.run(sample)
        assert np.array_equal(result.outputs[0], measured.outputs[0])
        # QEMU's clock also sees the harness's call and its two readings of the timer.
        assert -result.resolution <= result.instructions - measured.instructions <= result.resolution + 30


@both
def test_floats_several_ports_and_pools(tmp_path: Path) -> None:
    bundle = write_artifact(
        tmp_path,
        "for (int i = 0; i < 3; i++) ((float *)net->arena_ccm)[i] = x[i] * 0.5f;\n"
        "for (int i = 0; i < 3; i++) p[i] = ((float *)net->arena_ccm)[i] + (float)y[0];\n"
        "q[0] = y[1];",
        inputs=[("x", "f32", (3,)), ("y", "i16", (2,))],
        outputs=[("p", "f32", (3,)), ("q", "i16", (1,))],
        pools=[("ram", 8), ("ccm", 12)],
    )
    inputs = [np.array([1, 2, 3], np.float32), np.array([-7, 300], np.int16)]
    p, q = open_runner(bundle, on="qemu").run(inputs)
    assert p.tolist() == [-6.5, -6, -5.5]
    assert q.tolist() == [300]


@both
@pytest.mark.parametrize("model", ["mps2-an386", "netduinoplus2"])
def test_the_selftest_reports_what_it_finds(tmp_path: Path, model: str) -> None:
    counts = "static int8_t calls; static volatile int32_t start = 4; calls++; return calls + start;"
    assert Qemu(write_artifact(tmp_path / "a"), model).selftest() == 0
    assert Qemu(write_artifact(tmp_path / "b", selftest=counts), model).selftest() == 5
    assert Qemu(write_artifact(tmp_path / "c", selftest="return -1;"), model).selftest() == -1


@both
def test_faults_error_codes_and_hangs(tmp_path: Path) -> None:
    def run(folder: str, body: str, timeout_s: float = 60) -> None:
        Qemu(write_artifact(tmp_path / folder, body), timeout_s=timeout_s).run([SAMPLE])

    with pytest.raises(MismatchError, match="faults"):
        run("fault", '__asm__ volatile("udf #0");')
    with pytest.raises(MismatchError, match="error code 9"):
        run("code", "return 9;")
    with pytest.raises(MismatchError, match="did not finish"):
        run("hang", "for (volatile int i = 0;; i++) { }", timeout_s=2)


@both
def test_a_network_that_is_too_large_for_the_board(tmp_path: Path) -> None:
    bundle = write_artifact(tmp_path, pools=[("ram", 200_000)])
    with pytest.raises(ToolFailedError, match="RAM"):
        Qemu(bundle, "netduinoplus2").run([SAMPLE])


def test_what_cannot_be_run_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mps2-an386"):
        Qemu(write_artifact(tmp_path), "mps2-an38")
    with pytest.raises(UsageError, match="cortex-m33"):
        Qemu(write_artifact(tmp_path, core="cortex-m33"))


@pytest.mark.skipif(not HAVE_GCC, reason="gcc-arm-none-eabi is missing")
def test_missing_qemu_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name.startswith("qemu") else found(name))
    with pytest.raises(ToolMissingError, match="qemu-system-arm"):
        Qemu(write_artifact(tmp_path))
