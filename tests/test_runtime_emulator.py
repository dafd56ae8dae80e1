"""The Cortex-M emulator: exact counts, and every access that the artifact must not make."""

from __future__ import annotations

import ctypes
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
from dnncc.errors import MismatchError, ToolMissingError, UsageError
from dnncc.runtime.cores import CORES
from dnncc.runtime.decode import Decoder, Op
from dnncc.runtime.emulator import Emulator
from dnncc.runtime.firmware import Region
from dnncc.runtime.host import HostModel
from dnncc.runtime.observer import Observer
from handwritten import write_artifact

SAMPLE = np.arange(-4, 4, dtype=np.int8)
ARMV7 = [core for core in CORES if core != "cortex-m0plus"]


def choose(case: int) -> list[np.ndarray]:
    """The input that makes an artifact of `switched` run one of its cases; 0 is harmless."""
    return [np.full(8, case, np.int8)]


def switched(folder: Path, cases: list[str], prelude: str = "", **options):
    """An artifact with many ways to misbehave, each chosen by the first input value."""
    branches = "\n".join(f"case {number}: {{ {code} break; }}" for number, code in enumerate(cases, start=1))
    body = f"switch (in[0]) {{ {branches} default: break; }} for (int i = 0; i < 8; i++) out[i] = in[i];"
    return write_artifact(folder, body, prelude=prelude, **options)


READ = "static int8_t peek(const volatile void *p, int at) { return ((const volatile int8_t *)p)[at]; }\n"
WRITE = "static void poke(volatile void *p, int at) { ((volatile int8_t *)p)[at] = 5; }\n"
WORD = (
    "static void poke4(volatile void *p, int at)"
    "{ *(volatile int32_t *)(void *)((volatile int8_t *)p + at) = 5; }\n"
)

ACCESSES = [
    ("poke(net->arena, 40);", "writes 1 byte .* 1 byte past the end of arena 'ram'"),
    ("poke(net->arena, -1);", "writes 1 byte .* 1 byte before arena 'ram'"),
    ("poke4(net->arena, 38);", "writes 4 bytes .* at byte 38 of arena 'ram'"),
    ("poke4(net->arena, -2);", "writes 4 bytes .* 2 bytes before arena 'ram'"),
    ("out[0] = peek(net->arena, 40);", "reads 1 byte .* past the end of arena"),
    ("out[0] = peek(net->arena, -1);", "reads 1 byte .* before arena"),
    ("out[0] = peek(in, 8);", "reads 1 byte .* 1 byte past the end of input 'in'"),
    ("out[0] = peek(in, -1);", "reads 1 byte .* 1 byte before input 'in'"),
    ("poke((volatile void *)(uintptr_t)in, 3);", "writes 1 byte of read-only memory .* byte 3 of input 'in'"),
    ("poke(out, 8);", "writes 1 byte .* 1 byte past the end of output 'out'"),
    ("poke(out, -1);", "writes 1 byte .* 1 byte before output 'out'"),
    ("out[0] = peek(net_w, 16);", "reads 1 byte .* 1 byte past the end of constants"),
    ("out[0] = peek(net_w, -1);", "reads 1 byte .* 1 byte before constants"),
    (
        "poke((volatile void *)(uintptr_t)net_w, 1);",
        "writes 1 byte of read-only memory .* byte 1 of constants",
    ),
    ("poke((volatile void *)(uintptr_t)&net->arena, 0);", "read-only memory .* the network's struct"),
    ("poke((volatile void *)((uintptr_t)net_run & ~1u), 0);", "writes 1 byte of read-only memory .* of code"),
    ("poke((volatile void *)(uintptr_t)4096, 0);", "memory that is not its own at 0x00001000"),
    ('__asm__ volatile("ldr r2, [sp, #252]" ::: "r2", "memory");', "reads 4 bytes .* past the end of stack"),
]


