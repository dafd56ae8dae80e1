"""The command line itself: help, errors of usage, configuration files, and whatever goes wrong."""

from __future__ import annotations

import errno
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from commandline import dnncc, failure
from conftest import Example
from dnncc.cli.app import COMMANDS
from dnncc.errors import catalog


def test_help_names_every_command() -> None:
    shown = dnncc("--help")
    assert shown.status == 0
    assert all(f"\n  {command} " in shown.out for command in COMMANDS)
    for command in COMMANDS:
        assert "--json" in dnncc(command, "--help").out


def test_version() -> None:
    import dnncc as package

    assert dnncc("--version").out == f"dnncc {package.__version__}\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", "no command"),
        ("insect m.onnx", "did you mean 'inspect'"),
        ("--versoin", "did you mean '--version'"),
        ("frobnicate", "unknown command 'frobnicate'"),
        ("compile m.onnx --tarjet stm32", "did you mean '--target'"),
        ("compile m.onnx --target stm23", "did you mean 'stm32'"),
        ("inspect m.onnx --target stm23", "did you mean 'stm32'"),
        ("compile m.onnx", "--target"),
        ("compile m.onnx --target stm32 --dtype int9", "did you mean 'int8'"),
        ("compile m.onnx --target stm32 --weight-bits 5", "'5' is none of 8, 4, 3, 2"),
        ("compile m.onnx --target stm32 --dim 3", "'3' is not NAME=NUMBER"),
        ("compile m.onnx --target stm32 --time-limit -1", "no positive number"),
        ("compile m.onnx --target stm32 --name", "expected one argument"),
        ("inspect", "MODEL"),
        ("inspect a.onnx b.onnx", "b.onnx"),
        ("list pases", "did you mean 'passes'"),
        ("explain E010", "did you mean 'E01"),
        ("opt - --passes simplfy", "did you mean 'simplify'"),
        ("validate . --on emulatr", "did you mean 'emulator'"),
    ],
)
def test_usage(words: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.onnx").touch()
    found = dnncc(*shlex.split(words))
    assert found.status == 2
    assert found.out == ""
    assert expected in found.err
    assert found.err.count("error[E0201]") == 1
    assert list(tmp_path.iterdir()) == [tmp_path / "m.onnx"]


def test_all_unknown_options_are_listed() -> None:
    error = failure(2, "E0201", "compile", "m.onnx", "--tarjet", "x", "--calibrat=y", "-z")
    assert [node["name"] for node in error["nodes"]] == ["--tarjet", "--calibrat=y", "-z"]


def test_an_artifact_must_be_one(tmp_path: Path) -> None:
    for command in (("validate",), ("bench",), ("run", "--input", "x.npz", "-o", tmp_path / "y.npz")):
        error = failure(2, "E0201", *command, tmp_path)
        assert "manifest.json" in error["message"]


@pytest.mark.parametrize("code", list(catalog()))
def test_explain(code: str) -> None:
    document = dnncc("explain", code.lower(), "--json").document
    assert document["code"] == code
    assert document["exit_code"] in (1, 2, 3, 4, 5, 70, 130)
    assert document["text"] in dnncc("explain", code).out


def test_list() -> None:
    targets = dnncc("list", "targets", "--json").document["targets"]
    assert {"stm32f4", "host-c"} <= {target["name"] for target in targets}
    boards = dnncc("list", "boards", "--json").document["boards"]
    assert {t["name"] for t in targets if t["core"] != "fpga"} == {board["name"] for board in boards}
    assert "hls:zu3eg" in {t["name"] for t in targets if t["core"] == "fpga"}
    only = dnncc("list", "boards", "--target", "stm32", "--json").document["boards"]
    assert [board["name"] for board in only] == ["stm32f4"]
    assert only[0]["pools"][0]["bytes"] == 131072
    passes = dnncc("list", "passes", "--target", "stm32", "--json").document
    names = {entry["name"] for entry in passes["passes"]}
    assert {step.partition("{")[0] for step in passes["pipeline"].split(",")} <= names
    assert all(entry["summary"] for entry in passes["passes"])
    ops = dnncc("list", "ops", "--json").document
    assert {"Conv", "Gemm"} <= {entry["op_type"] for entry in ops["onnx"]}
    assert {"name": "conv2d", "quantizes": True, "code": True}.items() <= next(
        entry.items() for entry in ops["ops"] if entry["name"] == "conv2d"
    )
    for what in ("targets", "boards", "passes", "ops"):
        assert dnncc("list", what, "--target", "stm32").out


def write_config(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_config_gives_options_and_the_command_line_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from argparse import Namespace

    from dnncc.cli.compile import add_arguments
    from dnncc.cli.config import with_config
    from dnncc.cli.parser import Parser

    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    config = write_config(
        tmp_path / "sub" / "net.toml",
        'target = "stm32"\ncalibrate = "x.npz"\nweight-bits = 4\nname = "a"\ntime-limit = 2\ndim = {H = 8, W = 9}\n',
    )

    def parse(*words: str) -> Namespace:
        parser = Parser("compile", "")
        add_arguments(parser)
        return parser.parse(with_config(parser, words))

    arguments = parse("m.onnx", "--config", str(config), "--name", "b", "--dim", "H=7")
    assert (arguments.target, arguments.name, arguments.weight_bits) == ("stm32", "b", 4)
    assert arguments.calibrate == config.parent / "x.npz"
    assert arguments.time_limit == 2.0
    assert dict(arguments.dim) == {"H": 7, "W": 9}
    assert parse("m.onnx", f"--config={config}").name == "a"


def test_wrong_configs(tmp_path: Path) -> None:
    wrong = write_config(
        tmp_path / "wrong.toml", 'tarjet = "x"\nweight-bits = 5\ntarget = ["a"]\njson = true\nname = true\n'
    )
    error = failure(2, "E0201", "compile", "m.onnx", "--config", wrong)
    reasons = {node["name"]: node["reason"] for node in error["nodes"]}
    assert list(reasons) == ["tarjet", "weight-bits", "target", "json", "name"]
    assert "did you mean 'target'" in reasons["tarjet"]
    assert "none of 8, 4, 3, 2" in reasons["weight-bits"]
    broken = write_config(tmp_path / "broken.toml", "target = ")
    assert "not valid TOML" in failure(2, "E0201", "compile", "m", "--config", broken)["message"]
    missing = tmp_path / "missing.toml"
    assert "cannot be read" in failure(2, "E0201", "compile", "m", "--config", missing)["message"]
    assert "expected one argument" in failure(2, "E0201", "compile", "m", "--config")["message"]


def test_a_bug_leaves_a_file_and_no_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def bug() -> None:
        raise RuntimeError("some surprise")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("dnncc.cli.explain.catalog", bug)
    error = failure(70, "E7001", "explain", "E0101")
    assert "RuntimeError: some surprise" in error["message"]
    path = next(Path(word) for word in error["help"].split() if "dnncc-crash-" in word)
    text = path.read_text(encoding="utf-8")
    assert "Traceback" in text
    assert "in bug" in text
    assert "command: dnncc explain E0101 --json\n" in text


@pytest.mark.parametrize(
    ("raised", "status", "code"),
    [
        (KeyboardInterrupt(), 130, "E0601"),
        (MemoryError("Unable to allocate 9 EiB"), 5, "E0503"),
        (OSError(errno.ENOSPC, "No space left on device", "/full/disk"), 2, "E0202"),
    ],
)
def test_what_is_no_bug(
    raised: BaseException, status: int, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop() -> None:
        raise raised

    monkeypatch.setattr("dnncc.cli.explain.catalog", stop)
    failure(status, code, "explain", "E0101")


def test_a_reader_that_goes_away_is_no_error() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "dnncc", "list", "ops"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == 0
    process.stderr.close()


def test_names_that_terminals_choke_on_are_escaped(digits: Example) -> None:
    environment = {"PYTHONIOENCODING": "ascii", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-m", "dnncc", "inspect", "na\x1b[31mïve.onnx"],
        capture_output=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 1
    assert b"na\\x1b[31m\\xefve.onnx" in done.stderr


def test_the_api_is_what_it_says() -> None:
    import dnncc as package

    for name in package.__all__:
        assert getattr(package, name) is not None
    assert set(package.__all__) <= set(dir(package))
    assert callable(package.compile)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = package.nonsense


API = """
import sys
import dnncc
assert "numpy" not in sys.modules
import dnncc.driver, dnncc.inspection, dnncc.validation, dnncc.benchmark, dnncc.execution, dnncc.loading
for name in ("compile", "inspect", "validate", "bench", "run", "load"):
    assert callable(getattr(dnncc, name)), name
"""


def test_no_module_hides_a_function() -> None:
    subprocess.run([sys.executable, "-c", API], check=True)
