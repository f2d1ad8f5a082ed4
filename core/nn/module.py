"""The base of all layers and models: finds parameters, switches modes, saves and loads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from textwrap import indent
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from core.ops import Array
from core.tensor import Tensor

Input = Tensor | npt.ArrayLike


class Parameter(Tensor):
    """A tensor that a model owns and an optimiser changes, unless it is frozen (`requires_grad` is False)."""

    __slots__ = ()

    def __init__(self, data: npt.ArrayLike) -> None:
        super().__init__(data, requires_grad=True)


class Module:
    """Base of all layers and models: subclasses set parameters and modules as attributes and define `forward`.

    Attributes may also be lists, tuples and dicts of them, to any depth. Whatever does not fit a layer is an error
    whose sentence begins with the layer's name; the modules around it are listed below it.
    """

    training: bool = True
    forward: Callable[..., Any]

    def __call__(self, *inputs: Any, **options: Any) -> Tensor:
        try:
            output: Tensor = self.forward(*inputs, **options)
        except (IndexError, TypeError, ValueError) as error:
            _name(error, type(self).__name__)
            raise
        return output

    def settings(self) -> str:
        """Return what `repr` writes of this layer besides the modules inside it."""
        return ""

    def __repr__(self) -> str:
        """Return the layers as PyTorch prints them: one a line, those inside another indented."""
        inside = [f"({name}): {module!r}" for name, module in _inside(vars(self))]
        if not inside:
            return f"{type(self).__name__}({self.settings()})"
        lines = "\n".join([*filter(None, [self.settings()]), *inside])
        return f"{type(self).__name__}(\n{indent(lines, '  ')}\n)"

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield dotted names and parameters in the order the attributes were set; a shared one comes once."""
        for name, part in _walk(self, "", set()):
            if isinstance(part, Parameter):
                yield name, part

    def parameters(self) -> Iterator[Parameter]:
        """Yield each tensor that is trained once, the layers' in their order."""
        for _, parameter in self.named_parameters():
            yield parameter

    def modules(self) -> Iterator[Module]:
        """Yield this module and every module inside it."""
        for _, part in _walk(self, "", set()):
            if isinstance(part, Module):
                yield part

    def train(self, mode: bool = True) -> Self:
        """Switch to training: dropout drops."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Switch to evaluation: nothing is random."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Freeze all parameters (False) or let them learn again (True)."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
            parameter.grad = None
        return self

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.grad = None

    def state_dict(self) -> dict[str, Array]:
        """Return a copy of every parameter's array by name."""
        return {name: parameter.data.copy() for name, parameter in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, npt.ArrayLike]) -> None:
        """Overwrite every parameter.

        Raises ValueError, and changes nothing, unless names and shapes all match and all numbers are real and finite
        in their parameter's dtype.
        """
        parameters = dict(self.named_parameters())
        if parameters.keys() != state.keys():
            missing, unknown = sorted(parameters.keys() - state.keys()), sorted(state.keys() - parameters.keys())
            raise ValueError(f"the state lacks {missing} and has {unknown}, which the module does not know")
        arrays = {name: np.asarray(array) for name, array in state.items()}
        for name, parameter in parameters.items():
            if arrays[name].shape != parameter.shape:
                raise ValueError(f"{name} has shape {parameter.shape}, the state's has {arrays[name].shape}")
            arrays[name] = _finite(name, arrays[name], parameter.dtype)
        for name, parameter in parameters.items():
            parameter.data[...] = arrays[name]
            parameter.mark_changed()


def at_least(name: str, value: int, least: int) -> int:
    """Return a setting's value; raise ValueError, naming the setting, if it is below what it must be."""
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")
    return value


def _name(error: Exception, layer: str) -> None:
    """Say in which layer an error happened: the innermost one opens its sentence."""
    if not hasattr(error, "__notes__") and len(error.args) == 1:
        error.args = (f"{layer}: {error.args[0]}",)
    error.add_note(f"in {layer}")


def _finite(name: str, array: Array, dtype: np.dtype[Any]) -> Array:
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{name} holds {array.dtype}; expected real numbers")
    with np.errstate(over="ignore"):  # what overflows a smaller float is found and refused below
        numbers = array.astype(dtype)
    if not np.isfinite(numbers).all():
        raise ValueError(f"{name} holds a number that is not finite in {dtype}")
    return numbers


def _inside(parts: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Yield the modules and functions that a module's attributes hold, each with its name; tensors are left out.

    What is in a list has its number for a name, after the list's own name unless the list is all there is.
    """
    for name, part in parts.items():
        if isinstance(part, Module):
            yield name, part
        elif isinstance(part, list | tuple | Mapping):
            numbered = part.items() if isinstance(part, Mapping) else enumerate(part)
            alone = len(parts) == 1
            yield from ((str(key) if alone else f"{name}.{key}", each) for key, each in numbered if callable(each))


def _walk(part: object, name: str, seen: set[int]) -> Iterator[tuple[str, object]]:
    """Yield every module and parameter inside `part`, itself included, once and with its dotted name."""
    if part is None or isinstance(part, bool | int | float | str):  # most settings: a short way past them
        return
    if isinstance(part, Parameter | Module):
        if id(part) in seen:
            return
        seen.add(id(part))
        yield name, part
    if isinstance(part, Parameter):
        return
    if isinstance(part, Module):
        inside: Any = vars(part).items()
    elif isinstance(part, Mapping):
        inside = part.items()
    elif isinstance(part, list | tuple):
        inside = enumerate(part)
    else:
        return
    for key, value in inside:
        yield from _walk(value, f"{name}.{key}" if name else str(key), seen)
