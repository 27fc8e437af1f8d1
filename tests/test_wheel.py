"""The wheel, installed by pip into a folder: everything is in it, and it works where there is no repository."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import catalog, records
from tests.test_run import TINY, shorten

PARTS = ("harness", "backends", "suites")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pip lays down of a wheel that is built from this source."""
    pytest.importorskip("hatchling", reason="builds the wheel: pip install hatchling")
    pytest.importorskip("pip", reason="installs it")
    folder = tmp_path_factory.mktemp("wheel")
    typed = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(typed, cwd=catalog.ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--isolated", "install", "--no-index", "--no-deps", "--target", folder / "site", wheel]
    subprocess.run(pip, check=True, capture_output=True, timeout=120)
    return folder / "site"


def files(root: Path) -> set[str]:
    """All files of the packages below a folder, but what Python makes itself."""
    found = (path for part in PARTS for path in (root / part).rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix() for path in found if "__pycache__" not in path.parts}


def test_everything_is_in_it(installed: Path) -> None:
    """Every file of the source: templates, samples, and the licence beside each of these; and Concord's own."""
    assert files(installed) == files(catalog.ROOT)
    for folder in (installed / "suites" / "samples").iterdir():
        assert (folder / "LICENCE.md").is_file()
    assert any(name.endswith(".html.j2") for name in files(installed))
    assert list(installed.glob("*.dist-info/licenses/LICENSE"))


@pytest.mark.processes
def test_it_works_without_the_repository(installed: Path, tmp_path: Path) -> None:
    """`concord list`, and a run from proof to report, from an empty folder."""
    shorten(installed)
    (installed / "suites" / "tiny.py").write_text(TINY.format(rounds=1), encoding="utf-8")
    script = next(path for path in (installed / "bin").iterdir() if path.stem == "concord")
    env = {**os.environ, "PYTHONPATH": str(installed), "HOME": str(tmp_path), "CONCORD_DATA": ""}

    def concord(*typed: str) -> str:
        command = [sys.executable, str(script), *typed]
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert json.loads(concord("list", "--json"))["data"]["german_credit"]["where"] == str(
        installed / "suites/samples/german_credit"
    )
    concord("run", "tiny", "--backends", catalog.reference(), "--out", "out")
    where = records.read(tmp_path / "out").at("data", "german_credit", "where")
    assert Path(where).is_relative_to(installed)
    assert (tmp_path / "out" / "report.html").is_file()
