"""Compile the kernel, where that is possible: `python -m core.secagg.kernel.build`. Nothing needs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

LIBRARY = Path(__file__).parent / "ifma.so"
SOURCE = Path(__file__).parent / "ifma.c"
FLAGS = ("-O3", "-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")


def compiler() -> str | None:
    """Return the path of a C compiler, the one that Python was built with first; None if there is none."""
    names = ((sysconfig.get_config_var("CC") or "").split()[:1] or [""])[0], "cc", "gcc", "clang"
    return next((found for name in names if name and (found := shutil.which(name))), None)


def build(library: Path = LIBRARY) -> str:
    """Compile the kernel into a shared library, whole or not at all; return what came of it, in a sentence."""
    library.unlink(missing_ok=True)  # an old one must not outlive its source
    program = compiler()
    if program is None:
        return "there is no C compiler here; encryption uses GMP alone"
    partial = library.with_name(f"{library.name}.{os.getpid()}.partial")  # others may be building too
    done = subprocess.run(
        [program, *FLAGS, "-o", str(partial), str(SOURCE)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        partial.unlink(missing_ok=True)
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[0]
        return f"{program} cannot compile {SOURCE.name} ({reason}); encryption uses GMP alone"
    partial.replace(library)
    return f"compiled {library.name} with {program}"


if __name__ == "__main__":
    print(build())