@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m4"])
def test_every_access_outside_is_caught_to_the_byte(tmp_path: Path, core: str) -> None:
    """In a first run, where all accesses are watched, and in later ones, where those at borders are."""
    bundle = switched(tmp_path, [code for code, _ in ACCESSES], prelude=READ + WRITE + WORD)
    emulator = Emulator(bundle, core)
    for _ in range(2):
        for number, (_, message) in enumerate(ACCESSES, start=1):
            with pytest.raises(MismatchError, match=message):
                emulator.run(choose(number))
        assert np.array_equal(emulator.run(choose(0)).outputs[0], choose(0)[0])


FAULTS = [
    ("((void (*)(void))(uintptr_t)0x20000001)();", "jumps out of its code to 0x20000000"),
    ("((void (*)(void))((uintptr_t)net->arena | 1u))();", "jumps out of its code to 0x24"),
    ('__asm__ volatile("udf #0");', "Invalid instruction"),
    ('__asm__ volatile("bkpt #0");', "exception"),
    ("for (volatile int i = 0;; i++) { }", "does not return within 50000 instructions"),
    ('__asm__ volatile("mov r11, r0");', "does not preserve R11"),
    ("return 3;", "error code 3"),
    ("deep();", "1 byte before stack"),
    (
        '__asm__ volatile("ldmia %0!, {r4, r5}" :: "l"((uintptr_t)net->arena + 2) : "r4", "r5", "memory");',
        "unaligned",
    ),
]


DEEP = """__attribute__((noinline)) static void deep(void) {
    volatile int8_t large[5000];
    for (int i = 4999; i >= 0; i--) large[i] = 1;
}"""


@pytest.mark.parametrize("core", CORES)
def test_faults_are_reported_and_never_hang(tmp_path: Path, core: str) -> None:
    bundle = switched(tmp_path, [code for code, _ in FAULTS], prelude=DEEP)
    emulator = Emulator(bundle, core, instruction_limit=50_000, stack_bytes=4096)
    for number, (_, message) in enumerate(FAULTS, start=1):
        with pytest.raises(MismatchError, match=message):
            emulator.run(choose(number))
    assert np.array_equal(emulator.run(choose(0)).outputs[0], choose(0)[0])


def test_floating_point_registers_must_be_preserved(tmp_path: Path) -> None:
    bundle = write_artifact(tmp_path, '__asm__ volatile("vmov.f32 s17, s0");')
    with pytest.raises(MismatchError, match="does not preserve D8"):
        Emulator(bundle, "cortex-m4").run([SAMPLE])


@pytest.mark.parametrize("core", CORES)
def test_unaligned_words_fault_on_the_m0plus_and_count_elsewhere(tmp_path: Path, core: str) -> None:
    bundle = write_artifact(tmp_path, "out[0] = (int8_t)*(volatile int32_t *)((uintptr_t)net->arena + 2);")
    emulator = Emulator(bundle, core)
    if not CORES[core].unaligned:
        with pytest.raises(MismatchError, match=r"unaligned .* at byte 2 of arena"):
            emulator.run([SAMPLE])
        return
    first, second = emulator.run([SAMPLE]), emulator.run([SAMPLE])
    assert first.unaligned_accesses == second.unaligned_accesses == 1
    assert first.cycles == second.cycles
    unchecked = Emulator(bundle, core, check_alignment=False).run([SAMPLE])
    assert (unchecked.unaligned_accesses, unchecked.cycles) == (0, first.cycles - 1)


