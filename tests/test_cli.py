"""The command line as a user meets it: bad input is one sentence and exit code 2, documents are JSON, help is quick."""

import json
import os
import signal
import subprocess
import sys
import tomllib
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from harness import catalog, data, launch
from harness.cli import main, options

ROOT = catalog.ROOT
FRAMEWORK = catalog.frameworks()[0]
REFERENCE = catalog.reference()
PACKAGE = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]


class Said(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to type commands in, with a home that holds no data."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CACHE_HOME", "KERAS_HOME", "CONCORD_DATA"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def concord(here: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """The command in a process of its own."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def run(*arguments: str | Path) -> Said:
        command = [sys.executable, "-m", "harness", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=here)
        return Said(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def quick(here: Path) -> Iterator[Callable[..., Said]]:
    """The command in this process, which saves its start; an exception that it does not catch is a traceback."""
    handler = signal.getsignal(signal.SIGTERM)

    def run(*arguments: str | Path) -> Said:
        done = CliRunner().invoke(main, list(map(str, arguments)))
        uncaught = done.exception if not isinstance(done.exception, SystemExit) else None
        return Said(done.exit_code, done.stdout, done.stderr + (f"Traceback: {uncaught!r}" if uncaught else ""))

    yield run
    signal.signal(signal.SIGTERM, handler)
    launch.STOPPING.clear()


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with nothing installed."""
    home = tmp_path_factory.mktemp("bare")
    venv.create(home, with_pip=False, symlinks=os.name != "nt")
    return home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def refused(said: Said, *words: str) -> None:
    """Exit code 2, nothing on stdout, no traceback, and in the end one sentence with these words."""
    assert said.code == 2, said
    assert said.out == ""
    assert "Traceback" not in said.err, said.err
    sentence = said.err.splitlines()[-1]
    assert sentence.startswith("concord: ")
    for word in words:
        assert word in sentence, sentence


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["verify", "mnist_cn"], ["unknown task 'mnist_cn'", "did you mean 'mnist_cnn'?"]),
        (["verify", "x"], ["unknown task 'x'", "choose one of", "risk_mlp"]),
        (["verify", "../tasks/risk_mlp"], ["unknown task"]),
        (["verify", "cifar_resnet:width=3"], ["no parameter 'width=3'", "depth=20"]),
        (["verify", "cifar_resnet:depth=deep"], ["depth='deep'", "int"]),
        (["verify", "cifar_resnet:depth=21"], ["depth 21", "6n+2", "choose 8"]),
        (["verify", "risk_mlp:data=german_credti"], ["german_credti", "did you mean 'german_credit'?"]),
        (["run", "quik"], ["unknown suite 'quik'", "did you mean 'quick'?"]),
        (["run", "tasks"], ["unknown suite 'tasks'"]),
        (
            ["verify", "--backends", f"{FRAMEWORK}s"],
            [f"unknown backend '{FRAMEWORK}s'", f"did you mean '{FRAMEWORK}'?"],
        ),
        (["verify", "--backends", f"{REFERENCE}/"], [f"unknown backend '{REFERENCE}/'"]),
        (["verify", "--backends", f"./{REFERENCE}"], ["unknown backend"]),
        (["verify", "--python", f"{FRAMEWORK}s=python3"], [f"unknown backend '{FRAMEWORK}s'"]),
        (
            ["verify", "-b", REFERENCE, "--modes", "referense"],
            ["unknown mode 'referense'", "did you mean 'reference'?"],
        ),
        (["verify", "risk_mlp", "-b", REFERENCE, "--modes", "stock"], ["stock", REFERENCE]),
        (["run", "smoke", "-b", REFERENCE, "--modes", "stock"], ["stock", REFERENCE]),
        (["data", "fetch", "mnits"], ["unknown data set 'mnits'", "did you mean 'mnist'?"]),
        (["verify", "--python", f"{REFERENCE}@=python3"], [f"'{REFERENCE}@' has no good label", f"{REFERENCE}@2.9"]),
        (["verify", "--python", f"{REFERENCE}@../../x=python3"], [f"'{REFERENCE}@../../x' has no good label"]),
        (["run", "smoke", "--backends", f"{REFERENCE}@a b"], [f"'{REFERENCE}@a b' has no good label"]),
        (["list", "--python", f"{REFERENCE}@\x1b[2J=python3"], ["has no good label"]),
        (["verify", "--python", f"{REFERENCE}s@2=python3"], [f"unknown backend '{REFERENCE}s'", "did you mean"]),
        (["verify", "-b", f"{REFERENCE}@2"], [f"'{REFERENCE}@2' has no interpreter", f"--python {REFERENCE}@2=PATH"]),
        (["report", "nowhere"], ["nowhere", "run.json"]),
        (["list", "--data-dir", "nowhere"], ["nowhere"]),
        (["verify", "risk_mlp", "-b", REFERENCE, "--data-dir", "nowhere"], ["nowhere"]),
    ],
    ids=lambda value: " ".join(value) if "-" in value[0] or value[0] in ("verify", "run", "data", "report", "list") else "",
)
def test_bad_input_is_one_sentence(quick: Callable[..., Said], arguments: list[str], words: list[str]) -> None:
    """What is wrong, and the nearest thing that is right."""
    refused(quick(*arguments), *words)


