"""The command line as a user meets it: bad input is one sentence and exit code 2, documents are JSON, help is quick."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
import venv
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
from click.testing import CliRunner

from harness import catalog, data, download, launch, records, resume, samples, verify, workplace
from harness.cli import main, options, viewing
from harness.errors import HarnessError
from harness.proof import missing
from harness.report import drawing, tables
from harness.report.findings import find
from tests.test_run import PATIENCE_S, WRONG, build, command

pytestmark = pytest.mark.processes
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
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False, cwd=here)
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


def refused(said: Said, *words: str, code: int = 2) -> None:
    """The exit code, nothing on stdout, no traceback, and in the end one sentence with these words."""
    assert said.code == code, said
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
        (["verify", "cifar_resnet:depth=110"], ["depth 110", "choose 8"]),
        (["selfcheck", "smoke", "-b", REFERENCE], ["suite smoke gives no verdicts", "1 generations", "rigorous"]),
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
        (["verify", "-b", f"{REFERENCE},{FRAMEWORK}", "--modes", "reference"], [f"none of {FRAMEWORK} has the mode reference"]),
        (["data", "fetch", "mnits"], ["unknown data set 'mnits'", "did you mean 'mnist'?"]),
        (["data", "sample", "mnits", "--out", "made"], ["unknown sample 'mnits'", "did you mean 'mnist'?"]),
        (["data", "sample", "mnist", "--out", "made"], ["only mnist (sample 10,000 of 60,000)", "--data-dir"]),
        (["verify", "--python", f"{REFERENCE}@=python3"], [f"'{REFERENCE}@' has no good label", f"{REFERENCE}@2.9"]),
        (["verify", "--python", f"{REFERENCE}@../../x=python3"], [f"'{REFERENCE}@../../x' has no good label"]),
        (["run", "smoke", "--backends", f"{REFERENCE}@a b"], [f"'{REFERENCE}@a b' has no good label"]),
        (["list", "--python", f"{REFERENCE}@\x1b[2J=python3"], ["has no good label"]),
        (["verify", "--python", f"{REFERENCE}s@2=python3"], [f"unknown backend '{REFERENCE}s'", "did you mean"]),
        (["verify", "-b", f"{REFERENCE}@2"], [f"'{REFERENCE}@2' has no interpreter", f"--python {REFERENCE}@2=PATH"]),
        (["run", "smoke", "--filter", "task=mnist_cnn"], ["unknown task of this suite 'mnist_cnn'", "risk_mlp"]),
        (["run", "smoke", "--filter", f"backend={REFERENCE}"], ["unknown filter 'backend'", "task"]),
        (["report", "nowhere"], ["nowhere", "run.json"]),
        (["run", "smoke", "-b", REFERENCE, "--device", "gpu"], [f"{REFERENCE} runs on the CPU alone", "leave out --device gpu"]),
        (["selfcheck", "-b", REFERENCE, "--device", "gpu"], [f"{REFERENCE} runs on the CPU alone", "leave out --device gpu"]),
        (["list", "--data-dir", "nowhere"], ["nowhere"]),
        (["list", "--python", f"{REFERENCE}s=python3"], [f"unknown backend '{REFERENCE}s'", "did you mean"]),
        (["doctor", "--python", f"{REFERENCE}s=python3"], [f"unknown backend '{REFERENCE}s'", "did you mean"]),
        (["verify", "risk_mlp", "-b", REFERENCE, "--data-dir", "nowhere"], ["nowhere"]),
    ],
    ids=lambda value: (
        " ".join(value) if "-" in value[0] or value[0] in ("verify", "run", "data", "report", "list", "doctor") else ""
    ),
)
def test_bad_input_is_one_sentence(quick: Callable[..., Said], arguments: list[str], words: list[str]) -> None:
    """What is wrong, and the nearest thing that is right."""
    refused(quick(*arguments), *words)


@pytest.mark.parametrize("arguments", [["verify", "mnist_cn"], ["run", "quik"], ["report", "nowhere"]], ids=" ".join)
def test_a_real_command_shows_no_traceback(concord: Callable[..., Said], arguments: list[str]) -> None:
    """The same in a process of its own, from any folder."""
    refused(concord(*arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        ["verify", "--python", "torch"],
        ["verify", "--python", "torch@1=x", "--python", "torch@1=y"],
        ["verify", "--device", "tpu"],
        ["verfy"],
        ["run", "--seed", "x"],
        ["run", "--seed", "-1"],
        ["run", "--seed", str(2**31)],
        ["run", "--filter", "mnist_cnn"],
        ["run", "--filter", "task=mnist_cnn", "--filter", "task=risk_mlp"],
    ],
)
def test_bad_usage_is_told_by_the_parser(quick: Callable[..., Said], arguments: list[str]) -> None:
    """The same exit code, with the usage."""
    said = quick(*arguments)
    assert said.code == 2
    assert "Usage:" in said.err
    assert "Traceback" not in said.err


def test_a_bug_is_no_failed_proof(quick: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody foresaw keeps its traceback and asks to be reported, with an exit code of its own: 1 has a meaning."""
    monkeypatch.setattr(catalog, "tasks", lambda: 1 / 0)
    said = quick("list")
    assert (said.code, said.out) == (options.EXIT_BUG, "")
    assert said.err.startswith("Traceback (most recent call last):")
    *_, error, sentence = said.err.splitlines()
    assert error == "ZeroDivisionError: division by zero"
    assert sentence.startswith("concord: this is a bug of Concord's")


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
    refused(said, f"{FRAMEWORK}:", "not installed", code=options.EXIT_CELL)