# Assembly, its instructions, and its cycles by Arm's tables, as if nothing came before or after.
COUNTED = [
    ("nop; nop; nop", 3, {"cortex-m0plus": 3, "cortex-m4": 3}),
    ("movs r3, #10; 1: subs r3, #1; bne 1b", 21, {"cortex-m0plus": 30, "cortex-m3": 30, "cortex-m4": 30}),
    ("movs r3, #1; b 1f; nop; nop; 1: movs r3, #2", 3, {"cortex-m0plus": 4, "cortex-m4": 4}),
    ("bl two", 3, {"cortex-m0plus": 6, "cortex-m4": 6}),
    (".rept 3000; adds r3, #1; .endr", 3000, {"cortex-m0plus": 3000, "cortex-m4": 3000}),
]
COUNTED_ARMV7 = [
    ("movs r3, #0; cmp r3, #1; ite eq; moveq r3, #1; movne r3, #2", 5, {"cortex-m4": 4}),
    ("movs r3, #3; 1: subs r3, #1; ittt mi; nopmi; nopmi; bmi 2f; b 1b; 2: nop", 25, {}),
    ("movs r3, #2; 1: cbz r3, 2f; subs r3, #1; b 1b; 2: nop", 9, {}),
]
TWO = 'void two(void); __attribute__((naked, used)) void two(void) { __asm__("movs r3, #5; bx lr"); }'


@pytest.mark.parametrize("core", CORES)
def test_instructions_are_exact_and_cycles_are_the_tables(tmp_path: Path, core: str) -> None:
    """In profile mode, where a node's counts are the assembly between its marks and nothing else."""
    kernels = COUNTED if core == "cortex-m0plus" else COUNTED + COUNTED_ARMV7
    body = "\n".join(
        f'NET_NODE_BEGIN({index}); __asm__ volatile("{code}" ::: "r3", "lr", "cc"); NET_NODE_END({index});'
        for index, (code, _, _) in enumerate(kernels)
    )
    bundle = write_artifact(tmp_path, body, prelude=TWO, nodes=[f"n{index}" for index in range(len(kernels))])
    measured = Emulator(bundle, core, profile=True).run([SAMPLE])
    assert [node.instructions for node in measured.nodes] == [instructions for _, instructions, _ in kernels]
    for node, (code, _, cycles) in zip(measured.nodes, kernels, strict=True):
        if core in cycles:
            assert node.cycles == cycles[core], code
    assert measured.instructions > sum(node.instructions for node in measured.nodes)


MIXED = """
    static volatile int32_t divisor = 3;
    int16_t *wide = (int16_t *)net->arena;
    for (int i = 0; i < 8; i++) wide[i] = (int16_t)(in[i] * 100);
    memcpy(wide + 8, wide, (size_t)(in[0] + 20));
    for (int i = 0; i < 8; i++) {
        int64_t product = (int64_t)wide[i] * (1 << 24) * in[7 - i];
        int32_t value = (int32_t)(product >> 30) / divisor;
        out[i] = (int8_t)(value > 100 ? 100 : value < -100 ? -100 : value);
    }
"""


JUMPS = (Op.BRANCH, Op.CALL, Op.BRANCH_REGISTER, Op.TABLE_BRANCH)


def retired(trace: list[tuple[int, int]], decoder: Decoder) -> int:
    """Instructions of a trace of (address, size), which lacks those whose IT condition failed."""
    count = len(trace)
    for (address, size), (following, _) in itertools.pairwise(trace):
        (instruction,) = decoder.block(address, size)
        if instruction.op not in JUMPS and not instruction.loads_pc:
            count += len(decoder.block(address + size, following - address - size))
    return count


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("opt", ["-O0", "-O2", "-Os"])
def test_counts_agree_with_a_hook_on_every_instruction(tmp_path: Path, core: str, opt: str) -> None:
    from unicorn import UC_HOOK_CODE

    bundle = write_artifact(tmp_path, MIXED)
    emulator = Emulator(bundle, core, opt=opt)
    expected = HostModel(bundle).run([SAMPLE])[0]
    trace: list[tuple[int, int]] = []
    machine = emulator._new_machine()
    machine._engine.hook_add(UC_HOOK_CODE, lambda engine, address, size, data: trace.append((address, size)))
    emulator._machine = machine
    slow = emulator.run([SAMPLE])
    code = emulator.firmware.code
    own = [(address, size) for address, size in trace if code.begin <= address < code.end]
    assert slow.instructions == retired(own, emulator._decoder)
    again = emulator.run([SAMPLE])
    assert (again.instructions, again.cycles) == (slow.instructions, slow.cycles)
    assert np.array_equal(slow.outputs[0], expected)
    assert np.array_equal(again.outputs[0], expected)


