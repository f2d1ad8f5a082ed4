"""The command-line options of a policy, and how policy.toml in a party's folder says what they are by default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from core.errors import SettingsError
from core.policy import FILE, read_policy
from core.secagg.scheme import SAFE_KEY_BITS


def _with_policy(context: typer.Context, folder: Path) -> Path:
    """Let the policy in a party's folder say what its options are by default."""
    options = {str(option.name).replace("_", "-"): str(option.name) for option in context.command.params}
    try:
        said = read_policy(folder, options)
    except SettingsError as error:
        raise typer.BadParameter(str(error)) from error
    context.default_map = {options[name]: value for name, value in said.items()}
    return folder


IdentityWithPolicy = Annotated[
    Path,
    typer.Option(
        help=f"This party's folder, made by `python -m registrar init`; {FILE} in it says what it agrees to.",
        is_eager=True,
        callback=_with_policy,
    ),
]
MinKeyBits = Annotated[
    int, typer.Option(min=SAFE_KEY_BITS, help="Take part in no round whose key is shorter than this, in bits.")
]