def test_missing_frameworks_are_told_with_the_extra(quick: Callable[..., Said], bare_python: Path) -> None:
    """Which package, where, and the command that installs it."""
    said = quick("verify", "risk_mlp", "--backends", FRAMEWORK, "--python", f"{FRAMEWORK}={bare_python}")
    refused(
        said,
        f"{FRAMEWORK}:",
        catalog.backend(FRAMEWORK).IMPORT,
        str(bare_python),
        f"{bare_python} -m pip install -e ",
        f"[{FRAMEWORK}]",
        code=options.EXIT_CELL,
    )


def test_a_lent_interpreter_is_asked_for_its_own_packages(
    tmp_path: Path, bare_python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for what lies beside Concord, which is its own environment where it was installed from a wheel."""
    (tmp_path / "backends").symlink_to(ROOT / "backends")
    for name in ("numpy", "einops"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    monkeypatch.setattr(catalog, "ROOT", tmp_path)
    assert {"numpy", "einops"} <= {*workplace.probe(REFERENCE, str(bare_python)).missing}


def test_no_framework_at_all(quick: Callable[..., Said], bare_python: Path) -> None:
    """Nothing to compare is an error, not an empty table."""
    pythons = [f"--python={name}={bare_python}" for name in catalog.frameworks()]
    refused(quick("run", "smoke", *pythons), "no framework is installed", catalog.install("all"))


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
    refused(
        quick("run", "smoke", "--backends", REFERENCE, "--out", tmp_path / "file" / "mine"),
        "cannot write",
        "file",
        "name another",
    )


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
    assert catalog.install(FRAMEWORK, bare_python) in facts["missing"]


def test_what_is_missing_is_installed_by_the_command_that_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From this checkout, for no index need have Concord; from a wheel by its name, whose extras pip knows there."""
    pytest.importorskip("hatchling", reason="tells what a checkout holds")
    pytest.importorskip("pip", reason="installs it")
    offline = ["--dry-run", "--no-deps", "--no-index", "--no-build-isolation"]
    told = shlex.split(catalog.install("parquet"))
    told.remove("-e")  # which finds the same there, and needs one package more to do so offline
    done = subprocess.run([*told, *offline], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    assert f"Would install {PACKAGE}-" in done.stdout
    monkeypatch.setattr(catalog, "ROOT", tmp_path)
    assert catalog.install("torch", "/a b/python") == f"'/a b/python' -m pip install '{PACKAGE}[torch]'"


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
        ["doctor"],
        ["init"],
        ["init", "task"],
        ["data"],
        ["data", "fetch"],
        ["data", "sample"],
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


def offered(shell: str, line: str) -> str:
    """What the shell is told when the tab key is pressed at the end of a line, as the line of the README has it asked."""
    code, words = "from harness.cli import main; main(prog_name='concord')", line.split(" ")
    asked = {
        "_CONCORD_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": words[-1] if shell == "fish" else str(len(words) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT, env=os.environ | asked
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize(("shell", "told"), [("bash", "plain,export"), ("zsh", "plain\nexport\n"), ("fish", "plain,export\t")])
def test_the_shell_is_told_how_a_verb_goes_on(shell: str, told: str) -> None:
    """In each shell that has a way."""
    assert offered(shell, "concord ex").startswith(told)


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("verify mn", [name for name in catalog.tasks() if name.startswith("mn")]),
        ("history ", catalog.tasks()),
        ("run ", catalog.suites()),
        ("selfcheck -b ", catalog.backends()),
        (f"verify --backends {REFERENCE},", [f"{REFERENCE},{name}" for name in catalog.backends()]),
        ("run -m a", ["all"]),
        ("data fetch c", ["cifar10", "credit_default"]),
        ("data sample m", ["mnist"]),
    ],
)
def test_the_shell_is_told_the_names(line: str, names: list[str]) -> None:
    """Those that exist; nothing that a verb would refuse."""
    assert offered("bash", f"concord {line}").split() == [f"plain,{name}" for name in names]


def test_a_mistyped_verb(quick: Callable[..., Said]) -> None:
    """The nearest one, of a group too."""
    for typed, near in ((["rnu"], "run"), (["data", "fetsh"], "fetch")):
        said = quick(*typed)
        assert (said.code, said.out) == (2, "")
        assert f"Did you mean '{near}'?" in said.err


def test_help_names_the_variable_for_data(quick: Callable[..., Said]) -> None:
    """The one that every verb reads, beside its own."""
    for verb in ("run", "verify", "doctor", "list"):
        assert "CONCORD_DATA," in quick(verb, "-h").out


def test_version(quick: Callable[..., Said]) -> None:
    """Installed or run from the source."""
    said = quick("--version")
    assert said.code == 0
    assert said.out.startswith("concord, version")


@pytest.mark.parametrize("wrong", ["10x", "", "-5s", "0", "infs", "nan"])
def test_a_time_that_is_none(wrong: str) -> None:
    """One sentence, and exit code 2."""
    done = CliRunner().invoke(main, ["run", "smoke", "--max-time", wrong])
    assert done.exit_code == options.EXIT_INPUT
    assert "is not a time" in done.output


# --- what every verb has


def leaves(verb: click.Command, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every verb by what is typed, those of groups too."""
    if not isinstance(verb, click.Group):
        yield path, verb
        return
    for name, sub in verb.commands.items():
        yield from leaves(sub, f"{path} {name}".strip())


VERBS = dict(leaves(main))
FETCH = """
def fetch(name, progress, *, data_dir=None):
    progress(name, 1, 2)
    return data_dir / name
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference alone, a tiny suite, one of three generations and one of none, a mirror that is none."""
    root = build(tmp_path_factory.mktemp("cli") / "house", {})
    tiny = (root / "suites" / "tiny.py").read_text("utf-8")
    for name, generations in (("long", 3), ("untimed", 0)):
        suite = tiny.replace("generations=1", f"generations={generations}")
        (root / "suites" / f"{name}.py").write_text(suite, encoding="utf-8")
    with (root / "harness" / "download.py").open("a", encoding="utf-8") as file:
        file.write(FETCH)
    return root


def typed(house: Path, *arguments: str | Path) -> Said:
    """The command in a house."""
    with command(house, *arguments) as process:
        out, err = process.communicate(timeout=PATIENCE_S)
    return Said(process.returncode, out, err)


@pytest.fixture(scope="module")
def versions(house: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Said]:
    """A run of the reference under two labels, one of them an interpreter of another name, and what was said of it."""
    other = tmp_path_factory.mktemp("other")
    venv.create(other, with_pip=False, symlinks=True, system_site_packages=False)
    site = next((other / "lib").glob("python*/site-packages"))
    (site / "all.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")), encoding="utf-8")
    out = tmp_path_factory.mktemp("versions") / "run"
    pythons = [f"--python={REFERENCE}@1.26={sys.executable}", f"--python={REFERENCE}@2.0-rc={other / 'bin' / 'python'}"]
    return out, typed(house, "run", "tiny", "-b", REFERENCE, *pythons, "--out", out, "--data-dir", data.SAMPLES, "--json")


def strictly(text: str) -> Any:
    """One JSON document, without the numbers that JSON does not have."""

    def refuse(name: str) -> None:
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse)


def asked(run: Path, tmp: Path) -> Mapping[str, list[str | Path]]:
    """What to type after each verb."""
    samples: list[str | Path] = ["--data-dir", data.SAMPLES]
    return {
        "verify": ["risk_mlp", "-b", REFERENCE, *samples],
        "run": ["smoke", "-b", REFERENCE, "--dry-run", *samples],
        "selfcheck": ["five", "-b", REFERENCE, "--out", tmp / "run", *samples],
        "doctor": [],
        "report": [run],
        "list": samples,
        "compare": [run, run],
        "history": ["--results", run.parent],
        "show": [run],
        "export": [run, "--junit", tmp / "proofs.xml"],
        "data fetch": ["mnist", "cifar10", "--data-dir", tmp],
        "data sample": ["german_credit", "--out", tmp / "made", *samples],
        "init backend": ["mxnet"],
        "init task": ["imdb_lstm"],
    }


def promised(typed: str) -> set[str]:
    """The keys of a document, or of each of the objects that it lists, as the README names them; here those of data sets."""
    table = (ROOT / "README.md").read_text("utf-8").partition("| `--json` of |")[2]
    row = next(line for line in table.splitlines() if f"`{typed}`" in line.partition(" | ")[0])
    return set(re.findall(r"`(\w+)`", row.partition(" | ")[2])) or {"mnist", "cifar10"}


def examples(text: str) -> list[str]:
    """The commands that some help, or the README, shows, one a line."""
    return re.findall(r"(?m)^    concord (.+)$", text)


def try_out(line: str) -> str:
    """Parse a command with all that its options check, and look up what it names; the verb. Nothing is run."""
    words = shlex.split(line, comments=True)
    verb = max((verb for verb in VERBS if words[: verb.count(" ") + 1] == verb.split()), key=len)
    with click.Context(main) as parent:
        given = VERBS[verb].make_context(verb, words[verb.count(" ") + 1 :], parent=parent).params
    for task in given.get("tasks", ()):
        catalog.task(task)
    for backend in [*given.get("backends", ()), *filter(None, [given.get("backend")])]:
        catalog.backend(backend)
    assert {*given.get("modes", ())} <= {*catalog.modes(), "all"}
    catalog.suite(given.get("suite", "quick"))
    if verb.startswith("data "):
        assert {*given["names"]} <= {*(download.SOURCES if verb == "data fetch" else samples.MAKERS)}
    return verb


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_every_option(quick: Callable[..., Said], verb: str) -> None:
    """Once: one that no group has would be missing."""
    said = quick(*verb.split(), "-h").out
    flags = [max(option.opts, key=len) for option in VERBS[verb].params if isinstance(option, click.Option)]
    assert [len(re.findall(rf"^  (?:-\w, )?{flag}\b(?!-)", said, re.MULTILINE)) for flag in (*flags, "--help")] == [1] * (
        len(flags) + 1
    )


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_examples(quick: Callable[..., Said], verb: str) -> None:
    """Two or three of itself, in its help, and each of them can be typed."""
    lines = examples(quick(*verb.split(), "-h").out.partition("Examples:")[2])
    assert len(lines) in {2, 3}
    assert {try_out(line) for line in lines} == {verb}


def test_the_examples_of_groups_and_of_the_readme(quick: Callable[..., Said]) -> None:
    """They can be typed, too; between them the README's show every verb but those that lay down files for contributors."""
    for group in ([], ["data"], ["init"]):
        assert [try_out(line) for line in examples(quick(*group, "-h").out)]
    using = (ROOT / "README.md").read_text("utf-8").partition("## Using it")[2].partition("\n\nOn a terminal")[0]
    assert {try_out(line) for line in examples(using)} == {verb for verb in VERBS if not verb.startswith("init")}


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_speaks_json(
    house: Path, versions: tuple[Path, Said], quick: Callable[..., Said], tmp_path: Path, verb: str
) -> None:
    """One document on stdout and nothing else there; no bar moves where there is no terminal. A new verb is found."""
    arguments = asked(versions[0], tmp_path)[verb]
    root = build(tmp_path / "house", {}) if verb.startswith("init") else house
    if root != house:  # without the tests it is no checkout, where init is refused
        shutil.copytree(ROOT / "tests", root / "tests")
    elsewhere = verb.startswith("init") or verb in {"selfcheck", "data fetch"}
    said = (partial(typed, root) if elsewhere else quick)(*verb.split(), *arguments, "--json")
    assert said.code in {0, options.EXIT_NOISY} or verb == "doctor", said.err  # which has no framework everywhere
    found = strictly(said.out)
    for each in found if isinstance(found, list) else [found]:
        assert each.keys() == promised("run --dry-run" if verb == "run" else verb)
    assert found
    assert "\x1b" not in said.err + said.out
    assert said.err == "" or verb in {"verify", "selfcheck", "doctor", "report", "init backend", "init task"}


def test_a_dry_run_speaks_json(quick: Callable[..., Said]) -> None:
    """The plan as a document, here of one task alone; a real run is that of ``versions``."""
    said = quick("run", "quick", "--filter", "task=mnist_cnn", "--dry-run", "--json", "-b", REFERENCE, "--data-dir", data.SAMPLES)
    assert (said.code, said.err) == (0, "")
    found = strictly(said.out)
    assert {"says", "seconds", "suite", "chosen", "entrants", "skipped", "python", "data_dir"} <= found.keys()
    assert [job["task"] for job in found["suite"]["jobs"]] == ["mnist_cnn"]
    assert len(catalog.suite("quick").jobs) > 1


SET = {
    "python": f"{REFERENCE}=x",
    "max-time": "1m",
    "fail-if-slower": "3%",
    "filter": "task=x",
    "device": "gpu",
    "backend": REFERENCE,
}


def test_figures_as_json_have_all_digits(quick: Callable[..., Said], tmp_path: Path) -> None:
    """Those of summary.csv, bit by bit; what has no figure is null, and a run without a page says so."""
    for name in ("run.json", "proofs.jsonl", "trials.jsonl"):
        shutil.copy(ROOT / "results" / "example" / name, tmp_path)
    found = strictly(quick("show", tmp_path, "--json").out)
    assert (found["run"], found["report"]) == (str(tmp_path), None)
    summary = tables.summary(find(records.read(tmp_path)))
    assert found["figures"] == summary.astype(object).where(summary.notna(), None).to_dict("records")
    least = min(row["value"] for row in found["figures"] if row["metric"] == "step_time")
    assert f"{least:.4g}" != f"{least:.15g}"
    assert least < 1e-3


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_has_its_variable(monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    """CONCORD_VERB_OPTION is what its help names, and it is read; what is typed beats it."""
    command = VERBS[verb]
    given = [param for param in command.params if isinstance(param, click.Option)]
    assert {"json", "quiet", "verbose"} <= {long(option) for option in given}
    for option in given:
        name = f"CONCORD_{verb} {long(option)}".upper().replace(" ", "_").replace("-", "_")
        monkeypatch.setenv(name, SET.get(long(option), "1"))
        assert name in click.Context(command).command.get_help(click.Context(command, terminal_width=300))
    words = ["x"] * sum(isinstance(param, click.Argument) and param.required for param in command.params)
    with click.Context(main) as parent:
        context = command.make_context(verb, [*words], parent=parent)
        typed = command.make_context(verb, [*words, "--json"], parent=parent)
    monkeypatch.undo()
    read = {option.name: context.get_parameter_source(option.name or "") for option in given}
    assert set(read.values()) == {click.core.ParameterSource.ENVIRONMENT}, read
    assert typed.get_parameter_source("as_json") is click.core.ParameterSource.COMMANDLINE


def long(option: click.Option) -> str:
    """An option as it is written out, without its dashes."""
    return max(option.opts, key=len).removeprefix("--")


@pytest.mark.parametrize(("flag", "wanted", "unwanted"), [("-q", "", " s] "), ("-v", "is asked {'op': 'trace'", "lr=")])
def test_how_much_is_told(concord: Callable[..., Said], flag: str, wanted: str, unwanted: str) -> None:
    """Quiet: no progress. Verbose: every request to a worker, beside it."""
    said = concord("verify", "risk_mlp", "-b", REFERENCE, flag, "--json")
    assert proofs(said)
    assert wanted in said.err
    assert unwanted not in said.err
    assert (" s] " in said.err) == (flag == "-v")


@pytest.mark.parametrize("silent", [False, True])
def test_a_terminal_without_colour(
    house: Path, versions: tuple[Path, Said], monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    """A terminal shows verdicts in colour, unless NO_COLOR is set."""
    pty = pytest.importorskip("pty")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1") if silent else monkeypatch.delenv("NO_COLOR", raising=False)
    ours, theirs = pty.openpty()
    line = [sys.executable, "-m", "harness", "show", str(versions[0])]
    with subprocess.Popen(line, cwd=house, env={**os.environ, "PYTHONPATH": str(house)}, stdout=theirs) as process:
        os.close(theirs)
        told = b"".join(iter(lambda: read(ours), b""))
    os.close(ours)
    assert process.returncode == 0
    assert "┏━".encode() in told
    assert "✓ proven".encode() in told
    assert (b"\x1b[32m" in told) != silent


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_pipe_gets_ascii_alone(here: Path, encoding: str) -> None:
    """Its reader may know no more. A folder keeps its name, escaped where the encoding lacks a character."""
    shutil.copytree(ROOT / "results" / "example", here / "läufe")
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding}
    said = {}
    for typed in ("list", "show läufe", "show läufe --filter phase=train"):
        command = [sys.executable, "-m", "harness", *typed.split()]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False, cwd=here, env=env, timeout=PATIENCE_S)
        assert (done.returncode, done.stderr) == (0, "")
        said[typed] = done.stdout.replace("läufe", r"l\xe4ufe")
        assert said[typed].isascii()
    assert said["show läufe"].startswith(r"l\xe4ufe")
    assert "| ok proven |" in said["show läufe"]
    assert " us " in said["show läufe --filter phase=train"]


def test_what_does_not_fit_a_column_is_broken_and_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal, which somebody could make wider."""
    from harness.report import terminal

    terminal.print_table(("a", "b"), [("x" * 200, "○ y")])
    shown = capsys.readouterr().out
    assert shown.count("x") == 200
    assert "| - y |" in shown


def read(terminal: int) -> bytes:
    """What a terminal was sent; nothing once nobody holds its other end."""
    try:
        return os.read(terminal, 65536)
    except OSError:  # as Linux says that
        return b""


# --- two versions of one framework


def test_versions_stand_side_by_side(versions: tuple[Path, Said]) -> None:
    """Each is an entrant of its own: proven against the reference and the other, timed, with its interpreter in the manifest."""
    out, said = versions
    assert said.code == 0, said.err
    one, two = f"{REFERENCE}@1.26", f"{REFERENCE}@2.0-rc"
    run = records.read(out)
    told = strictly(said.out)
    assert told.keys() == promised("run")
    assert {row["backend"] for row in told.pop("figures")} == {one, two}
    assert told == {"run": str(out), "report": str(out / "report.html")}
    assert {proof.verdict for proof in run.proofs} == {"proven"}
    assert {(p.backend, p.against) for p in run.proofs} >= {(one, REFERENCE), (two, REFERENCE), (one, two)}
    assert {t.cell.backend for t in run.trials if t.phase in {"train", "predict", "latency", "fit"}} == {one, two}
    assert list(run.manifest["plan"]["python"]) == list(run.manifest["environment"]["workers"]) == [one, two]
    interpreters = {worker["interpreter"] for worker in run.manifest["environment"]["workers"].values()}
    assert len(interpreters) == 2
    code = run.manifest["tasks"]["risk_mlp:data=german_credit"]["code"]
    assert code[one] == code[two] == (ROOT / "backends" / REFERENCE / "risk_mlp.py").read_text("utf-8")


def test_views_name_versions_by_their_labels(quick: Callable[..., Said], versions: tuple[Path, Said]) -> None:
    """Tables, page and comparison; one can be picked; both have their framework's colour, each has a marker."""
    out, _ = versions
    one, two = f"{REFERENCE}@1.26", f"{REFERENCE}@2.0-rc"
    rows = strictly(quick("show", out, "--filter", f"backend={one}", "--json").out)["figures"]
    assert {row["backend"] for row in rows} == {one}
    assert {line["backend"] for line in strictly(quick("compare", out, out, "--json").out)["lines"]} == {one, two}
    page = (out / "report.html").read_text("utf-8")
    assert f"{one} reference" in page
    assert f"{two} reference" in page
    drawn = {cell.backend: look for cell, look in drawing.looks(find(records.read(out)).proofs).items()}
    assert [len({look[what] for look in drawn.values()}) for what in ("color", "marker")] == [1, len(drawn)] == [1, 2]


def test_a_backend_stands_for_its_labels(quick: Callable[..., Said]) -> None:
    """`-b` with a label picks that one, without it all of them; what has a label runs unasked, and must be there."""
    pythons = [f"--python={name}={sys.executable}" for name in (f"{REFERENCE}@a", f"{REFERENCE}@b")]

    def chosen(*arguments: str) -> list[str]:
        said = quick("run", "smoke", "--dry-run", "--json", "--data-dir", data.SAMPLES, *pythons, *arguments)
        return list(strictly(said.out)["chosen"])

    assert chosen("-b", REFERENCE) == [f"{REFERENCE}@a", f"{REFERENCE}@b"]
    assert chosen("-b", f"{REFERENCE}@b") == [f"{REFERENCE}@b"]
    assert chosen("-b", REFERENCE, f"--python={REFERENCE}={sys.executable}") == [f"{REFERENCE}@a", f"{REFERENCE}@b", REFERENCE]
    assert chosen()[-2:] == [f"{REFERENCE}@a", f"{REFERENCE}@b"]


def test_a_label_without_its_framework_is_refused(quick: Callable[..., Said], bare_python: Path) -> None:
    """A plain one would be skipped; the extra to install is that of the backend."""
    said = quick("run", "smoke", f"--python={FRAMEWORK}@9={bare_python}")
    refused(said, f"{FRAMEWORK}@9: ", catalog.install(FRAMEWORK, bare_python), code=options.EXIT_CELL)


def test_versions_are_compared_within_their_run(quick: Callable[..., Said], versions: tuple[Path, Said]) -> None:
    """By their labels; of another one there is nothing."""
    out, _ = versions
    said = quick("compare", f"{out}@1.26", f"{out}@2.0-rc", "--json")
    found = strictly(said.out)
    assert (said.code, said.err) == (0, "")
    assert (found["base"], found["new"]) == (f"{out}@1.26", f"{out}@2.0-rc")
    assert {(line["backend"], line["base_proof"], line["new_proof"]) for line in found["lines"]} == {
        (REFERENCE, "proven", "proven")
    }
    assert found["missing"] == []
    said = quick("compare", f"{out}@1.26", f"{out}@2.0")
    assert (said.code, said.err) == (2, "concord: unknown label '2.0': did you mean '2.0-rc'?\n")


def test_a_run_of_versions_is_gone_on_with(house: Path, versions: tuple[Path, Said], tmp_path: Path) -> None:
    """From the labels and interpreters that its manifest holds: here the generation is missing."""
    out = tmp_path / "run"
    out.mkdir()
    run = records.read(versions[0])
    (out / "proofs.jsonl").write_bytes((versions[0] / "proofs.jsonl").read_bytes())
    lines = (versions[0] / "trials.jsonl").read_text("ascii").splitlines(keepends=True)
    (out / "trials.jsonl").write_text("".join(line for line in lines if json.loads(line)["phase"] == "fit"), "ascii")
    records.write_manifest(out, {**run.manifest, "finished": None, "progress": {**records.BEGUN, "proven": True}})
    said = typed(house, "run", "--resume", out, "--quiet")
    assert said.code == 0, said.err
    again = records.read(out)
    assert {t.cell.backend for t in again.trials if t.phase == "train"} == {f"{REFERENCE}@1.26", f"{REFERENCE}@2.0-rc"}
    assert again.manifest["finished"]


# --- a run out of time


def test_a_run_that_runs_out_of_time(house: Path, tmp_path: Path) -> None:
    """Exit code 124 where --max-time left fewer generations than the suite's least number; what there is, is kept."""
    out = tmp_path / "out"
    said = typed(house, "run", "long", "-b", REFERENCE, "--max-time", "0.1s", "--out", out, "--data-dir", data.SAMPLES)
    assert said.code == options.EXIT_TIME == 124, said.err
    assert f"go on by: concord run --resume {out} --max-time TIME" in said.err
    run = records.read(out)
    assert len(run.progress["complete"]) == 1
    assert run.manifest["finished"] is None
    assert (out / "report.html").is_file()


def test_a_run_out_of_time_can_be_given_more(house: Path, tmp_path: Path) -> None:
    """With no more it is refused, and nothing is touched; with it what is complete stays, and the rest is measured."""
    out = tmp_path / "out"
    typed(house, "run", "long", "-b", REFERENCE, "--max-time", "0.1s", "--out", out, "--data-dir", data.SAMPLES)
    before = (out / "trials.jsonl").read_bytes()
    said = typed(house, "run", "--resume", out)
    assert (said.code, said.err) == (2, f"concord: {out} has used up its 0 s: give it more in all with --max-time.\n")
    assert (out / "trials.jsonl").read_bytes() == before
    said = typed(house, "run", "--resume", out, "--max-time", "20m", "--quiet")
    assert said.code == 0, said.err
    run = records.read(out)
    assert (out / "trials.jsonl").read_bytes().startswith(before)
    assert len(run.progress["complete"]) == run.at("suite", "generations") > 1
    assert (run.at("suite", "budget_s"), bool(run.manifest["finished"])) == (1200, True)
    assert {t.status for t in run.trials if t.phase == "fit"} == {"ok"}  # what the time had cut is done, and stands for it


def test_trainings_out_of_time_can_be_given_more(house: Path, tmp_path: Path) -> None:
    """In a suite that times nothing too: it is not finished, says how to go on, and then does what was cut."""
    out = tmp_path / "out"
    said = typed(house, "run", "untimed", "-b", REFERENCE, "--max-time", "0.001s", "--out", out, "--data-dir", data.SAMPLES)
    assert said.code == options.EXIT_TIME, said.err
    assert "training, no timing; about" in said.err
    assert f"go on by: concord run --resume {out} --max-time TIME" in said.err
    assert records.read(out).manifest["finished"] is None
    assert "has used up its 0 s" in typed(house, "run", "--resume", out).err
    said = typed(house, "run", "--resume", out, "--max-time", "20m", "--quiet")
    assert said.code == 0, said.err
    run = records.read(out)
    assert [t.status for t in run.trials] == ["ok"]
    assert run.manifest["finished"]


@pytest.mark.parametrize(
    ("used_s", "status", "refused"), [(60.0, "skipped", True), (40.0, "skipped", False), (60.0, "ok", False)]
)
def test_trainings_alone_have_half_of_the_time(
    versions: tuple[Path, Said], tmp_path: Path, used_s: float, status: records.Status, refused: bool
) -> None:
    """Where only they are left, and their half is used up, going on would do nothing: it is refused as where all of it is."""
    run = records.read(versions[0])
    suite = {**run.manifest["suite"], "generations": 1, "hard": True, "budget_s": 100.0}
    progress = {**run.progress, "complete": [0], "used_s": used_s}
    code = verify.code_digest(catalog.ROOT)
    records.write_manifest(tmp_path, {**run.manifest, "suite": suite, "progress": progress, "code": code, "finished": None})
    records.append(tmp_path / "trials.jsonl", replace(run.trials[0], phase="fit", status=status))
    with pytest.raises(HarnessError, match="has used up its 1 min 40 s") if refused else nullcontext():
        resume.unfinished(tmp_path, None)


@pytest.mark.parametrize(
    ("status", "hard", "code"),
    [("ok", True, 124), ("skipped", True, 124), ("failed", True, 3), ("skipped", False, 3), ("ok", False, 0)],
)
def test_what_failed_outweighs_the_time(
    versions: tuple[Path, Said], tmp_path: Path, status: records.Status, hard: bool, code: int
) -> None:
    """A training that the time cut off is no failure beside it; a worker that failed is; without --max-time nothing is cut."""
    run = records.read(versions[0])
    suite = {**run.manifest["suite"], "generations": 3, "hard": hard}
    records.write_manifest(tmp_path, {**run.manifest, "suite": suite})
    for proof in run.proofs:
        records.append(tmp_path / "proofs.jsonl", proof)
    records.append(tmp_path / "trials.jsonl", replace(run.trials[0], status=status))
    assert viewing.exit_code(tmp_path) == code


def test_a_proof_without_numbers_has_not_failed(versions: tuple[Path, Said], tmp_path: Path) -> None:
    """A worker that died in it is a cell that failed, in a run too, whatever became of its trials."""
    run = records.read(versions[0])
    records.write_manifest(tmp_path, run.manifest)
    row = run.proofs[0]
    records.append(tmp_path / "proofs.jsonl", missing(row.task, row.backend, row.mode, verdict="failed", reason="it died"))
    assert viewing.exit_code(tmp_path) == options.EXIT_CELL
    records.append(tmp_path / "proofs.jsonl", replace(row, verdict="failed"))
    assert viewing.exit_code(tmp_path) == options.EXIT_PROOF


@pytest.mark.parametrize(("backends", "code"), [("sound", 0), ("sound,dying", 3), ("sound,dying,wrong", 1)])
def test_a_worker_that_dies_in_the_proof(tmp_path: Path, backends: str, code: int) -> None:
    """It has not been shown to compute something else: exit code 3, unless another one was. The sound one is proven."""
    engines = {"sound": "", "wrong": WRONG, "dying": "Session.train_step = lambda self, batch: os._exit(9)"}
    house = build(tmp_path / "house", {name: engines[name] for name in backends.split(",")})
    said = typed(house, "verify", "risk_mlp", "-b", backends, "--json", "--data-dir", data.SAMPLES)
    assert said.code == code, said.err
    rows = strictly(said.out)
    lost = [(row["level"], row["verdict"], row["reason"]) for row in rows if row["backend"] == "dying"]
    assert lost == [("trace", "failed", "the worker died (exit code 9)")] * ("dying" in backends)
    assert {row["verdict"] for row in rows if (row["backend"], row["against"]) == ("sound", REFERENCE)} == {"proven"}


def test_a_framework_that_is_missing_is_told_by_the_exit_code(tmp_path: Path) -> None:
    """Of verify, too, whoever asked for it: what is there is proven, and 3 says that it is not all."""
    house = build(tmp_path / "house", {"sound": "", "lacking": ""})
    door = house / "backends" / "lacking" / "__init__.py"
    lines = {"IMPORT": '"no_such_package"', "DISTRIBUTIONS": '("no-such-package",)'}
    text = door.read_text("utf-8")
    for name, value in lines.items():
        text = re.sub(rf"(?m)^{name} = .*$", f"{name} = {value}", text)
    door.write_text(text, encoding="utf-8")
    said = typed(house, "verify", "risk_mlp", "--json", "--data-dir", data.SAMPLES)
    assert said.code == options.EXIT_CELL, said.err
    assert {row["backend"]: row["verdict"] for row in strictly(said.out)} == {"sound": "proven", "lacking": "skipped"}


@pytest.mark.skipif(os.name == "nt", reason="there it is another error")
def test_a_reader_that_has_had_enough(here: Path) -> None:
    """As of `concord list | head -1`: nothing is said of it, and it is no mistake of who typed."""
    reader, writer = os.pipe()
    os.close(reader)
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    for typed in (["list", "--json"], ["--help"]):
        command = [sys.executable, "-m", "harness", *typed]
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False, cwd=here, env=env)
        assert (done.returncode, done.stderr) == (141, "")
    os.close(writer)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
@pytest.mark.parametrize("typed", [["list"], ["list", "--json"], ["--help"], ["run", "--help"], ["--version"]], ids=" ".join)
def test_what_is_printed_does_not_fit(here: Path, typed: list[str]) -> None:
    """As of `concord list > file` on a full disk: one sentence, and no words of Python's own at its end."""
    with Path("/dev/full").open("wb") as full:
        command, env = [sys.executable, "-m", "harness", *typed], os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, cwd=here, env=env)
    assert (done.returncode, done.stderr) == (2, "concord: No space left on device: mend that or name another place.\n")


SETTINGS = """
[run]
max-time = "20m"
backends = ["{backend}"]
filter = ["task=risk_mlp"]
[data.fetch]
data-dir = "elsewhere"
"""


def test_a_folder_s_own_defaults_stand_below_variables_and_options(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options go before variables, variables before concord.toml, all before what is built in; lists become what options take."""
    Path("concord.toml").write_text(SETTINGS.format(backend=REFERENCE), "utf-8")
    plan = ["run", "quick", "--dry-run"]

    def told(*more: str) -> str:
        done = CliRunner().invoke(main, [*plan, *more])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert "1 entrants; risk_mlp" in told()
    assert "1 entrants; risk_mlp" in told("--seed", "1")
    assert "at most 20 min" in told()
    assert "at most 40 s" in told("--max-time", "40s")
    monkeypatch.setenv("CONCORD_RUN_MAX_TIME", "30m")
    assert "at most 30 min" in told()
    assert "at most 40 s" in told("--max-time", "40s")
    monkeypatch.setenv("CONCORD_RUN_FILTER", "task='mnist cnn'")
    assert "unknown task of this suite 'mnist cnn'" in CliRunner().invoke(main, plan).output  # one word, as a shell reads it
    monkeypatch.setenv("CONCORD_RUN_FILTER", "task='mnist")
    assert CliRunner().invoke(main, plan).exit_code == 2


@pytest.mark.parametrize("where", ["option", "variable", "file"])
def test_a_home_that_no_shell_has_seen(
    here: Path, quick: Callable[..., Said], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Else a run would find its data, and keep for its resumption a folder named ~."""
    home = Path.home()
    home.mkdir()
    (home / "data").symlink_to(data.SAMPLES)
    if where == "variable":
        monkeypatch.setenv("CONCORD_RUN_DATA_DIR", "~/data")
    elif where == "file":
        Path("concord.toml").write_text('[run]\ndata-dir = "~/data"\n', "utf-8")
    said = quick("run", "smoke", "--dry-run", "--json", "-b", REFERENCE, *(["--data-dir=~/data"] if where == "option" else []))
    assert strictly(said.out)["data_dir"] == str(home / "data")


def test_defaults_beside_a_run_are_not_read(here: Path) -> None:
    """Somebody else may have sent that folder: what is executed and written is for who types to say."""
    Path("concord.toml").write_text("[list]\npython = ['torch=./evil']\n[run", "utf-8")
    Path("run.json").write_text("{}")
    Path("evil").write_text("#!/bin/sh\ntouch sprung\n")
    Path("evil").chmod(0o755)
    assert CliRunner().invoke(main, ["list"]).exit_code == 0
    assert not Path("sprung").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[run]\nmax-tim = 3", "unknown option in concord.toml [run] 'max-tim': did you mean 'max-time'?"),
        ("[rum]\nstrict = true", "unknown table in concord.toml 'rum': did you mean 'run'?"),
        ("[data.fetsh]\nx = 1", "unknown table in concord.toml [data] 'fetsh': did you mean 'fetch'?"),
        ("run = 3", "concord.toml: run is a table of options"),
        ("[run.strict]\nx = 1", "concord.toml [run]: strict takes a value"),
        ("[run]\nseed = 'x'", "'x' is not a valid integer"),
        ("[run]\nseed = 2026-01-01", "'2026-01-01' is not a valid integer"),
        ("[run]\nseed = 1.5", "'1.5' is not a valid integer"),
        ("[run]\nstrict = 7", "'7' is not a valid boolean"),
        ("x = " + "[" * 100_000, "concord.toml cannot be read"),
        ("[run", "concord.toml cannot be read"),
        ("\xff", "concord.toml cannot be read"),
    ],
)
def test_defaults_that_are_wrong_are_told(here: Path, text: str, says: str) -> None:
    """In a sentence, with the place and the nearest name; nothing is begun."""
    Path("concord.toml").write_bytes(text.encode("latin-1"))
    done = CliRunner().invoke(main, ["run", "smoke", "-b", REFERENCE])
    assert CliRunner().invoke(main, ["--version"]).exit_code == 0
    assert (done.exit_code, [*here.iterdir()]) == (2, [here / "concord.toml"])
    assert says in done.stderr
