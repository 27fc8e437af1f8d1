"""Sessions: quick (the main job), tests (everything), unit, thorough, backend(NAME), lint, types, lock, trust, example.

Each framework lives in an environment of its own, .nox/framework-NAME, which quick and backend(NAME) share and reuse, so that
the frameworks' requirements can never conflict. Versions come from pyproject.toml alone; `lock` writes down what they came to
on this kind of machine, with the hashes of the files.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import nox

nox.options.sessions = ["quick"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_external_run = True

PROJECT = nox.project.load_toml("pyproject.toml")
EXTRAS = PROJECT["project"]["optional-dependencies"]
GROUPS = PROJECT["dependency-groups"]
FRAMEWORKS = [name for name in EXTRAS if Path("backends", name).is_dir()]
# All that a worker needs beside its framework: where a GPU is, also what reads its meters.
WORKER = ["numpy", "einops", *(EXTRAS["gpu"] if shutil.which("nvidia-smi") else [])]
EVERYTHING = ["--no-build-isolation", "-e", ".[all,parquet,tensorboard]"]  # built by the hatchling of the tests
TOOLS = [*GROUPS["tests"], *GROUPS["lint"], *GROUPS["types"]]
# Wheels alone: what builds a source archive would be hashed by nobody.
LOCK = Path("tests", f"locked-{sysconfig.get_platform()}-{sys.implementation.cache_tag}.txt")
LOCKED = ["--no-deps", "--only-binary=:all:", "--require-hashes", "-r", str(LOCK)]
BIN = "Scripts" if os.name == "nt" else "bin"
PARALLEL = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")  # a file to a process, in the order of tests/conftest.py
# Prints what every worker has in its environment: nox itself may have no package of ours, nor NumPy.
WORKERS_HAVE = "import json; from harness import environment; print(json.dumps(environment.variables('1', 'cpu')))"


def framework_python(session: nox.Session, name: str, *more: str) -> str:
    """The interpreter of one framework's own environment, made and filled first where it is not yet."""
    home = Path(session.virtualenv.location).parent / f"framework-{name}"
    python = str(home / BIN / "python")
    pinned, beside = [*EXTRAS[name], *WORKER], [*more]
    pins, rest = (hashlib.sha256(repr(those).encode()).hexdigest()[:16] for those in (pinned, beside))
    mark = home / f"installed-{pins}-{rest}"
    if not mark.is_file():
        session.log(f"installing {name} into {home}: a minute or two, once for each version")
        for other in {*home.glob("installed-*")} - {*home.glob(f"installed-{pins}-*")}:
            other.unlink()  # its versions are replaced, and must be installed again when they are wanted again
        session.run("python", "-m", "venv", str(home))
        session.run(python, "-m", "pip", "install", *pinned, *beside, external=True)
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
    session.install(*(LOCKED if LOCK.is_file() else TOOLS))
    session.install(*EVERYTHING, *TOOLS)  # adds what no lock holds: Concord, and what another build of PyTorch asks for
    check_style(session)
    check_types(session)
    session.run("pytest", *PARALLEL, *session.posargs)


@nox.session
def thorough(session: nox.Session) -> None:
    """What takes an hour: a run killed 200 times, disks of many sizes, a report of 100,000 trials."""
    session.install("-e", ".", *GROUPS["tests"])
    session.run("pytest", "--thorough", "-m", "thorough", *session.posargs)


@nox.session
def lock(session: nox.Session) -> None:
    """Write the files that pin `tests` on this kind of machine, and nox itself, by the hashes of everything installed."""
    session.install(*TOOLS)
    write_lock(session, LOCK, *EVERYTHING, *TOOLS)
    write_lock(session, Path("tests", "locked-nox.txt"), *GROUPS["nox"])


