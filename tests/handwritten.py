"""Small C artifacts written by hand, in the form of the compiler's, for the tests of the runtime."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from dnncc.runtime.bundle import C_TYPES, Bundle

Port = tuple[str, str, tuple[int, ...]]

COPY = "for (int i = 0; i < 8; i++) out[i] = in[i];"


def write_artifact(
    folder: Path,
    body: str = COPY,
    *,
    prelude: str = "",
    inputs: Sequence[Port] = (("in", "i8", (8,)),),
    outputs: Sequence[Port] = (("out", "i8", (8,)),),
    pools: Sequence[tuple[str, int]] = (("ram", 40),),
    weights: str = "const int8_t net_w[16] = {1, 2, 3};",
    nodes: Sequence[str] = (),
    core: str = "cortex-m4",
    selftest: str = "return 0;",
) -> Bundle:
    """An artifact whose run function has this body; it sees its parameters by their names, `net` and `net_w`.

    Args:
        inputs, outputs: name, dtype, shape.
        pools: name and bytes; their members are `arena`, and `arena_NAME` for all but the first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    members = ["arena" if index == 0 else f"arena_{name}" for index, (name, _) in enumerate(pools)]
    macros = [
        "NET_ARENA_SIZE" if index == 0 else f"NET_ARENA_{name.upper()}_SIZE"
        for index, (name, _) in enumerate(pools)
    ]
    parameters = ", ".join(
        [
            "const net_t *net",
            *(f"const {C_TYPES[dtype]} *{name}" for name, dtype, _ in inputs),
            *(f"{C_TYPES[dtype]} *{name}" for name, dtype, _ in outputs),
        ]
    )
    unused = " ".join(f"(void){name};" for name, _, _ in (("net", "", ()), *inputs, *outputs))
    sizes = "\n".join(f"#define {macro} {size}u" for macro, (_, size) in zip(macros, pools, strict=True))
    struct = " ".join(f"void *{member};" for member in members)
    _write(
        folder / "dnncc.h",
        "#ifndef DNNCC_H\n#define DNNCC_H\n#include <stdint.h>\n#include <string.h>\n#endif\n",
    )
    _write(
        folder / "net.h",
        f"""#ifndef NET_H
#define NET_H
#include "dnncc.h"
{sizes}
typedef struct {{ {struct} }} net_t;
int net_run({parameters});
#endif
""",
    )
    _write(
        folder / "net.c",
        f"""#include "net.h"
#ifndef NET_NODE_BEGIN
#define NET_NODE_BEGIN(index)
#define NET_NODE_END(index)
#endif
extern const int8_t net_w[16];
{prelude}
int net_run({parameters}) {{
    {unused}
    {body}
    return 0;
}}
""",
    )
    _write(folder / "net_weights.c", f'#include "net.h"\nextern const int8_t net_w[16];\n{weights}\n')
    _write(
        folder / "net_selftest.c",
        f"""#include "net.h"
int net_selftest(const net_t *net);
int net_selftest(const net_t *net) {{ (void)net; {selftest} }}
""",
    )
    manifest = {
        "schema": 1,
        "name": "net",
        "core": core,
        "inputs": [{"name": name, "dtype": dtype, "shape": shape} for name, dtype, shape in inputs],
        "outputs": [{"name": name, "dtype": dtype, "shape": shape} for name, dtype, shape in outputs],
        "pools": [
            {"name": name, "member": member, "macro": macro, "bytes": size, "align": 8}
            for member, macro, (name, size) in zip(members, macros, pools, strict=True)
        ],
        "nodes": [{"name": name, "op": "test", "macs": 1} for name in nodes],
        "sources": ["net.c", "net_weights.c"],
    }
    _write(folder / "manifest.json", json.dumps(manifest))
    return Bundle.open(folder)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
