"""The backends are made to be read side by side: the same files, the same names in the same order, nothing shared but the spec.

Everything is read from the source, so that no framework need be installed; backends and tasks are the files that exist.
"""

import ast
import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import combinations
from pathlib import Path

import pytest

from harness import catalog, protocol
from harness.spec import ParamSpec

ROOT = catalog.ROOT
BACKENDS = catalog.backends()
TASKS = catalog.tasks()
CLOCKS = ("perf_counter", "process_time", "thread_time", "monotonic", "clock_gettime", "time", "time_ns", "timeit")


@cache
def parsed(path: Path) -> ast.Module:
    """A source file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"))


def source(backend: str, name: str) -> ast.Module:
    """One file of a backend."""
    return parsed(ROOT / "backends" / backend / f"{name}.py")


def classes(module: ast.Module) -> dict[str, ast.ClassDef]:
    """The classes of a module, in its order."""
    return {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}


def functions(node: ast.Module | ast.ClassDef) -> dict[str, ast.FunctionDef]:
    """The functions of a module, or the methods of a class, in its order."""
    return {child.name: child for child in node.body if isinstance(child, ast.FunctionDef)}


def names(module: ast.Module) -> list[str]:
    """Functions and classes of a module, in its order."""
    return [node.name for node in module.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]


def constant(module: ast.Module, name: str) -> object:
    """The value of a module's constant; None where it has none of that name."""
    for node in module.body:
        if isinstance(node, ast.Assign) and [t.id for t in node.targets if isinstance(t, ast.Name)] == [name]:
            return ast.literal_eval(node.value)
    return None


def parameters(function: ast.FunctionDef) -> tuple[list[str], list[str]]:
    """The names of a function's parameters: by place, and by name only."""
    return [a.arg for a in function.args.args], [a.arg for a in function.args.kwonlyargs]


def public(kind: type) -> list[str]:
    """The functions of a Protocol, in its order."""
    return [name for name, member in vars(kind).items() if inspect.isfunction(member) and not name.startswith("_")]


def contract(kind: type) -> dict[str, ast.FunctionDef]:
    """The functions of a Protocol as harness/protocol.py writes them."""
    return functions(classes(parsed(Path(inspect.getfile(protocol))))[kind.__name__])


def shared(some: list[str], others: list[str]) -> list[str]:
    """What two lists have in common, in the order of the first."""
    return [name for name in some if name in others]


def attributes(kind: ast.ClassDef) -> list[str]:
    """The attributes that ``__init__`` sets, in its order."""
    stores = [n for n in ast.walk(functions(kind)["__init__"]) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)]
    found = [n.attr for n in sorted(stores, key=lambda n: n.lineno) if isinstance(n.value, ast.Name) and n.value.id == "self"]
    return list(dict.fromkeys(found))


def imported(module: ast.Module) -> Iterator[str]:
    """The full names of all modules that a file imports, wherever in it."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def framework_modules() -> set[str]:
    """The import names of all frameworks and of what comes with them, from the backends' doors."""
    doors = [catalog.backend(name) for name in catalog.frameworks()]
    return {name.replace("-", "_") for door in doors for name in (door.IMPORT, *door.DISTRIBUTIONS)}


def loaded(statements: str) -> list[str]:
    """Which framework modules a fresh interpreter holds after some statements."""
    ending = f"import json, sys; print(json.dumps([n for n in {sorted(framework_modules())} if n in sys.modules]))"
    command = [sys.executable, "-c", f"{statements}\n{ending}"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=120).stdout)


def test_every_folder_is_a_backend() -> None:
    """A folder without an engine would be left out in silence."""
    folders = [path.name for path in (ROOT / "backends").iterdir() if path.is_dir() and path.name != "__pycache__"]
    assert sorted(folders) == sorted(BACKENDS)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_backend_has_the_same_files(backend: str) -> None:
    """A door, an engine, its layers, its input pipeline, and one file a task; nothing else."""
    found = {path.name for path in (ROOT / "backends" / backend).glob("*.py")}
    assert found == {"__init__.py", "engine.py", "layers.py", "pipeline.py", *(f"{task}.py" for task in TASKS)}


