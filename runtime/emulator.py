"""Measures an artifact on an emulated Cortex-M: instructions, cycles, stack, and every bad access."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from dnncc.errors import InternalError, MismatchError
from dnncc.runtime import diagnose
from dnncc.runtime.bundle import Array, Bundle, Port
from dnncc.runtime.cores import get_core
from dnncc.runtime.decode import Decoder, Instruction
from dnncc.runtime.firmware import Region, read_firmware
from dnncc.runtime.machine import Machine
from dnncc.runtime.observer import BlockCount
from dnncc.runtime.timing import cycle_model
from dnncc.runtime.toolchain import as_bundle, compile_firmware
from numpy.typing import NDArray

_FIRST_BUFFER = 0x24000000
_BUFFER_GAP = 0x10000
_STACK_END = 0x3FF00000


@dataclass(frozen=True)
class NodeMeasurement:
    """What one node took; its calls included, as is whatever the compiler moved into it."""

    name: str
    op: str
    macs: int
    instructions: int
    cycles: int


@dataclass(frozen=True, eq=False)
class Measurement:
    """One inference.

    Attributes:
        outputs: in the artifact's types.
        instructions: retired, from the first of the run function to its return; exact. An instruction whose
            IT condition fails counts, as it does in hardware counters.
        cycles: estimated (see timing.py), plus one per unaligned access.
        stack_bytes: from the stack pointer at the call to the lowest it reaches, the run function's frame
            included.
        unaligned_accesses: single loads and stores at addresses that are no multiple of their size; of the
            emulator's first run, as is what they add to the cycles.
        nodes: per node in profile mode, else empty. What lies outside all nodes is in the totals only.
    """

    outputs: list[Array]
    instructions: int
    cycles: int
    stack_bytes: int
    unaligned_accesses: int
    nodes: tuple[NodeMeasurement, ...]


class Emulator:
    """An artifact on an emulated core.

    Every data access is checked against the regions that the artifact may use: its code and constants (read
    only), its inputs (read only), arenas, outputs, statics and the stack, each byte-exact. Buffers are
    aligned to exactly what the manifest promises, and no more; in an emulator's first run unaligned accesses
    are found, and are an error where the core would fault. What is not checked: which of its constants the
    code reads, and whether a read from the arena finds a value that was written before (but every run starts
    from other garbage).

    Args:
        artifact: the artifact or its folder.
        core: such as "cortex-m4"; the manifest's own if None.
        compiler: "zig" or "gcc-arm"; opt: its optimization option.
        profile: measure per node.
        instruction_limit: instructions after which a run is given up.
        stack_bytes: the stack that is there.
        check_alignment: look for unaligned accesses in the first run, which then takes several times longer.

    Attributes:
        flash_bytes: code_bytes + constant_bytes + initial values of statics, of the artifact's own objects.
        library_bytes: what the linker added: memcpy and its kin, 64-bit or floating-point arithmetic.
        ram_bytes: arenas and statics. The stack, inputs and outputs are apart.

    Raises:
        UsageError: no such core or compiler. ToolMissingError, ToolFailedError: the compiler or emulator is
            missing, or fails. MismatchError: the manifest and the header disagree on the arena.
    """

    def __init__(
        self,
        artifact: Bundle | Path | str,
        core: str | None = None,
        compiler: str = "zig",
        profile: bool = False,
        opt: str = "-O2",
        defines: Sequence[str] = (),
        instruction_limit: int = 1_000_000_000,
        stack_bytes: int = 64 * 1024,
        check_alignment: bool = True,
    ) -> None:
        self.bundle = as_bundle(artifact)
        self.core = get_core(core if core is not None else self.bundle.core)
        self.profile = profile
        self._limit = instruction_limit
        self._stack = Region("stack", _STACK_END - stack_bytes, _STACK_END)
        path = compile_firmware(self.bundle, self.core.name, compiler, opt, profile, defines)
        self.firmware = read_firmware(path, f"{self.bundle.name}_run")
        self._check_layout()
        self.code_bytes = self.firmware.code_bytes
        self.constant_bytes = self.firmware.constant_bytes
        self.library_bytes = self.firmware.library_bytes
        self.flash_bytes = self.firmware.flash_bytes
        self.static_bytes = self.firmware.static_bytes
        self.ram_bytes = sum(pool.bytes for pool in self.bundle.pools) + self.static_bytes
        self._place_buffers()
        self._machine: Machine | None = None
        # Unaligned accesses per profiling state, once the first run has counted them.
        self._misaligned: NDArray[np.int64] | None = None
        if not check_alignment:
            self._misaligned = np.zeros(len(self.bundle.nodes) + 1, np.int64)
        self._runs = 0

    def run(self, inputs: Sequence[Array]) -> Measurement:
        """Runs one inference.

        Args:
            inputs: one array per input, in the artifact's types and shapes.

        Raises:
            UsageError: the inputs do not fit. MismatchError: a forbidden access, a fault, a register that is
                not restored, an error code, or no end.
        """
        arrays = self.bundle.check_inputs(inputs)
        machine = self._machine or self._new_machine()
        # A run that fails leaves the core in no state to go on from; the first run watches more than others.
        self._machine = None
        self._fill(machine, arrays)
        buffers = [*self._inputs, *self._outputs]
        fault = machine.call([self._struct.begin, *(buffer.begin for buffer in buffers)], self._limit)
        problem = diagnose.problem(
            machine, self._decoder, self.firmware.symbols, self.core, fault, self._limit
        )
        if problem:
            raise MismatchError(f"{self.bundle.name} on {self.core.name}: {problem}")
        if machine.register("R0"):
            raise MismatchError(f"{self.bundle.name}_run returned the error code {machine.register('R0')}")
        if self._misaligned is None:
            self._misaligned = machine.observer.misaligned.astype(np.int64)
        else:
            self._machine = machine
        return self._measure(machine)

    def _measure(self, machine: Machine) -> Measurement:
        states = len(self.bundle.nodes) + 1
        instructions = np.zeros(states, np.int64)
        misaligned = self._misaligned if self._misaligned is not None else np.zeros(states, np.int64)
        cycles = misaligned.copy()
        lowest = machine.observer.lowest_stack_access
        for count in machine.observer.blocks():
            block = self._decoder.block(count.address, count.size)
            self._add(block, count, instructions, cycles)
            lowest = min(lowest, count.lowest_sp + _deepest(block))
        if int(instructions.sum()) != machine.observer.instructions:
            raise InternalError(
                f"the decoder counts {int(instructions.sum())} instructions, "
                f"the observer {machine.observer.instructions}"
            )
        nodes = tuple(
            NodeMeasurement(node.name, node.op, node.macs, int(instructions[i + 1]), int(cycles[i + 1]))
            for i, node in enumerate(self.bundle.nodes)
            if self.profile
        )
        outputs = [
            np.frombuffer(machine.read(region.begin, region.bytes), port.numpy_dtype)
            .reshape(port.shape)
            .copy()
            for port, region in zip(self.bundle.outputs, self._outputs, strict=True)
        ]
        return Measurement(
            outputs=outputs,
            instructions=int(instructions.sum()),
            cycles=int(cycles.sum()),
            stack_bytes=machine.entry_sp - lowest,
            unaligned_accesses=int(misaligned.sum()),
            nodes=nodes,
        )

    def _add(
        self,
        block: Sequence[Instruction],
        count: BlockCount,
        instructions: NDArray[np.int64],
        cycles: NDArray[np.int64],
    ) -> None:
        """Adds one block's cost to the states that it ran in; marks inside it change the state on the way."""
        executed = count.executed.astype(np.int64)
        times, state = executed, None
        for instruction, cost in zip(block, self._model.cycles(block), strict=True):
            if instruction.address in self.firmware.marks:
                state = self.firmware.marks[instruction.address]
                times = np.zeros_like(executed)
                times[state] = executed.sum()
            instructions += times
            cycles += cost * times
        cycles += self._model.taken(block[-1]) * count.taken.astype(np.int64)

    def _new_machine(self) -> Machine:
        machine = Machine(
            self.firmware,
            self.core,
            regions=(*self._pools, *self._outputs),
            constants=(self._struct, *self._inputs),
            stack=self._stack,
            states=len(self.bundle.nodes) + 1,
            watch_everything=self._misaligned is None,
        )
        self._decoder = Decoder(
            machine.code, self.firmware.code.begin, armv8="Armv8" in self.core.architecture
        )
        self._model = cycle_model(self.core.name)
        return machine

    def _fill(self, machine: Machine, arrays: Sequence[Array]) -> None:
        """Inputs in place; arenas, outputs and stack full of garbage that differs from run to run."""
        garbage = np.random.default_rng(self._runs)
        self._runs += 1
        for region in (*self._pools, *self._outputs, self._stack):
            machine.write(region.begin, garbage.bytes(region.bytes))
        for region, array in zip(self._inputs, arrays, strict=True):
            machine.write(region.begin, array.tobytes())
        struct = bytearray(self._struct.bytes)
        for pool, offset in zip(self._pools, self.firmware.layout[1::2], strict=False):
            struct[offset : offset + 4] = pool.begin.to_bytes(4, "little")
        machine.write(self._struct.begin, bytes(struct))
        machine.restore_statics()

    def _place_buffers(self) -> None:
        cursor = _FIRST_BUFFER

        def place(name: str, size: int, align: int) -> Region:
            """A region of its own pages, at a multiple of `align` and of no higher power of two."""
            nonlocal cursor
            begin = cursor + align
            cursor = (begin + size) // _BUFFER_GAP * _BUFFER_GAP + 2 * _BUFFER_GAP
            return Region(name, begin, begin + size)

        def port(kind: str, entry: Port) -> Region:
            return place(f"{kind} {entry.name!r}", entry.bytes, entry.align)

        self._struct = place("the network's struct", self.firmware.layout[0], 4)
        self._pools = [place(f"arena {pool.name!r}", pool.bytes, pool.align) for pool in self.bundle.pools]
        self._inputs = [port("input", entry) for entry in self.bundle.inputs]
        self._outputs = [port("output", entry) for entry in self.bundle.outputs]

    def _check_layout(self) -> None:
        marked = max(self.firmware.marks.values(), default=0)
        if marked > len(self.bundle.nodes):
            raise MismatchError(
                f"the code marks node {marked - 1} and the manifest has {len(self.bundle.nodes)} nodes",
                help="compile the model again: the artifact was changed by hand",
            )
        for pool, size in zip(self.bundle.pools, self.firmware.layout[2::2], strict=False):
            if size != pool.bytes:
                raise MismatchError(
                    f"{pool.macro} is {size} in the header and {pool.bytes} in the manifest",
                    help="compile the model again: the artifact was changed by hand",
                )


def _deepest(block: Sequence[Instruction]) -> int:
    """The lowest point of the stack pointer within a block, relative to its value at entry; at most 0.

    After a change by an amount that only the run knows, the rest of the block says nothing: the next block's
    own entry value does.
    """
    depth = lowest = 0
    for instruction in block:
        if instruction.stack_change is None:
            break
        depth += instruction.stack_change
        lowest = min(lowest, depth)
    return lowest