@pytest.mark.parametrize("core", ARMV7)
def test_watching_a_conditional_access_changes_nothing(tmp_path: Path, core: str) -> None:
    """A store whose IT block is the last before a jump, with flags that have changed by then."""
    store = "cmp %0, %0; itt eq; strbeq %0, [%2]; moveq r2, #0; movs r2, #1; b 1f; 1: mov %1, %0; mov %1, %0"
    body = f"""int before = in[0], after = 99;
    int8_t *last = (int8_t *)net->arena + 39;
    __asm__ volatile("{store}" : "+r"(before), "+r"(after) : "r"(last) : "r2", "cc", "memory");
    out[0] = (int8_t)after;"""
    emulator = Emulator(write_artifact(tmp_path, body), core)
    first, second = emulator.run([SAMPLE]), emulator.run([SAMPLE])
    assert first.outputs[0][0] == second.outputs[0][0] == SAMPLE[0]
    assert first.instructions == second.instructions


KERNEL = """
void kernel(void);
__attribute__((naked, used, noinline)) void kernel(void) {{ __asm__("{code}"); }}
"""


NESTED = """push {r4, lr}; sub sp, #64; bl leaf; add sp, #64; pop {r4, pc}; \\
leaf: push {r3, r4, r5, r6, r7, lr}; pop {r3, r4, r5, r6, r7, pc}"""


@pytest.mark.parametrize(
    ("code", "depth"),
    [
        ("bx lr", 0),
        ("push {r4, lr}; pop {r4, pc}", 8),
        ("sub sp, #100; add sp, #100; bx lr", 100),  # reserved, never touched
        (NESTED, 96),
        ("mov r12, sp; movs r3, #255; mvns r3, r3; add sp, r3; b 1f; 1: mov sp, r12; bx lr", 256),
    ],
)
@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m4"])
def test_stack_depth_is_exact(tmp_path: Path, core: str, code: str, depth: int) -> None:
    def measure(folder: str, assembly: str) -> int:
        prelude = KERNEL.format(code=assembly)
        bundle = write_artifact(tmp_path / folder, "kernel();", prelude=prelude)
        return Emulator(bundle, core).run([SAMPLE]).stack_bytes

    assert measure("with", code) - measure("without", "bx lr") == depth


def test_stack_depth_is_that_of_the_last_run(tmp_path: Path) -> None:
    """The same leaf, called from 64 bytes further down if the input says so."""
    far = "push {r4, lr}; cmp r0, #0; beq 1f; sub sp, #64; bl leaf; add sp, #64; pop {r4, pc}"
    near = "1: bl leaf; pop {r4, pc}; leaf: push {r3, lr}; b 2f; 2: pop {r3, pc}"
    prelude = f"""void kernel(int deep);
    __attribute__((naked, used, noinline)) void kernel(int deep __attribute__((unused))) {{
        __asm__("{far}; {near}");
    }}"""
    emulator = Emulator(write_artifact(tmp_path, "kernel(in[0]);", prelude=prelude))
    shallow, deep, again = (emulator.run(choose(first)).stack_bytes for first in (0, 1, 0))
    assert deep == shallow + 64
    assert again == shallow


def test_stack_includes_the_run_function_and_the_double_registers(tmp_path: Path) -> None:
    code = "vpush {d8, d9}; str r4, [sp, #-4]!; ldr r4, [sp], #4; vpop {d8, d9}"
    push = f'__asm__ volatile("{code}" ::: "memory");'
    plain = Emulator(write_artifact(tmp_path / "a", "(void)0;"), "cortex-m4").run([SAMPLE])
    assert plain.stack_bytes == 0
    assert Emulator(write_artifact(tmp_path / "b", push), "cortex-m4").run([SAMPLE]).stack_bytes == 20