@pytest.mark.parametrize("backend", BACKENDS)
def test_doors_say_what_a_backend_is(backend: str) -> None:
    """Title, packages, whether it is the reference, modes: literals, so that nothing is imported to read them."""
    door = source(backend, "__init__")
    kinds = {"TITLE": str, "IMPORT": str, "DISTRIBUTIONS": tuple, "REFERENCE": bool, "MODES": tuple}
    values = {name: constant(door, name) for name in kinds}
    assert {name: type(value) for name, value in values.items()} == kinds
    assert ast.get_docstring(door), "the door says once how the backend deviates"
    assert list(imported(door)) == []
    for name in ("DISTRIBUTIONS", "MODES"):
        listed = values[name]
        assert isinstance(listed, tuple)
        assert listed
        assert len(set(listed)) == len(listed)
        assert all(isinstance(entry, str) for entry in listed)


def test_one_backend_is_the_reference() -> None:
    """Exactly one arbitrates, and it is named first."""
    assert [name for name in BACKENDS if catalog.backend(name).REFERENCE] == [BACKENDS[0]] == [catalog.reference()]


@pytest.mark.parametrize("backend", catalog.frameworks())
def test_every_framework_has_a_stock_mode(backend: str) -> None:
    """Whether exactness cost speed can be seen everywhere; it is never the default."""
    assert "stock" in catalog.backend(backend).MODES[1:]


@pytest.mark.parametrize("backend", BACKENDS)
def test_engines_keep_the_contract(backend: str) -> None:
    """The functions of the Engine protocol, in its order, with its parameters; the input pipeline is imported."""
    engine = source(backend, "engine")
    found = functions(engine) | functions(source(backend, "pipeline"))
    assert f"backends.{backend}.pipeline.pipeline" in imported(engine)
    assert shared(list(found), public(protocol.Engine)) == public(protocol.Engine)
    for name, wanted in contract(protocol.Engine).items():
        by_place, by_name = parameters(wanted)
        assert parameters(found[name]) == (by_place[1:], by_name), name


@pytest.mark.parametrize("backend", BACKENDS)
def test_pipelines_have_the_same_functions(backend: str) -> None:
    """In the same order, with the same parameters but for where random numbers come from."""
    module = source(backend, "pipeline")
    assert names(module) == ["pipeline", "crop_flip", "normalise"]
    assert parameters(functions(module)["normalise"]) == (["x", "mean", "std"], [])
    assert len(parameters(functions(module)["crop_flip"])[0]) == 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_sessions_keep_the_contract(backend: str) -> None:
    """The methods of the Session protocol, in its order, with its parameters; helpers may stand between them."""
    session = classes(source(backend, "engine"))["Session"]
    wanted = contract(protocol.Session)
    assert shared(list(functions(session)), list(wanted)) == list(wanted)
    for name, method in wanted.items():
        assert parameters(functions(session)[name]) == parameters(method), name


@pytest.mark.parametrize(("one", "other"), list(combinations(BACKENDS, 2)))
def test_engines_are_in_the_same_order(one: str, other: str) -> None:
    """What two engines both define stands in the same order, methods of Session too."""
    engines = source(one, "engine"), source(other, "engine")
    ours, theirs = (names(engine) for engine in engines)
    assert shared(ours, theirs) == shared(theirs, ours)
    assert {"configure", "describe", "loss", "optimizer", "open_session", "Session"} <= {*ours} & {*theirs}
    ours, theirs = (list(functions(classes(engine)["Session"])) for engine in engines)
    assert shared(ours, theirs) == shared(theirs, ours)


