"""The conformance page: ``python -m benchmarks.conformance [--code] [--markdown docs/conformance.md]``.

Every case of the onnx package's own suite with tensors of float32, integers or booleans, in the interpreter and, with
``--code``, as C compiled in float32 for this machine.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / "tests"))

from conformance import Conformance, agrees, loaded, node_cases, verdict  # noqa: E402

_HEAD = """# Conformance

Written by `python -m benchmarks.conformance --code --markdown docs/conformance.md`.

The onnx package's own test suite, all cases whose tensors are float32, integers or booleans of known shapes: how many
of each operator pass in the interpreter, how many as C in float32 on the host, and how many are refused with an E01xx
error. None is wrong. Operands stay run-time inputs where dnncc takes them as such, and are constants where it does not.

"""


def subject(case: Conformance) -> str:
    """The operator that a case is about; what the standard expands it to does not count."""
    found = sorted({f"{n.domain}.{n.op_type}".lstrip(".") for n in case.model.graph.node})
    return found[0] if len(found) == 1 else "several, and expanded functions"


def in_code(case: Conformance) -> str:
    """ "pass", "wrong", or the code of the error, of the case as compiled C."""
    import dnncc
    from dnncc.errors import DnnccError
    from dnncc.runtime.bundle import Bundle
    from dnncc.runtime.runner import open_runner

    form = loaded(case)
    if isinstance(form, str):
        return form
    with tempfile.TemporaryDirectory() as folder:
        try:
            dnncc.compile(form.graph, target="host-c", dtype="float32", output=Path(folder) / "net")
            runner = open_runner(Bundle.open(Path(folder) / "net"), "host", None, None, "-O1")
            return "pass" if agrees(case, runner.run(form.arguments)) else "wrong"
        except DnnccError as error:
            return error.code


def _both(index: int, code: bool) -> tuple[str, str, str]:
    case = [c for c in node_cases() if c.is_plain][index]
    return subject(case), verdict(case), in_code(case) if code else ""


def page(rows: list[tuple[str, str, str]], code: bool) -> str:
    """The page's text."""
    lines = ["| operator | cases | interpreter | C | refused |", "| --- | ---: | ---: | ---: | ---: |"]
    total = [0, 0, 0, 0]
    for name in sorted({r[0] for r in rows}):
        own = [r for r in rows if r[0] == name]
        numbers = [
            len(own),
            sum(r[1] == "pass" for r in own),
            sum(r[2] == "pass" for r in own),
            sum(r[1].startswith("E01") for r in own),
        ]
        total = [a + b for a, b in zip(total, numbers, strict=True)]
        lines.append(_row(name, numbers, code))
    lines.append(_row("**all**", total, code))
    wrong = sum("wrong" in r for r in rows)
    return _HEAD + "\n".join(lines) + f"\n\nWrong results: {wrong}.\n"


def _row(name: str, numbers: list[int], code: bool) -> str:
    shown = [f"{n:,}" for n in numbers]
    if not code:
        shown[2] = "-"
    return f"| {name} | {' | '.join(shown)} |"


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.conformance", description=__doc__)
    parser.add_argument("--code", action="store_true", help="compile and run the cases too (half an hour)")
    parser.add_argument("--markdown", type=Path, help="write the page here")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    count = sum(c.is_plain for c in node_cases())
    with ProcessPoolExecutor(arguments.jobs) as pool:
        rows = list(pool.map(_both, range(count), [arguments.code] * count, chunksize=16))
    text = page(rows, arguments.code)
    if arguments.markdown is None:
        print(text)
    else:
        arguments.markdown.write_text(text, encoding="utf-8")
    for name, interpreter, code in rows:
        if "wrong" in (interpreter, code) or (code.startswith("E") and interpreter == "pass"):
            print(f"{name}: interpreter {interpreter}, C {code}")
    return int(any("wrong" in row for row in rows))


if __name__ == "__main__":
    sys.exit(main())
