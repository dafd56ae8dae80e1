"""The command line in this process: what a command printed and how it ended."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dnncc.cli import main


@dataclass(frozen=True)
class Result:
    """What one command did."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The JSON document; there must be exactly one on stdout."""
        document = json.loads(self.out)
        assert document["schema"] == 1
        assert isinstance(document, dict)
        return document


def dnncc(*words: str | Path) -> Result:
    """Run ``dnncc WORDS``; never a traceback, whatever happens."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main([str(word) for word in words])
        except SystemExit as stop:  # argparse's --help
            status = int(stop.code or 0)
    assert "Traceback" not in out.getvalue() + err.getvalue()
    return Result(status, out.getvalue(), err.getvalue())


def failure(status: int, code: str, *words: str | Path) -> dict[str, Any]:
    """The error of a command that must fail so: one message for people, and the same for tools."""
    shown = dnncc(*words)
    assert shown.status == status, shown.err
    assert shown.out == ""
    assert shown.err.count("error[") == 1
    assert f"error[{code}]" in shown.err
    as_json = dnncc(*words, "--json")
    assert as_json.status == status, as_json.err
    error = as_json.document["error"]
    assert isinstance(error, dict)
    assert set(error) == {"code", "message", "nodes", "help"}
    assert error["code"] == code
    assert error["message"] in shown.err
    assert all(node["name"] in shown.err for node in error["nodes"])
    return error