@pytest.mark.parametrize("backend", BACKENDS)
def test_layouts_are_invertible(backend: str) -> None:
    """LAYOUT has a row for all axes that a task uses, and both sides of a row name the same ones."""
    layout = constant(source(backend, "engine"), "LAYOUT")
    assert isinstance(layout, dict)
    assert {t.axes for name in TASKS for t in catalog.task(name).model.tensors} <= set(layout)
    for ours, theirs in layout.items():
        assert sorted(ours.split()) == sorted(theirs.replace("(", " ").replace(")", " ").split())


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("one", "other"), list(combinations(BACKENDS, 2)))
def test_models_are_in_the_same_order(one: str, other: str, task: str) -> None:
    """The same classes, and what two of them both hold is set in the same order."""
    ours, theirs = classes(source(one, task)), classes(source(other, task))
    assert list(ours) == list(theirs)
    for name in ours:
        first, second = attributes(ours[name]), attributes(theirs[name])
        assert shared(first, second) == shared(second, first)
        shared_methods = shared(list(functions(ours[name])), list(functions(theirs[name])))
        assert shared_methods == shared(list(functions(theirs[name])), list(functions(ours[name])))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_models_name_their_layers_as_the_spec_does(backend: str, task: str) -> None:
    """The layers that hold tensors are the model's attributes, in the spec's order; so are those of a block in it."""
    tensors = catalog.task(task).model.tensors
    found = classes(source(backend, task))
    inner = [t for t in tensors if any(part.isdigit() for part in t.name.split("/"))]
    assert shared(attributes(found["Model"]), heads(tensors)) == heads(tensors)
    assert bool(inner) == ("Block" in found)
    if inner:
        assert shared(attributes(found["Block"]), heads(inner, at=2)) == heads(inner, at=2)


def heads(tensors: tuple[ParamSpec, ...] | list[ParamSpec], at: int = 0) -> list[str]:
    """One part of the names of tensors, each once, in order."""
    return list(dict.fromkeys(t.name.split("/")[at] for t in tensors))


def test_the_harness_loads_no_framework() -> None:
    """Not one of its modules, and no door of a backend, imports one: only what a worker is told to start does."""
    files = [
        *(ROOT / "harness").rglob("*.py"),
        *(ROOT / "suites").rglob("*.py"),
        *(ROOT / "backends").glob("*/__init__.py"),
    ]
    modules = sorted(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in files)
    assert "harness.worker" in modules
    wanted = [name for name in modules if not name.endswith("__main__")]
    assert loaded("\n".join(f"import {name}" for name in wanted)) == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_backends_never_import_each_other(backend: str) -> None:
    """Nor another's framework, nor anything of the harness but what a backend may see."""
    others = {name for name in BACKENDS if name != backend}
    own = {catalog.backend(backend).IMPORT, *(d.replace("-", "_") for d in catalog.backend(backend).DISTRIBUTIONS)}
    for path in (ROOT / "backends" / backend).glob("*.py"):
        for name in imported(parsed(path)):
            parts = name.split(".")
            assert not (parts[0] == "backends" and set(parts[1:2]) & others), f"{path.name} imports {name}"
            assert parts[0] not in framework_modules() - own, f"{path.name} imports {name}"
            seen = ("spec", "protocol", "errors", "environment")
            assert parts[0] != "harness" or parts[1] in seen, f"{path.name} imports {name}"


@pytest.mark.parametrize("path", sorted((ROOT / "harness").rglob("*.py")) + sorted((ROOT / "backends").rglob("*.py")), ids=str)
def test_one_file_reads_the_clock(path: Path) -> None:
    """harness/measure.py, and no other."""
    module = parsed(path)
    used = [
        n.attr
        for n in ast.walk(module)
        if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and n.value.id == "time"
    ]
    taken = [name.removeprefix("time.") for name in imported(module) if name.startswith("time.")]
    clocks = [name for name in used + taken if name.removesuffix("_ns") in CLOCKS or name in CLOCKS]
    assert bool(clocks) == (path.relative_to(ROOT) == Path("harness/measure.py")), clocks
    assert "timeit" not in imported(module)
