"""The command-line options of a policy, and how policy.toml in a party's folder says what they are by default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from core.errors import SettingsError
from core.policy import FILE, read_policy
from core.secagg.scheme import SAFE_KEY_BITS


def _with_policy(context: typer.Context, folder: Path) -> Path:
    """Let the policy in a party's folder say what its options are by default."""
    options = {str(option.name).replace("_", "-"): option for option in context.command.params}
    try:
        said = read_policy(folder, options)
        for name, value in said.items():
            _check(folder / FILE, name, value, options[name], context)
    except SettingsError as error:
        raise typer.BadParameter(str(error)) from error
    context.default_map = {str(options[name].name): value for name, value in said.items()}
    return folder


def _check(path: Path, name: str, value: object, option: Any, context: typer.Context) -> None:
    """Refuse a value that the option would not take, naming the file, since it was not typed."""
    try:
        option.process_value(context, value)
    except typer.BadParameter as error:
        raise SettingsError(f"the policy {path} says {name} = {value!r}: {error.message}") from error


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
