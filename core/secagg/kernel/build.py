"""Compile the kernels, where that is possible: `python -m core.secagg.kernel.build [NAME ...]`. Nothing needs them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

SOURCES = tuple(Path(__file__).parent / f"{name}.c" for name in ("ifma", "avx2", "proofs"))
FLAGS = ("-O3", "-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC")


def compiler() -> str | None:
    """Return the path of a C compiler, the one that Python was built with first; None if there is none."""
    names = ((sysconfig.get_config_var("CC") or "").split()[:1] or [""])[0], "cc", "gcc", "clang"
    return next((found for name in names if name and (found := shutil.which(name))), None)


def build(source: Path, folder: Path | None = None) -> str:
    """Compile a kernel into a shared library, whole or not at all; return what came of it, in a sentence.

    Args:
        folder: where the library goes; next to the source if left out.
    """
    library = (folder or source.parent) / f"{source.stem}.so"
    library.unlink(missing_ok=True)  # an old one must not outlive its source
    program = compiler()
    if program is None:
        return f"there is no C compiler here; the parties do without {source.name}"
    partial = library.with_name(f"{library.name}.{os.getpid()}.partial")  # others may be building too
    done = subprocess.run(
        [program, *FLAGS, "-o", str(partial), str(source)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        partial.unlink(missing_ok=True)
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[0]
        return f"{program} cannot compile {source.name} ({reason}); the parties do without it"
    partial.replace(library)
    return f"compiled {library.name} with {program}"


if __name__ == "__main__":
    for each in SOURCES:
        if each.stem in sys.argv[1:] or not sys.argv[1:]:
            print(build(each))