@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m4"])
def test_flash_and_ram_are_the_artifacts_own(tmp_path: Path, core: str) -> None:
    def build(folder: str, constants: int, statics: int, copy: str) -> Emulator:
        prelude = (
            f"static const volatile int8_t table[{constants}] = {{1}};"
            f"static volatile int8_t state[{statics}]; static volatile int32_t start = 7;"
        )
        body = f"state[0] = table[in[0] & 3]; out[0] = (int8_t)(state[0] + start); {copy}"
        return Emulator(write_artifact(tmp_path / folder, body, prelude=prelude), core)

    small = build("small", 1000, 20, "")
    large = build("large", 3000, 60, "memmove(net->arena, in, (size_t)out[0]);")
    assert small.constant_bytes == 1000  # net_w is not used and not linked
    assert large.constant_bytes == 3000
    assert small.ram_bytes == 40 + 20 + 4
    assert large.ram_bytes == 40 + 60 + 4
    assert small.flash_bytes == small.code_bytes + small.constant_bytes + 4
    assert large.library_bytes > small.library_bytes
    assert large.code_bytes - small.code_bytes < 40
    large.run([np.ones(8, np.int8)])


def test_statics_start_afresh_and_garbage_differs(tmp_path: Path) -> None:
    body = "static int8_t calls; calls++; out[0] = calls; out[1] = ((volatile int8_t *)net->arena)[5];"
    emulator = Emulator(write_artifact(tmp_path, body), "cortex-m4")
    outputs = [emulator.run([SAMPLE]).outputs[0] for _ in range(4)]
    assert [int(output[0]) for output in outputs] == [1] * 4
    assert len({int(output[1]) for output in outputs}) > 1
    assert len({int(output[7]) for output in outputs}) > 1  # never written


def test_a_node_owns_what_it_calls_and_inputs_of_any_type_work(tmp_path: Path) -> None:
    prelude = "__attribute__((noinline)) static float twice(float x) { return x + x; }"
    body = """for (int r = 0; r < 3; r++) {
        float *a = net->arena, *b = net->arena_ccm;
        NET_NODE_BEGIN(0);
        for (int i = 0; i < 4; i++) a[i] = twice(x[i]);
        NET_NODE_END(0);
        NET_NODE_BEGIN(1);
        for (int i = 0; i < 4; i++) q[i] = b[0] + x[i];
        NET_NODE_END(1);
        NET_NODE_BEGIN(2);
        q[0] = a[3] + (float)y[0] + (float)z[1] + (float)w[0];
        NET_NODE_END(2);
    }"""
    bundle = write_artifact(
        tmp_path,
        f"*(float *)net->arena_ccm = 0.5f; {body}",
        prelude=prelude,
        inputs=[("x", "f32", (4,)), ("y", "i16", (1,)), ("z", "u8", (2,)), ("w", "i32", (1,))],
        outputs=[("q", "f32", (4,))],
        pools=[("ram", 16), ("ccm", 8)],
        nodes=["a", "b", "c"],
    )
    inputs = [
        np.array([1, 2, 3, 4], np.float32),
        np.array([-300], np.int16),
        np.array([0, 200], np.uint8),
        np.array([10], np.int32),
    ]
    for core in CORES:
        measured = Emulator(bundle, core, profile=True).run(inputs)
        assert measured.outputs[0].tolist() == [8 - 300 + 200 + 10, 2.5, 3.5, 4.5]
        a, b, c = (node.instructions for node in measured.nodes)
        assert min(a, b, c) > 0
        assert a + b + c < measured.instructions
        assert sum(node.cycles for node in measured.nodes) < measured.cycles
        assert Emulator(bundle, core).run(inputs).nodes == ()


def test_a_header_that_disagrees_with_the_manifest(tmp_path: Path) -> None:
    bundle = write_artifact(tmp_path)
    header = tmp_path / "net.h"
    header.write_text(header.read_text().replace("NET_ARENA_SIZE 40u", "NET_ARENA_SIZE 44u"))
    with pytest.raises(MismatchError, match="44 in the header and 40 in the manifest"):
        Emulator(bundle)


