"""What there is: backends, tasks and suites are the files that exist. No list is kept anywhere.

A task is named ``mnist_cnn`` or, with parameters, ``cifar_resnet:depth=32``; a backend ``torch`` or, where several interpreters
run the same code side by side, each with a label: ``torch@2.9``.
"""

import inspect
import re
import shlex
import sys
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from harness.errors import HarnessError, unknown
from harness.suite import Suite

if TYPE_CHECKING:  # it needs NumPy, which `concord --help` does not
    from harness.spec import TaskSpec

ROOT = Path(__file__).parent.parent


def backends() -> list[str]:
    """Names of all backends, the reference first, then by name."""
    return sorted(_engines(), key=lambda name: (not backend(name).REFERENCE, name))


def frameworks() -> list[str]:
    """Names of the backends that are compared: all but the reference."""
    return backends()[1:]


def reference() -> str:
    """The backend that arbitrates."""
    return backends()[0]


def code(backend: str) -> str:
    """The name of a backend's folder: that of ``torch@2.9`` is ``torch``."""
    name, at, label = backend.partition("@")
    if at and not re.fullmatch(r"[A-Za-z0-9._-]+", label):
        raise HarnessError(f"backend {backend!r} has no good label: write letters, digits, '.', '_', '-', such as {name}@2.9.")
    return name


def install(extra: str, interpreter: str | Path = sys.executable) -> str:
    """The command that installs an extra for an interpreter: from the checkout that runs, since no index need have Concord.

    Where it is installed from a wheel, pip knows the extras of what is there; another interpreter needs that wheel first.
    """
    source = f"{ROOT}[{extra}]" if (ROOT / "pyproject.toml").is_file() else ""
    what = f"-e {shlex.quote(source)}" if source else f"'concord-bench[{extra}]'"
    return f"{shlex.quote(str(interpreter))} -m pip install {what}"


def labelled(names: Iterable[str], known: Iterable[str]) -> list[str]:
    """These backends, each ``known`` label of one in its place."""
    return list(dict.fromkeys(each for name in names for each in [k for k in known if name in {k, code(k)}] or [name]))


@cache
def backend(name: str) -> ModuleType:
    """The door of a backend: TITLE, IMPORT, DISTRIBUTIONS, REFERENCE, MODES. Imports no framework."""
    return _module("backend", code(name), "backends", _engines())


def modes() -> list[str]:
    """What may be asked for as a mode: each that some backend has, and all of them."""
    return [*sorted({mode for name in backends() for mode in backend(name).MODES}), "all"]


def tasks() -> list[str]:
    """Names of all tasks."""
    return _names(ROOT / "suites" / "tasks")


def suites() -> list[str]:
    """Names of all suites."""
    return _names(ROOT / "suites")


def task(text: str) -> "TaskSpec":
    """The spec that a name with optional parameters stands for, each of the type of its default."""
    name, _, rest = text.partition(":")
    make = _module("task", name, "suites.tasks", tasks()).make
    defaults = {p.name: p.default for p in inspect.signature(make).parameters.values()}
    chosen: dict[str, object] = {}
    for pair in filter(None, rest.split(",")):
        key, equals, value = pair.partition("=")
        if not equals or key not in defaults:
            known = ", ".join(f"{key}={default}" for key, default in defaults.items()) or "none"
            raise HarnessError(f"task {name!r} has no parameter {pair!r}: its parameters are {known}.")
        kind = type(defaults[key])
        try:
            chosen[key] = kind(value)
        except ValueError:
            raise HarnessError(f"task {name!r}: {key}={value!r} is not of type {kind.__name__}.") from None
    return make(**chosen)


def key(spec: "TaskSpec") -> str:
    """How records name a spec: with every parameter, so that two specs never share a name."""
    parameters = ",".join(f"{name}={value}" for name, value in spec.params.items())
    return f"{spec.name}:{parameters}" if parameters else spec.name


def suite(name: str) -> Suite:
    """A suite by name."""
    found: Suite = _module("suite", name, "suites", suites()).SUITE
    return found


def _engines() -> list[str]:
    return [path.parent.name for path in (ROOT / "backends").glob("*/engine.py")]


def _names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")


def _module(kind: str, name: str, package: str, known: list[str]) -> ModuleType:
    if name not in known:
        raise unknown(kind, name, known)
    return import_module(f"{package}.{name}")
