"""Write core/wire's stubs from the contracts, or with --check say whether the committed ones are stale.

python proto/generate.py
python proto/generate.py --check
"""

from __future__ import annotations

import filecmp
import sys
import sysconfig
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = Path(sysconfig.get_path("scripts"))
CONTRACTS = ("federation", "registration")
STUBS = [f"{name}_{kind}.{ending}" for name in CONTRACTS for kind in ("pb2", "pb2_grpc") for ending in ("py", "pyi")]


def generate(target: Path) -> None:
    """Run protoc so that the stubs land in `target`/core/wire with imports that work unedited."""
    (target / "core" / "wire").mkdir(parents=True, exist_ok=True)
    arguments = [
        "protoc",
        f"-Icore/wire={ROOT / 'proto'}",
        *(f"--plugin=protoc-gen-{name}={SCRIPTS / f'protoc-gen-{name}'}" for name in ("mypy", "mypy_grpc")),
        f"--python_out={target}",
        f"--grpc_python_out={target}",
        f"--mypy_out={target}",
        f"--mypy_grpc_out={target}",
        *(f"core/wire/{name}.proto" for name in CONTRACTS),
    ]
    if protoc.main(arguments) != 0:
        sys.exit("protoc failed on the contracts in proto/")


def stale() -> list[str]:
    """Names of committed stubs that differ from freshly generated ones."""
    with tempfile.TemporaryDirectory() as scratch:
        generate(Path(scratch))
        fresh, committed = Path(scratch, "core", "wire"), ROOT / "core" / "wire"
        _, differing, missing = filecmp.cmpfiles(fresh, committed, STUBS, shallow=False)
    return [*differing, *missing]


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        if names := stale():
            sys.exit(f"stale stubs: {', '.join(names)}; run `python proto/generate.py`")
        print("stubs are fresh")
    else:
        generate(ROOT)
