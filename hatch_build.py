"""Compile the kernels into the wheel, where there is a C compiler; otherwise the wheel does without."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

KERNEL = Path("core/secagg/kernel")


class KernelHook(BuildHookInterface[Any]):
    """Run core/secagg/kernel/build.py, by its path: NumPy need not be there to build a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        build = runpy.run_path(str(Path(self.root, KERNEL, "build.py")))
        for source in build["SOURCES"]:
            self.app.display_info(build["build"](source))
            library = source.with_suffix(".so")
            if library.exists():
                build_data["artifacts"].append(f"{KERNEL}/{library.name}")
                build_data["pure_python"] = False
                build_data["infer_tag"] = True