def test_code_that_marks_more_nodes_than_the_manifest_has(tmp_path: Path) -> None:
    bundle = write_artifact(tmp_path, "NET_NODE_BEGIN(1); out[0] = in[0]; NET_NODE_END(1);", nodes=["only"])
    with pytest.raises(MismatchError, match="marks node 1 and the manifest has 1 nodes"):
        Emulator(bundle, profile=True)


@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m4"])
def test_the_harness_copies_and_fills_like_the_c_library(tmp_path: Path, core: str) -> None:
    """Every alignment of both ends, overlapping both ways, sizes around the words and blocks of the loops."""
    size = 96
    body = f"""uint8_t *a = net->arena;
    memcpy(a, data, {size}u);
    if (how[0] == 0) memcpy(a + how[1], a + how[2], how[3]);
    if (how[0] == 1) memmove(a + how[1], a + how[2], how[3]);
    if (how[0] == 2) memset(a + how[1], how[2], how[3]);
    for (int i = 0; i < {size}; i++) out[i] = a[i];"""
    bundle = write_artifact(
        tmp_path,
        body,
        inputs=[("data", "u8", (size,)), ("how", "u8", (4,))],
        outputs=[("out", "u8", (size,))],
        pools=[("ram", size)],
    )
    emulator = Emulator(bundle, core, check_alignment=core == "cortex-m0plus")
    data = np.random.default_rng(1).integers(0, 256, size, dtype=np.uint8)
    cases = [
        (how, to, start, count)
        for how, span in ((0, 48), (1, 3))
        for to, start in ((span, 0), (span + 1, 1), (span + 1, 0), (0, span), (1, span), (4, 0), (0, 4))
        for count in (0, 1, 3, 4, 5, 15, 16, 17, 35, 44)
        if how == 1 or abs(to - start) >= count
    ]
    cases += [(2, to, 200, count) for to in (0, 1, 2, 3) for count in (0, 1, 2, 3, 4, 15, 16, 40)]
    for how, to, start, count in cases:
        expected = data.copy()
        expected[to : to + count] = start if how == 2 else data[start : start + count]
        measured = emulator.run([data, np.array([how, to, start, count], np.uint8)])
        assert np.array_equal(measured.outputs[0], expected), (how, to, start, count)


def test_wrong_inputs_and_missing_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    emulator = Emulator(write_artifact(tmp_path))
    with pytest.raises(UsageError, match="int8"):
        emulator.run([SAMPLE.astype(np.float32)])
    for package in ("unicorn", "capstone"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            with pytest.raises(ToolMissingError, match=f"{package} is not installed"):
                emulator.run([SAMPLE])
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "elftools.elf.elffile", None)
        with pytest.raises(ToolMissingError, match="pyelftools"):
            Emulator(write_artifact(tmp_path))


def test_blocks_that_begin_alike_and_end_differently_are_counted_apart() -> None:
    """Called as the emulator calls it, with a function that reads every register as 0x100."""
    signature = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_uint32))

    def read(engine: int, register: int, value) -> int:
        value[0] = 0x100
        return 0

    reader = signature(read)
    pointer = int(ctypes.cast(reader, ctypes.c_void_p).value or 0)
    code = bytes.fromhex("00bf 00bf aff30080 00bf")  # nop, nop, nop.w, nop
    observer = Observer(code, 0x1000, {0x1002: 1}, 2, (pointer, pointer, pointer), (0, 1, 2))
    observer.reset([], Region("stack", 0, 0x200), limit=1000)
    on_block = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_void_p)(
        observer.on_block.value
    )
    for address, size in ((0x1000, 2), (0x1000, 8), (0x1000, 2), (0x1002, 8)):
        on_block(None, address, size, observer.address)
    assert {
        (block.address, block.size, block.instructions, *block.executed.tolist(), *block.taken.tolist())
        for block in observer.blocks()
    } == {(0x1000, 2, 1, 1, 1, 1, 0), (0x1000, 8, 3, 1, 0, 0, 1), (0x1002, 8, 3, 0, 1, 0, 1)}
    assert observer.instructions == 8
