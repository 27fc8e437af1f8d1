"""What there is: backends, tasks and suites are the files that exist. No list is kept anywhere.

A task is named ``mnist_cnn`` or, with parameters, ``cifar_resnet:depth=32``.
"""

import inspect
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

from harness.errors import HarnessError, unknown
from harness.spec import TaskSpec
from harness.suite import Suite

ROOT = Path(__file__).parent.parent


def backends() -> list[str]:
    """Names of all backends, the reference first, then by name."""
    found = [path.parent.name for path in sorted((ROOT / "backends").glob("*/engine.py"))]
    return sorted(found, key=lambda name: (not backend(name).REFERENCE, name))


def frameworks() -> list[str]:
    """Names of the backends that are compared: all but the reference."""
    return [name for name in backends() if not backend(name).REFERENCE]


def reference() -> str:
    """The backend that arbitrates."""
    return next(name for name in backends() if backend(name).REFERENCE)


@cache
def backend(name: str) -> ModuleType:
    """The door of a backend: TITLE, IMPORT, DISTRIBUTIONS, REFERENCE, MODES. Imports no framework."""
    known = [path.parent.name for path in (ROOT / "backends").glob("*/engine.py")]
    if name not in known:
        raise unknown("backend", name, known)
    return import_module(f"backends.{name}")


def tasks() -> list[str]:
    """Names of all tasks."""
    return module_names(ROOT / "suites" / "tasks")


def suites() -> list[str]:
    """Names of all suites."""
    return module_names(ROOT / "suites")


def module_names(folder: Path) -> list[str]:
    """Names of the modules in a folder."""
    return sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")


def task(reference_: str) -> TaskSpec:
    """The spec that a name with optional parameters stands for."""
    name, _, rest = reference_.partition(":")
    if name not in tasks():
        raise unknown("task", name, tasks())
    make = import_module(f"suites.tasks.{name}").make
    signature = inspect.signature(make)
    chosen: dict[str, object] = {}
    for pair in filter(None, rest.split(",")):
        key, equals, text = pair.partition("=")
        if not equals or key not in signature.parameters:
            known = ", ".join(f"{p.name}={p.default}" for p in signature.parameters.values()) or "none"
            raise HarnessError(f"task {name!r} has no parameter {pair!r}: its parameters are {known}.")
        chosen[key] = convert(name, key, text, type(signature.parameters[key].default))
    return make(**chosen)


def convert(task_name: str, key: str, text: str, kind: type) -> object:
    """A parameter's value, of the type of its default."""
    try:
        return kind(text)
    except ValueError:
        raise HarnessError(f"task {task_name!r}: {key}={text!r} is not of type {kind.__name__}.") from None


def key(spec: TaskSpec) -> str:
    """How records name a spec: with every parameter, so that two specs never share a name."""
    parameters = ",".join(f"{name}={value}" for name, value in spec.params.items())
    return f"{spec.name}:{parameters}" if parameters else spec.name


def suite(name: str) -> Suite:
    """A suite by name."""
    if name not in suites():
        raise unknown("suite", name, suites())
    found: Suite = import_module(f"suites.{name}").SUITE
    return found