def write_lock(session: nox.Session, path: Path, *wanted: str) -> None:
    """Every package with the hash of its file, as this machine finds it and as the default index has it: PyTorch's differ."""
    here = resolved(session, *wanted)
    unset = dict.fromkeys(("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_CONSTRAINT"), "")
    index = {"PIP_CONFIG_FILE": os.devnull, **unset}
    there = resolved(session, "--no-deps", "--use-feature=fast-deps", *here, env=index)
    lines = [" \\\n    --hash=sha256:".join([pin, *sorted({here[pin], there[pin]})]) for pin in sorted(here)]
    path.write_text("\n".join(["# Written by: nox -s lock", *lines, ""]), encoding="utf-8")


def resolved(session: nox.Session, *wanted: str, env: dict[str, str] | None = None) -> dict[str, str]:
    """What pip would install where nothing is, but for Concord: NAME==VERSION and the sha256 of the file."""
    report = Path(session.create_tmp(), "report.json")
    command = ["python", "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--only-binary=:all:"]
    session.run(*command, "--report", str(report), *wanted, env=env)
    found = {}
    for package in json.loads(report.read_text("utf-8"))["install"]:
        name, version = (package["metadata"][key] for key in ("name", "version"))
        if archive := package["download_info"].get("archive_info"):
            found[f"{name.lower()}=={version.partition('+')[0]}"] = archive["hashes"]["sha256"]
    return found


@nox.session
def unit(session: nox.Session) -> None:
    """The tests that need no framework and no process but workers of the numpy backend, which carries them."""
    session.install("-e", ".", *GROUPS["tests"])
    session.run("pytest", *PARALLEL, "-m", "not (frameworks or processes)", *session.posargs)


@nox.session
@nox.parametrize("name", FRAMEWORKS, ids=FRAMEWORKS)
def backend(session: nox.Session, name: str) -> None:
    """One framework alone in its environment: conformance, proof against numpy, benchmarks of its train step and predict.

    `pytest-benchmark compare --group-by=group` sets the benchmarks of all environments side by side.
    """
    python = framework_python(session, name, *GROUPS["tests"], "-e", ".")
    # Ahead of the process, since a heap is chosen as it starts; a warning of the interpreter is no part of the document.
    told = session.run(python, "-c", WORKERS_HAVE, silent=True, external=True, stderr=subprocess.DEVNULL)
    command = (python, "-m", "pytest", "tests/test_conformance.py", "tests/test_benchmark.py", "--benchmark-enable")
    names = (f"--backend={name}", f"--benchmark-save={name}")
    session.run(*command, *names, *session.posargs, env=json.loads(told), external=True)


@nox.session
def trust(session: nox.Session) -> None:
    """The figures of the README's "How far to trust it": hours, on a machine that does nothing else."""
    session.install("-e", ".[all]")
    session.run("python", "tests/trust.py", *session.posargs)
    for name in () if session.posargs else (*FRAMEWORKS, "tensorflow+fused"):
        session.run("python", "tests/overhead.py", name)


@nox.session
def example(session: nox.Session) -> None:
    """Show a run in the README: `nox -s example -- results/RUN` takes it to results/example. Needs Chromium for the picture."""
    session.install("-e", ".")
    run, kept, readme = Path(session.posargs[0]), Path("results", "example"), Path("README.md")
    held = {name: (run / name).read_bytes() for name in ("run.json", "proofs.jsonl", "trials.jsonl")}  # or nothing is touched
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir()
    for name, content in held.items():
        (kept / name).write_bytes(content)
    session.run("concord", "report", str(kept))
    answer = (kept / "report.md").read_text("utf-8").split("\n\n", 1)[1].split("<details>")[0].rpartition("\n\n**")[0]
    before, mark, rest = readme.read_text("utf-8").partition("<!-- example -->\n")
    readme.write_text(f"{before}{mark}{answer}\n<!-- /example -->{rest.partition('<!-- /example -->')[2]}", "utf-8")
    picture = ("--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1200,800", f"--screenshot={kept / 'report.png'}")
    session.run("chromium", *picture, (kept / "report.html").absolute().as_uri(), external=True)


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
