"""The C text that joins an artifact to whatever runs it.

The C compiler checks it against the artifact's own header under all warnings, so a manifest that disagrees
with the header (a wrong member, macro or type) fails to compile or is found by comparing sizes.
"""

from __future__ import annotations

from dnncc.runtime.bundle import C_TYPES, Bundle

# States of the profiler: 0 outside every node, then one per node.
OUTSIDE_NODES = 0


def host_source(bundle: Bundle) -> str:
    """Functions for the host loader: sizes, and a call through arrays of pointers.

    ``dnncc_glue_sizes[]`` holds the number of pools, inputs and outputs, then the bytes of each pool (from
    the header's macros), each input and each output. ``dnncc_glue_run(pools, io)`` calls the network.
    """
    io = [*bundle.inputs, *bundle.outputs]
    sizes = [
        *(f"{count}u" for count in (len(bundle.pools), len(bundle.inputs), len(bundle.outputs))),
        *(f"(uint32_t)({pool.macro})" for pool in bundle.pools),
        *(f"{port.bytes}u" for port in io),
    ]
    arguments = ", ".join(["&net", *_casts(bundle)])
    return f"""#include "{bundle.header}"
#include <stddef.h>
#include <stdint.h>
extern const uint32_t dnncc_glue_sizes[];
int dnncc_glue_run(void *const *pools, void *const *io);
const uint32_t dnncc_glue_sizes[] = {{{", ".join(sizes)}}};
int dnncc_glue_run(void *const *pools, void *const *io) {{
    {bundle.name}_t net = {{0}};
{_members(bundle)}    (void)pools;
    return {bundle.name}_run({arguments});
}}
"""


def selftest_source(bundle: Bundle) -> str:
    """``dnncc_glue_selftest(pools)``: the number of wrong bytes, or -1 if the network reports an error."""
    return f"""#include "{bundle.header}"
int {bundle.name}_selftest(const {bundle.name}_t *net);
int dnncc_glue_selftest(void *const *pools);
int dnncc_glue_selftest(void *const *pools) {{
    {bundle.name}_t net = {{0}};
{_members(bundle)}    (void)pools;
    return {bundle.name}_selftest(&net);
}}
"""


def layout_source(bundle: Bundle) -> str:
    """A constant table for the emulator, which calls the network without any C code in between.

    ``dnncc_glue_layout[]`` holds the size of the struct, then per pool the member's offset and the macro's
    value.
    """
    entries = [f"(uint32_t)sizeof({bundle.name}_t)"]
    for pool in bundle.pools:
        entries += [f"(uint32_t)offsetof({bundle.name}_t, {pool.member})", f"(uint32_t)({pool.macro})"]
    return f"""#include "{bundle.header}"
#include <stddef.h>
#include <stdint.h>
extern const uint32_t dnncc_glue_layout[];
const uint32_t dnncc_glue_layout[] = {{{", ".join(entries)}}};
"""


def profile_header(bundle: Bundle) -> str:
    """Profiling macros that emit no instruction, only a label's address into a section aside.

    A pair (address, state) means that from that address on the given state holds: node index + 1, or
    OUTSIDE_NODES.
    """
    prefix = bundle.macro_prefix
    return f"""#define DNNCC_MARK(state) \\
    __asm__ volatile("1:\\n\\t.pushsection .dnncc_nodes,\\"\\",%%progbits\\n\\t" \\
                     ".word 1b, %c0\\n\\t.popsection" : : "i"(state) : "memory")
#define {prefix}_NODE_BEGIN(index) DNNCC_MARK((index) + 1)
#define {prefix}_NODE_END(index) DNNCC_MARK({OUTSIDE_NODES})
"""


def _members(bundle: Bundle) -> str:
    return "".join(f"    net.{pool.member} = pools[{index}];\n" for index, pool in enumerate(bundle.pools))


def _casts(bundle: Bundle) -> list[str]:
    casts = [f"(const {C_TYPES[port.dtype]} *)io[{i}]" for i, port in enumerate(bundle.inputs)]
    first = len(bundle.inputs)
    return casts + [f"({C_TYPES[port.dtype]} *)io[{first + i}]" for i, port in enumerate(bundle.outputs)]