@pytest.mark.parametrize("arguments", [["verify", "mnist_cn"], ["run", "quik"], ["report", "nowhere"]], ids=" ".join)
def test_a_real_command_shows_no_traceback(concord: Callable[..., Said], arguments: list[str]) -> None:
    """The same in a process of its own, from any folder."""
    refused(concord(*arguments))


@pytest.mark.parametrize(
    "arguments", [["verify", "--python", "torch"], ["verify", "--device", "tpu"], ["verfy"], ["run", "--seed", "x"]]
)
def test_bad_usage_is_told_by_the_parser(quick: Callable[..., Said], arguments: list[str]) -> None:
    """The same exit code, with the usage."""
    said = quick(*arguments)
    assert said.code == 2
    assert "Usage:" in said.err
    assert "Traceback" not in said.err


def test_an_interpreter_that_is_none(quick: Callable[..., Said], tmp_path: Path) -> None:
    """A path that is not there, one that is no program, one that is no Python."""
    text = tmp_path / "notes.txt"
    text.write_text("no program")
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\nexit 0\n")
    silent.chmod(0o755)
    for path in (tmp_path / "nothing", text, silent, tmp_path):
        said = quick("verify", "risk_mlp", "--backends", REFERENCE, "--python", f"{REFERENCE}={path}")
        refused(said, f"--python {REFERENCE}={path}", "not a Python")


def test_a_relative_interpreter_is_found_from_here(quick: Callable[..., Said], tmp_path: Path, bare_python: Path) -> None:
    """A relative path counts from the folder where the command is typed."""
    (tmp_path / "here" / "python").symlink_to(bare_python)
    said = quick("verify", "risk_mlp", "--backends", FRAMEWORK, "--python", f"{FRAMEWORK}=./python")
    refused(said, f"{FRAMEWORK}:", "is not installed")


def test_missing_frameworks_are_told_with_the_extra(quick: Callable[..., Said], bare_python: Path) -> None:
    """Which package, where, and the command that installs it."""
    said = quick("verify", "risk_mlp", "--backends", FRAMEWORK, "--python", f"{FRAMEWORK}={bare_python}")
    refused(
        said,
        f"{FRAMEWORK}:",
        catalog.backend(FRAMEWORK).IMPORT,
        str(bare_python),
        "pip install",
        PACKAGE,
        f"[{FRAMEWORK}]",
    )


def test_no_framework_at_all(quick: Callable[..., Said], bare_python: Path) -> None:
    """Nothing to compare is an error, not an empty table."""
    pythons = [f"--python={name}={bare_python}" for name in catalog.frameworks()]
    refused(quick("run", "smoke", *pythons), "no framework is installed", f"{PACKAGE}[all]")


def test_a_folder_that_exists_is_left_alone(quick: Callable[..., Said], tmp_path: Path) -> None:
    """Results are never written over."""
    out = tmp_path / "mine"
    out.mkdir()
    (out / "notes.txt").write_text("keep")
    refused(quick("run", "smoke", "--backends", REFERENCE, "--out", out), str(out), "exists", "--out")
    assert [path.name for path in out.iterdir()] == ["notes.txt"]


def test_bad_input_leaves_no_folder(quick: Callable[..., Said], tmp_path: Path) -> None:
    """The next attempt with the same name must not find it taken."""
    out = tmp_path / "mine"
    refused(quick("run", "smoke", "--backends", REFERENCE, "--out", out, "--data-dir", tmp_path / "nowhere"), "nowhere")
    assert not out.exists()


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() == 0, reason="root may write anywhere")
def test_a_place_that_may_not_be_written(quick: Callable[..., Said], tmp_path: Path) -> None:
    """Told before anything is computed."""
    tmp_path.chmod(0o500)
    try:
        refused(quick("run", "smoke", "--backends", REFERENCE, "--out", tmp_path / "mine"), "mine")
    finally:
        tmp_path.chmod(0o700)


def test_out_below_a_file(quick: Callable[..., Said], tmp_path: Path) -> None:
    """A file is no folder."""
    (tmp_path / "file").write_text("")
    refused(quick("run", "smoke", "--backends", REFERENCE, "--out", tmp_path / "file" / "mine"), "file")


