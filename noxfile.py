"""Sessions: quick (the main job), tests (everything), unit, backend(NAME), lint, types.

Each framework lives in an environment of its own, .nox/framework-NAME, which quick and backend(NAME) share and reuse, so that
the frameworks' requirements can never conflict. Versions come from pyproject.toml alone.
"""

import hashlib
import os
from pathlib import Path

import nox

nox.options.sessions = ["quick"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_external_run = True

PROJECT = nox.project.load_toml("pyproject.toml")
EXTRAS = PROJECT["project"]["optional-dependencies"]
GROUPS = PROJECT["dependency-groups"]
FRAMEWORKS = [name for name in EXTRAS if Path("backends", name).is_dir()]
WORKER = ["numpy", "einops"]  # all that a worker needs beside its framework
BIN = "Scripts" if os.name == "nt" else "bin"


def framework_python(session: nox.Session, name: str, *more: str) -> str:
    """The interpreter of one framework's own environment, made and filled first where it is not yet."""
    home = Path(session.virtualenv.location).parent / f"framework-{name}"
    python = str(home / BIN / "python")
    wanted = [*EXTRAS[name], *WORKER, *more]
    mark = home / f"installed-{hashlib.sha256(repr(wanted).encode()).hexdigest()[:16]}"
    if not mark.is_file():
        session.log(f"installing {name} into {home}: a minute or two, once")
        session.run("python", "-m", "venv", str(home))
        session.run(python, "-m", "pip", "install", *wanted, external=True)
        mark.touch()
    return python


@nox.session
def quick(session: nox.Session) -> None:
    """Prove, train and time three tasks on all frameworks; writes results/RUN/report.html. Takes options of `concord run`."""
    session.install("-e", ".")
    pythons = [f"--python={name}={framework_python(session, name)}" for name in FRAMEWORKS]
    session.run("concord", "run", "quick", *pythons, *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Everything: lint, types, unit, proof, mutations, with all three frameworks in one environment."""
    session.install("-e", ".[all,parquet,tensorboard]", *GROUPS["tests"], *GROUPS["lint"], *GROUPS["types"])
    check_style(session)
    check_types(session)
    session.run("pytest", *session.posargs)


@nox.session
def unit(session: nox.Session) -> None:
    """The tests that need no framework: the numpy backend carries them."""
    session.install("-e", ".", *GROUPS["tests"])
    session.run("pytest", "-m", "not frameworks", *session.posargs)


@nox.session
@nox.parametrize("name", FRAMEWORKS, ids=FRAMEWORKS)
def backend(session: nox.Session, name: str) -> None:
    """One framework alone in its environment: conformance, proof against numpy, benchmarks of its train step and predict."""
    python = framework_python(session, name, *GROUPS["tests"], "-e", ".")
    command = [
        python,
        "-m",
        "pytest",
        "tests/test_conformance.py",
        "tests/test_benchmark.py",
        "--benchmark-enable",
        f"--backend={name}",
    ]
    session.run(*command, *session.posargs, external=True)


@nox.session
def trust(session: nox.Session) -> None:
    """The figures of the README's "How far to trust it": hours, on a machine that does nothing else."""
    session.install("-e", ".[all]")
    session.run("python", "tests/trust.py", *session.posargs)
    for name in () if session.posargs else FRAMEWORKS:
        session.run("python", "tests/overhead.py", name)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff and the import contracts."""
    session.install("-e", ".", *GROUPS["lint"])
    check_style(session)


@nox.session
def types(session: nox.Session) -> None:
    """The type checker."""
    session.install("-e", ".", *GROUPS["types"])
    check_types(session)


def check_style(session: nox.Session) -> None:
    """What `lint` runs."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


def check_types(session: nox.Session) -> None:
    """What `types` runs."""
    session.run("mypy", "harness", "suites", "backends")
