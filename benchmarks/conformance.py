"""The conformance page: ``python -m benchmarks.conformance [--code] [--markdown docs/conformance.md]``.

Every case of the onnx package's own suite with tensors of float32, integers or booleans, in the interpreter and, with
``--code``, as C in float32 for this machine: without warnings, and under sanitizers.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY / "tests"))

from conformance import Conformance, Loaded, agrees, loaded, node_cases  # noqa: E402
from dnncc.errors import DnnccError  # noqa: E402
from dnncc.interpreter import interpret  # noqa: E402

_HEAD = """# Conformance

Written by `python -m benchmarks.conformance --code --markdown docs/conformance.md`.

The onnx package's own test suite (`onnx.backend.test`, node tests of onnx {version}): all cases whose tensors are
float32, integers or booleans of known shapes. How many of each operator pass in the reference interpreter, and how
many as C in float32 on the host: compiled without a warning, run under AddressSanitizer and UndefinedBehaviorSanitizer.
The rest is refused with an E01xx error before anything is written; why is [below](#what-is-refused).

Limits, for all operators: {limits}

- A result is right if it is within the suite's own tolerance (1e-3 relative for most floats) and has the suite's shape;
  integers and booleans must be equal. Doubles and half-precision floats are computed in float32.
- Operands that decide over shapes, and others that [Operators](operators.md) lists as constant, must be known when the
  model is compiled. The suite gives them at run time; here they become constants, as trained models have them. All
  other operands stay inputs.
- Cases of an operator's definition by other operators (`..._expanded`) count for the operator that they define.

"""
_LIMITS = "opset 7 and newer, inference only, shapes known when the model is compiled."


@dataclass(frozen=True)
class Row:
    """What came of one case: "pass", "wrong", "crash", or an error's code; and of refusals why.

    Attributes:
        subject: the operator that the case is about.
        code: of the compiled C; "" where it was not asked for.
    """

    case: str
    subject: str
    interpreter: str
    code: str = ""
    reason: str = ""


def subject(case: Conformance) -> str:
    """The operator that a case is about; what the standard expands it to does not count."""
    expanded = re.sub(r"(_expanded(_function)?|_expanded_ver\d+|_ver\d+_expanded)$", "", case.name)
    for whole in (c for c in node_cases() if c.name == expanded and expanded != case.name):
        return subject(whole)
    found = sorted({f"{n.domain}.{n.op_type}".lstrip(".") for n in case.model.graph.node} - {"Constant"})
    return found[0] if len(found) == 1 else "several operators"


def examined(index: int, code: bool) -> Row:
    """One plain case, by its number."""
    case = [c for c in node_cases() if c.is_plain][index]
    form = loaded(case)
    if isinstance(form, DnnccError):
        reasons = [c.reason for c in form.culprits if c.reason] or [form.message]
        return Row(
            case.name, subject(case), form.code, form.code if code else "", "; ".join(dict.fromkeys(reasons))
        )
    try:
        right = agrees(case, interpret(form.graph, form.arguments))
        row = Row(case.name, subject(case), "pass" if right else "wrong")
        return Row(case.name, row.subject, row.interpreter, *in_code(case, form)) if code else row
    except Exception:  # noqa: BLE001 - whatever it is, it is found
        return Row(case.name, subject(case), "crash", "crash", traceback.format_exc())


def in_code(case: Conformance, form: Loaded) -> tuple[str, str]:
    """What comes of a case as compiled C, and why."""
    import dnncc
    from dnncc.runtime.bundle import Bundle
    from dnncc.runtime.host import run_sanitized

    with tempfile.TemporaryDirectory() as folder:
        try:
            dnncc.compile(form.graph, target="host-c", dtype="float32", output=Path(folder) / "net")
            (results,) = run_sanitized(Bundle.open(Path(folder) / "net"), [form.arguments])
            return ("pass", "") if agrees(case, results) else ("wrong", "")
        except DnnccError as error:
            return error.code, str(error)


def page(rows: Sequence[Row]) -> str:
    """The page's text."""
    import onnx

    by_subject: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_subject[row.subject].append(row)
    lines = ["| operator | cases | interpreter | C | refused |", "| --- | ---: | ---: | ---: | ---: |"]
    lines += [_line(name, by_subject[name]) for name in sorted(by_subject)]
    passed = sum(r.interpreter == "pass" and r.code in ("pass", "") for r in rows)
    bad = Counter(kind for r in rows for kind in {r.interpreter, r.code} if kind in ("wrong", "crash"))
    summary = (
        f"**{passed:,} of {len(rows):,} cases pass everywhere ({passed / len(rows):.1%})**; "
        f"wrong results: {bad['wrong']}; crashes: {bad['crash']}.\n\n"
    )
    table = "\n".join([*lines, _line("**all**", rows)])
    head = _HEAD.format(version=onnx.__version__, limits=_LIMITS)
    return f"{head}{summary}{table}\n\n{_refused(rows)}"


def _line(name: str, rows: Iterable[Row]) -> str:
    found = list(rows)
    passed, ran = (
        sum(kind == "pass" for kind in kinds)
        for kinds in ([r.interpreter for r in found], [r.code for r in found])
    )
    shown = f"{ran:,}" if any(r.code for r in found) else "–"
    return f"| {name} | {len(found):,} | {passed:,} | {shown} | {sum(r.interpreter[0] == 'E' for r in found):,} |"


def _refused(rows: Iterable[Row]) -> str:
    reasons: dict[tuple[str, str], int] = Counter(
        (r.subject, r.reason) for r in rows if r.interpreter[0] == "E"
    )
    lines = ["## What is refused", "", "| operator | cases | reason |", "| --- | ---: | --- |"]
    lines += [f"| {name} | {count} | {reason} |" for (name, reason), count in sorted(reasons.items())]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.conformance", description=__doc__)
    parser.add_argument("--code", action="store_true", help="compile and run the cases too (half an hour)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only cases with this in their names")
    parser.add_argument("--markdown", type=Path, help="write the page here")
    parser.add_argument(
        "--rows", type=Path, help="keep every case's result in this file, and take those that it has"
    )
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    names = [c.name for c in node_cases() if c.is_plain]
    rows = _kept(arguments.rows)
    asked = [i for i, name in enumerate(names) if arguments.only in name and name not in rows]
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for row in pool.map(examined, asked, [arguments.code] * len(asked), chunksize=8):
            rows[row.case] = row
            if arguments.rows is not None:
                with arguments.rows.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(row)) + "\n")
    found = [rows[name] for name in names if name in rows]
    text = page(found)
    if arguments.markdown is None:
        print(text)
    else:
        arguments.markdown.write_text(text, encoding="utf-8")
    failed = [r for r in found if r.interpreter[0] != "E" and not {r.interpreter, r.code} <= {"pass", ""}]
    for r in failed:
        print(f"{r.case}: interpreter {r.interpreter}, C {r.code}\n{r.reason}", file=sys.stderr)
    return int(bool(failed))


def _kept(file: Path | None) -> dict[str, Row]:
    if file is None or not file.exists():
        return {}
    rows = [Row(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]
    return {row.case: row for row in rows}


if __name__ == "__main__":
    sys.exit(main())