def test_list_as_json(concord: Callable[..., Said]) -> None:
    """Tasks, suites, backends with versions and modes, data with the place where it was found."""
    said = concord("list", "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out)
    assert set(found) == {"tasks", "suites", "backends", "data"}
    assert list(found["tasks"]) == catalog.tasks()
    assert list(found["suites"]) == catalog.suites()
    assert list(found["backends"]) == catalog.backends()
    for name, facts in found["backends"].items():
        assert {"title", "modes", "versions", "python", "missing"} <= set(facts)
        assert facts["modes"] == list(catalog.backend(name).MODES)
    assert found["backends"][REFERENCE]["versions"]["numpy"]
    german = found["data"]["german_credit"]
    assert german["where"] == str(data.SAMPLES / "german_credit")


def test_list_names_what_is_missing(quick: Callable[..., Said], bare_python: Path) -> None:
    """A backend without its framework is listed with what to install."""
    found = json.loads(quick("list", "--json", "--python", f"{FRAMEWORK}={bare_python}").out)
    facts = found["backends"][FRAMEWORK]
    assert facts["versions"] == {}
    assert f"{PACKAGE}[{FRAMEWORK}]" in facts["missing"]


def test_list_for_people(quick: Callable[..., Said]) -> None:
    """The same names in a table."""
    said = quick("list")
    assert said.code == 0, said.err
    for name in [*catalog.tasks(), *catalog.suites(), *catalog.backends(), "german_credit"]:
        assert name in said.out


def proofs(said: Said) -> list[dict[str, Any]]:
    """The document of `concord verify --json`."""
    assert said.code == 0, said.err
    return json.loads(said.out)


def test_verify_as_json(concord: Callable[..., Said]) -> None:
    """One object a level, with the documented keys; all of the reference's own are proven."""
    rows = proofs(concord("verify", "risk_mlp", "--backends", REFERENCE, "--json"))
    keys = {"task", "backend", "mode", "precision", "level", "worst", "tolerance", "where", "verdict", "reason"}
    assert rows, "the reference as the subject gives no row"
    for row in rows:
        assert keys <= set(row)
        assert (row["task"], row["backend"]) == (catalog.key(catalog.task("risk_mlp")), REFERENCE)
    assert {row["verdict"] for row in rows} == {"proven"}
    assert {"weights", "loss"} <= {row["level"] for row in rows}


def test_help_is_quick_and_light() -> None:
    """Under half a second, and nothing heavy is loaded before the verb is known."""
    code = "import sys; from harness.cli import main; main(['--help'], standalone_mode=False); print(*sys.modules)"
    spent = []
    for _ in range(3):
        before = os.times()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, timeout=30)
        after = os.times()  # of the CPU: the wall's would be that of whoever else is at work
        spent.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert "Examples:" in done.stdout
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"pandas", "matplotlib", "scipy", "sklearn", "jinja2", "requests", "httpx", "rich", "psutil"}
    assert min(spent) < 0.5


@pytest.mark.parametrize(
    "verb",
    [
        [],
        ["run"],
        ["verify"],
        ["report"],
        ["export"],
        ["list"],
        ["init"],
        ["init", "task"],
        ["data"],
        ["data", "fetch"],
        ["show"],
        ["compare"],
        ["history"],
    ],
    ids=" ".join,
)
def test_every_verb_has_help(quick: Callable[..., Said], verb: list[str]) -> None:
    """With -h too."""
    for flag in ("--help", "-h"):
        said = quick(*verb, flag)
        assert said.code == 0
        assert "Usage:" in said.out


@pytest.mark.parametrize(("shell", "told"), [("bash", "plain,export"), ("zsh", "plain\nexport\n"), ("fish", "plain,export\t")])
def test_the_shell_is_told_how_a_verb_goes_on(shell: str, told: str) -> None:
    """As the line of the README has it asked."""
    code = "from harness.cli import main; main(prog_name='concord')"
    asked = {
        "_CONCORD_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": "concord ex",
        "COMP_CWORD": "ex" if shell == "fish" else "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env=os.environ | asked
    )
    assert done.stdout.startswith(told)


def test_version(quick: Callable[..., Said]) -> None:
    """Installed or run from the source."""
    said = quick("--version")
    assert said.code == 0
    assert said.out.startswith("concord, version")


def test_doctor_examines_the_machine() -> None:
    """Every finding has a state; 0 where it is quiet, 4 where not; what a first GPU run must check is told."""
    done = CliRunner().invoke(main, ["doctor"])
    assert done.exit_code in {0, options.EXIT_NOISY}, done.output
    for what in ("CPUs", "load", "governor", "noise"):
        assert what in done.output
    assert "A first run on a GPU must check:" in done.output


@pytest.mark.parametrize("wrong", ["10x", "", "-5s", "0", "infs", "nan"])
def test_a_time_that_is_none(wrong: str) -> None:
    """One sentence, and exit code 2."""
    done = CliRunner().invoke(main, ["run", "smoke", "--max-time", wrong])
    assert done.exit_code == options.EXIT_INPUT
    assert "is not a time" in done.output
