"""Builds artifacts: shared libraries and programs for the host, bare-metal images for Cortex-M.

Every build lands in a cache folder keyed by the content of all that goes into it, never in the artifact's own
folder, so the same artifact compiles once and a changed byte compiles again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from dnncc.errors import OutputError
from dnncc.runtime import glue
from dnncc.runtime.bundle import Bundle
from dnncc.runtime.compilers import Compiler, cache_root, find_compiler, first_host_compiler
from dnncc.runtime.cores import Core, get_core
from dnncc.runtime.cpus import CPUS

HARNESS = Path(__file__).parent / "harness"

# The generated code is clean under these on every compiler: an artifact that is not fails here.
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")

_SHARED_SUFFIX = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
_KEEP_BUILDS_SECONDS = 7 * 24 * 3600


def compile_host(
    artifact: Bundle | Path | str,
    compiler: str = "auto",
    opt: str = "-O2",
    defines: Sequence[str] = (),
    selftest: bool = False,
) -> Path:
    """Compiles an artifact into a shared library for this machine.

    Args:
        artifact: the artifact or its folder.
        compiler: "gcc", "clang", "zig", or "auto": the first of them that is installed.
        opt: the optimization option, such as "-O3".
        defines: macros, as "NAME" or "NAME=VALUE".
        selftest: with the artifact's self-test.

    Returns:
        The path of the library. It exports the network's own functions and those of the glue
        (runtime/glue.py).

    Raises:
        ToolMissingError, ToolFailedError: there is no such compiler; it rejects the code.
    """
    bundle = as_bundle(artifact)
    driver = _host_driver(compiler)
    flags = (opt, "-shared", "-fPIC", *_quiet_sanitizer(driver), *_defines(defines))
    generated = {"glue.c": glue.host_source(bundle)}
    extra = []
    if selftest:
        generated["selftest_glue.c"] = glue.selftest_source(bundle)
        extra.append(bundle.folder / bundle.selftest)
    return _compile_program(bundle, driver, flags, generated, extra, f"{bundle.name}{_SHARED_SUFFIX}")


def compile_host_program(
    artifact: Bundle | Path | str, compiler: str = "auto", opt: str = "-O1", sanitize: bool = True
) -> Path:
    """Compiles an artifact into a program that reads inputs from stdin and writes outputs to stdout.

    Args:
        sanitize: with AddressSanitizer and UndefinedBehaviorSanitizer, every finding fatal (gcc and clang;
            zig's clang comes without the former's run-time library).
    """
    bundle = as_bundle(artifact)
    driver = _host_driver(compiler)
    checks = ("-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    level = CPUS[bundle.core].flags_of(driver.name) if bundle.core in CPUS else ()
    flags = (opt, *level, *(checks if sanitize else _quiet_sanitizer(driver)))
    generated = {"glue.c": glue.host_source(bundle)}
    return _compile_program(
        bundle, driver, flags, generated, [HARNESS / "host_main.c"], f"{bundle.name}_host"
    )


def compile_firmware(
    artifact: Bundle | Path | str,
    core: str,
    compiler: str = "zig",
    opt: str = "-O2",
    profile: bool = False,
    defines: Sequence[str] = (),
) -> Path:
    """Compiles an artifact into an image for the emulator.

    The image has the memory layout of harness/emulator.ld, in which the artifact's own code and constants are
    apart from the harness's (memcpy, memset and memmove) and the compiler's run-time library.

    Args:
        core: such as "cortex-m4" (see cores.CORES).
        compiler: "zig" or "gcc-arm".
        profile: mark the borders of nodes in the image (see glue.profile_header); adds no instruction.

    Returns:
        The path of the ELF file.

    Raises:
        UsageError: no such core or compiler.
        ToolMissingError, ToolFailedError: there is no such compiler; it rejects the code.
    """
    bundle = as_bundle(artifact)
    target = get_core(core)
    driver = find_compiler(compiler)
    includes = ("-include", "dnncc_profile.h") if profile else ()
    generated = {"harness_glue.c": glue.layout_source(bundle)}
    if profile:
        generated["dnncc_profile.h"] = glue.profile_header(bundle)
    harness = tuple(HARNESS / name for name in ("string.c", "string.h", "emulator.ld"))
    machine = firmware_flags(driver, target)

    def build(folder: Path) -> None:
        _write(folder, generated)
        common = (*machine, opt, "-I", str(bundle.folder.absolute()), "-I", ".")
        objects = []
        for source in bundle.sources:
            objects.append(f"artifact_{Path(source).stem}.o")
            own = (*WARNINGS, *includes, *_defines(defines))
            driver.run((*common, *own, "-c", _in(bundle, source), "-o", objects[-1]), folder)
        objects += ["harness_glue.o", "harness_string.o"]
        driver.run((*common, *WARNINGS, "-c", "harness_glue.c", "-o", objects[-2]), folder)
        # Otherwise compilers turn the loops of memcpy into calls of memcpy.
        own = (*WARNINGS, "-fno-builtin", "-c", str(HARNESS / "string.c"))
        driver.run((*common, *own, "-o", objects[-1]), folder)
        link = ("-T", str(HARNESS / "emulator.ld"), *link_flags(driver, entry=f"{bundle.name}_run"))
        driver.run((*machine, *objects, *link, "-o", f"{bundle.name}.elf"), folder)

    key = (driver.version, *machine, opt, str(profile), *defines, *generated.values())
    return cached_build(key, (*_files(bundle), *harness), build) / f"{bundle.name}.elf"


def compile_library(sources: Sequence[Path], name: str) -> Path:
    """Compiles C files of ours into a shared library with the first compiler that is installed."""
    driver = first_host_compiler()
    flags = (*WARNINGS, "-O2", "-shared", "-fPIC", *_quiet_sanitizer(driver))
    file = f"{name}{_SHARED_SUFFIX}"

    def build(folder: Path) -> None:
        driver.run((*flags, *(str(source) for source in sources), "-o", file), folder)

    headers = sorted({header for source in sources for header in source.parent.glob("*.h")})
    return cached_build((driver.version, *flags), [*sources, *headers], build) / file


def firmware_flags(driver: Compiler, core: Core) -> tuple[str, ...]:
    """What every bare-metal compilation for `core` is called with, apart from the optimization."""
    sections = ("-ffunction-sections", "-fdata-sections", "-fomit-frame-pointer")
    tables = ("-fno-unwind-tables", "-fno-asynchronous-unwind-tables")
    if driver.name == "zig":
        # zig has no C library for bare metal: harness/string.h declares what artifacts may use. It also takes
        # bare metal for freestanding, where a memcpy of four bytes is a call: -fhosted makes it a load again.
        own = (*core.zig_flags, "-fhosted", "-isystem", str(HARNESS), *_quiet_sanitizer(driver))
    else:
        own = (*core.gcc_flags, "-idirafter", str(HARNESS))  # after newlib's, which may not be installed
    return (*own, *sections, *tables)


def link_flags(driver: Compiler, entry: str) -> tuple[str, ...]:
    """How a bare-metal image is linked: no start files, no C library, the compiler's run-time library.

    Args:
        entry: the function that everything else is kept for.
    """
    common = ("-Wl,--gc-sections", f"-Wl,--entry={entry}")
    if driver.name == "zig":
        return common  # compiler_rt comes by itself
    return (*common, "-nostartfiles", "-nostdlib", "-Wl,--no-warn-rwx-segments", "-lgcc")


def as_bundle(artifact: Bundle | Path | str) -> Bundle:
    """The artifact itself, opened where a folder is given."""
    return artifact if isinstance(artifact, Bundle) else Bundle.open(artifact)


def cached_build(key: Iterable[str], files: Iterable[Path], build: Callable[[Path], None]) -> Path:
    """The folder that `build` filled for this key and these files' contents, now or earlier.

    `build` works in a private folder that takes its final name only when complete, so neither a failure nor
    another process leaves half a build.

    Raises:
        OutputError: the cache folder cannot be written.
    """
    digest = hashlib.sha256()
    for part in key:
        digest.update(part.encode() + b"\0")
    for file in files:
        content = file.read_bytes()
        digest.update(f"{file.name}\0{len(content)}\0".encode() + content)
    root = cache_root() / "builds"
    folder = root / digest.hexdigest()[:32]
    if folder.is_dir():
        os.utime(folder)
        return folder
    try:
        root.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix="tmp-", dir=root))
    except OSError as error:
        raise OutputError(
            f"the build cache {root} cannot be written: {error.strerror}",
            help="set DNNCC_CACHE_DIR to a folder that can",
        ) from error
    try:
        build(work)
        _drop_old(root)
        try:
            work.rename(folder)
        except OSError:
            if not folder.is_dir():  # otherwise another process was first with the same build
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def compile_emulated(artifact: Bundle | Path | str) -> Path:
    """Compiles an artifact for a processor into a program like that of ``compile_host_program`` for an emulator of its
    instructions: zig links its own C library into it.
    """
    bundle = as_bundle(artifact)
    driver = find_compiler("zig")
    cpu = CPUS[bundle.core]
    flags = (
        "-target",
        f"{cpu.machine}-linux-musl",
        f"-mcpu={cpu.zig_cpu}",
        "-static",
        "-O2",
        *_quiet_sanitizer(driver),
    )
    generated = {"glue.c": glue.host_source(bundle)}
    return _compile_program(bundle, driver, flags, generated, [HARNESS / "host_main.c"], bundle.name)


def _compile_program(
    bundle: Bundle,
    driver: Compiler,
    flags: Sequence[str],
    generated: dict[str, str],
    extra: Sequence[Path],
    output: str,
) -> Path:
    # Vector code is GNU C, and compilers' own headers of intrinsics are not clean under all warnings.
    dialect = ("-std=gnu11", "-pthread") if bundle.core in CPUS else WARNINGS

    def build(folder: Path) -> None:
        _write(folder, generated)
        files = (*(bundle.folder / name for name in bundle.sources), *extra)
        sources = (*(str(path.absolute()) for path in files), *generated)
        driver.run((*dialect, *flags, "-I", str(bundle.folder.absolute()), *sources, "-o", output), folder)

    key = (driver.version, *dialect, *flags, output, *generated.values())
    return cached_build(key, (*_files(bundle), *extra), build) / output


def _host_driver(compiler: str) -> Compiler:
    return first_host_compiler() if compiler == "auto" else find_compiler(compiler)


def _quiet_sanitizer(driver: Compiler) -> tuple[str, ...]:
    # zig turns UBSan on by itself below -O2.
    return ("-fno-sanitize=undefined",) if driver.name == "zig" else ()


def _defines(macros: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"-D{macro}" for macro in macros)


def _in(bundle: Bundle, name: str) -> str:
    return str((bundle.folder / name).absolute())


def _files(bundle: Bundle) -> list[Path]:
    """Every file that the C compiler may read: the named sources, and all headers."""
    binary = sorted(bundle.folder.glob("*.bin")) if bundle.core in CPUS else []
    return [*(bundle.folder / name for name in bundle.sources), *sorted(bundle.folder.glob("*.h")), *binary]


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def _drop_old(root: Path) -> None:
    """Removes builds that nothing has used for a week."""
    oldest = time.time() - _KEEP_BUILDS_SECONDS
    for entry in root.iterdir():
        try:
            if entry.stat().st_mtime < oldest:
                shutil.rmtree(entry, ignore_errors=True)
        except FileNotFoundError:
            continue  # another process removed it
