"""The first files of a new backend or task: those of one that exists, with their bodies cut out, so that none is out of date."""

import ast
import re
from collections.abc import Collection, Mapping
from inspect import getdoc, isfunction
from keyword import iskeyword
from pathlib import Path
from textwrap import indent

from harness import catalog, protocol
from harness.errors import HarnessError

DOOR = '''"""{name}: say here how it deviates from the spec: layouts, optimizers, what its modes are."""

TITLE = "{name}"
IMPORT = "{name}"  # what an interpreter must have for this backend
DISTRIBUTIONS = ("{name}",)
REFERENCE = False
MODES = ("default", "stock")  # the first is the default
'''
LAYERS = '"""The layers of the models: exact ones and, where they differ, stock ones. See backends/torch/layers.py."""\n'
TESTS = Path("tests", "test_symmetry.py")  # what says of new files how far they are; no wheel has it
STUB = "raise NotImplementedError"
MODEL = {"Model": "Say here which layers follow each other."}


def backend(name: str) -> list[Path]:
    """Write the skeleton of a backend, after the reference; the files. Nothing that exists is written over."""
    checked("backend", name, catalog.backends())
    pattern, own = catalog.reference(), Path("backends", name)
    texts = {own / "__init__.py": DOOR.format(name=name), own / "layers.py": LAYERS}
    stems = {"pipeline": f"The input pipeline of {name}: say here what it is made of."}
    stems |= {task: f"{task} in {name}: see suites/tasks/{task}.py." for task in catalog.tasks()}
    stems |= {"engine": f"The {name} session: one model, its optimizer, in one of MODES. Deviations: see __init__.py."}
    engine = {*contract(), "__init__", "loss", "optimizer", "Session"}  # the rest are one backend's own helpers
    for stem, title in stems.items():
        source, keep = Path("backends", pattern, f"{stem}.py"), engine if stem == "engine" else None
        text = cut(source, own / source.name, title, keep=keep, docs=contract() | MODEL)
        texts[own / source.name] = text.replace(f"backends.{pattern}", f"backends.{name}")
    return write(texts)  # the engine last: it is what makes the folder a backend


def task(name: str) -> list[Path]:
    """Write the skeleton of a task and of its model in every backend, after the smallest there is; the files."""
    checked("task", name, catalog.tasks())
    folder = Path("suites", "tasks")
    known = [folder / f"{own}.py" for own in catalog.tasks()]
    pattern = min((path for path in known if STUB not in read(path)), key=lambda path: len(read(path))).name
    doors = {Path("backends", own): catalog.backend(own).TITLE for own in catalog.backends()}
    titles = {at: f"{name} in {title}: see suites/tasks/{name}.py." for at, title in doors.items()}
    titles[folder] = f"{name}: say here what it is, where its recipe comes from and what it should reach."
    return write({at / f"{name}.py": cut(at / pattern, at / f"{name}.py", titles[at], docs=MODEL) for at in titles})


def checked(kind: str, name: str, known: Collection[str]) -> None:
    """Refuse a name that is none in Python, or taken; and any where Concord is installed: pip would not know of new files."""
    if not (catalog.ROOT / TESTS).is_file():
        fact = f"{catalog.ROOT} is no source checkout, it has no {TESTS}"
        raise HarnessError(f"{fact}: run it from a source checkout, in its folder, as python -m harness init {kind} {name}.")
    if not name.isidentifier() or iskeyword(name):
        raise HarnessError(f"{name!r} cannot name a {kind}: take a Python identifier, for example my_{kind}.")
    if name in known:
        raise HarnessError(f"the {kind} {name!r} exists: choose another name.")


def write(texts: Mapping[Path, str]) -> list[Path]:
    """Write new files below the root of the sources, none of them where one exists; their whole paths."""
    files = {catalog.ROOT / path: text for path, text in texts.items()}
    for path in files:
        if path.exists():
            raise HarnessError(f"{path} exists: choose another name, or remove it.")
    for path, text in files.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(files)


def contract() -> dict[str, str]:
    """What harness/protocol.py says of each function of an engine and of a session."""
    members = {**vars(protocol.Engine), **vars(protocol.Session)}
    return {name: getdoc(member) or "" for name, member in members.items() if isfunction(member) and name[0] != "_"}


def read(path: Path) -> str:
    """A file of the sources."""
    return (catalog.ROOT / path).read_text(encoding="utf-8")


def cut(source: Path, place: Path, title: str, *, docs: Mapping[str, str], keep: Collection[str] | None = None) -> str:
    """A module with its own title, in which every function only says that it is to be written at ``place``.

    ``docs`` holds the docstrings of functions and classes that are not to stay those of the source. What is not in ``keep``
    goes; comments and the way it is laid out stay.
    """
    lines, tree = read(source).splitlines(), ast.parse(read(source))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    edits = [(tree.body[0].lineno, tree.body[0].end_lineno, [f'"""{title}"""'])]
    for node in [*tree.body, *(member for kind in classes for member in kind.body)]:
        if isinstance(node, ast.FunctionDef) and keep is not None and node.name not in keep:
            begin = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            edits.append((begin, node.end_lineno, []))
        elif isinstance(node, ast.FunctionDef) or (isinstance(node, ast.ClassDef) and node.name in docs):
            first, function = node.body[0], isinstance(node, ast.FunctionDef)
            doc = docs.get(node.name) or ast.get_docstring(node) or ""
            text = f'"""{doc}"""\n' if "\n" not in doc else f'"""{doc}\n"""\n'
            text = text * bool(doc) + f'{STUB}("{place}: write {node.name}(), as {source} does.")' * function
            end = node.end_lineno if function else first.end_lineno
            edits.append((first.lineno, end, indent(text, " " * first.col_offset).splitlines()))
    for begin, end, new in sorted(edits, reverse=True):  # from the end, so that the numbers of lines stay true
        lines[begin - 1 : end] = new
    return re.sub(r"\n{4,}", "\n\n\n", re.sub(r"\n{3,}(?= )", "\n\n", "\n".join(lines))).rstrip() + "\n"
