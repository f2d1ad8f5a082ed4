"""A whole federation on this machine."""

import sys
from pathlib import Path

_ROOT = str(Path(__file__).resolve().parent.parent)
if sys.path[:1] != [_ROOT]:
    # `python -m` looks in the current folder first, where a user may have a server.py or core.py of another kind.
    sys.path.insert(0, _ROOT)
