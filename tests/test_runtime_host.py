"""Artifacts in this process and under sanitizers."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from dnncc.errors import MismatchError, UsageError
from dnncc.runtime.host import HostModel, run_sanitized
from dnncc.runtime.runner import open_runner
from handwritten import write_artifact

SAMPLE = np.arange(-4, 4, dtype=np.int8)


def needs(compiler: str):
    """zig comes from PyPI and is always there; the others where the machine has them."""
    missing = compiler != "zig" and shutil.which(compiler) is None
    return pytest.param(compiler, marks=pytest.mark.skipif(missing, reason=f"{compiler} is not installed"))


@pytest.mark.parametrize("compiler", [needs("gcc"), needs("clang"), needs("zig")])
@pytest.mark.parametrize("opt", ["-O0", "-O3"])
def test_every_compiler_gives_the_same_bits(tmp_path: Path, compiler: str, opt: str) -> None:
    body = "for (int i = 0; i < 8; i++) out[i] = (int8_t)((in[i] * net_w[i] + 1) >> 1);"
    model = HostModel(write_artifact(tmp_path, body), compiler, opt)
    weights = np.array([1, 2, 3, 0, 0, 0, 0, 0])
    assert np.array_equal(model.run([SAMPLE])[0], (SAMPLE * weights + 1) >> 1)


def test_several_inputs_outputs_pools_and_types(tmp_path: Path) -> None:
    bundle = write_artifact(
        tmp_path,
        "float *a = (float *)net->arena; int32_t *b = (int32_t *)net->arena_ccm;"
        "for (int i = 0; i < 6; i++) { a[i] = x[i] * 2.0f; b[i] = y[i] + 1; }"
        "for (int i = 0; i < 6; i++) { p[i] = a[i] + (float)b[i]; q[i] = (uint8_t)b[i]; }",
        inputs=[("x", "f32", (2, 3)), ("y", "u8", (6,))],
        outputs=[("p", "f32", (3, 2)), ("q", "u8", (6,))],
        pools=[("ram", 24), ("ccm", 24)],
    )
    x = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
    y = np.arange(250, 256, dtype=np.uint8)
    p, q = HostModel(bundle).run([x, y])
    assert np.allclose(p, (2 * x.reshape(-1) + y + 1).reshape(3, 2))
    assert np.array_equal(q, y + np.uint8(1))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("((volatile uint8_t *)net->arena)[NET_ARENA_SIZE]++;", "1 bytes past the end of arena 'ram'"),
        ("((volatile uint8_t *)net->arena)[in[0]]++;", "4 bytes before arena 'ram'"),
        ("((volatile int8_t *)out)[8 + in[7]]++;", "4 bytes past the end of output 'out'"),
        ("((volatile int8_t *)out)[in[3]]++;", "1 bytes before output 'out'"),
        ("((volatile int8_t *)(uintptr_t)in)[2]++;", "writes to input 'in'"),
        ("return 7;", "error code 7"),
    ],
)
def test_what_the_code_must_not_do(tmp_path: Path, body: str, message: str) -> None:
    model = HostModel(write_artifact(tmp_path, body))
    with pytest.raises(MismatchError, match=message):
        model.run([SAMPLE])


def test_every_run_starts_from_other_garbage(tmp_path: Path) -> None:
    body = "for (int i = 0; i < 8; i++) out[i] = ((volatile int8_t *)net->arena)[i];"
    model = HostModel(write_artifact(tmp_path, body))
    assert not np.array_equal(model.run([SAMPLE])[0], model.run([SAMPLE])[0])


def test_inputs_must_have_the_artifacts_types_and_shapes(tmp_path: Path) -> None:
    model = HostModel(write_artifact(tmp_path))
    for wrong in ([], [SAMPLE, SAMPLE], [SAMPLE.astype(np.int16)], [SAMPLE[:7]]):
        with pytest.raises(UsageError):
            model.run(wrong)
    assert np.array_equal(model.run([SAMPLE.reshape(2, 4)])[0], SAMPLE)


def test_a_header_that_disagrees_with_the_manifest(tmp_path: Path) -> None:
    bundle = write_artifact(tmp_path)
    header = tmp_path / "net.h"
    header.write_text(header.read_text().replace("NET_ARENA_SIZE 40u", "NET_ARENA_SIZE 48u"))
    with pytest.raises(MismatchError, match="48 in the header and 40 in the manifest"):
        HostModel(bundle)


def test_the_selftest_reports_what_it_finds(tmp_path: Path) -> None:
    assert HostModel(write_artifact(tmp_path, selftest="return 0;")).selftest() == 0
    assert HostModel(write_artifact(tmp_path, selftest="return 3;")).selftest() == 3


@pytest.mark.parametrize("compiler", [needs("gcc"), needs("clang")])
def test_the_sanitizers_see_reads_and_overflows(tmp_path: Path, compiler: str) -> None:
    # The second statement runs for samples that ask for it only.
    body = """volatile int32_t big = 0x7fffffff;
    for (int i = 0; i < 8; i++) out[i] = in[i];
    if (in[0] == 1) out[0] = ((const volatile int8_t *)in)[8];
    if (in[0] == 2) out[0] = (int8_t)(big + in[0]);"""
    bundle = write_artifact(tmp_path, body)
    assert np.array_equal(run_sanitized(bundle, [[SAMPLE]], compiler)[0][0], SAMPLE)
    for first, finding in ((1, "AddressSanitizer"), (2, "runtime error")):
        with pytest.raises(MismatchError, match=finding):
            run_sanitized(bundle, [[SAMPLE], [np.full(8, first, np.int8)]], compiler)


def test_it_is_a_runner_and_takes_time(tmp_path: Path) -> None:
    bundle = write_artifact(tmp_path)
    assert np.array_equal(open_runner(bundle).run([SAMPLE])[0], SAMPLE)
    assert HostModel(bundle).milliseconds([SAMPLE], repeats=3) > 0
