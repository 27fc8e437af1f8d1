"""What CI installs: every package in one version, each file known by its hash, as pyproject.toml wants them."""

import hashlib
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from harness import catalog

ROOT = catalog.ROOT
LOCKS = sorted(Path(__file__).parent.glob("locked-*.txt"))
PIP = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
PINNED = r"(\S+)==(\S+)(?: \\\n    --hash=sha256:[0-9a-f]{64})+\n"


def wanted(lock: Path) -> Iterator[Requirement]:
    """What pyproject.toml asks for on the machines that a lock's name tells, or of nox alone."""
    told = tomllib.loads((catalog.ROOT / "pyproject.toml").read_text("utf-8"))
    groups, project = told["dependency-groups"], told["project"]
    if lock.stem == "locked-nox":
        yield from map(Requirement, groups["nox"])
        return
    _, system, machine, _, python = lock.stem.split("-")
    place = {"sys_platform": system, "platform_machine": machine, "python_version": f"{python[0]}.{python[1:]}"}
    extras = [project["optional-dependencies"][name] for name in project["optional-dependencies"].keys() - {"all", "gpu"}]
    for text in chain(project["dependencies"], *extras, groups["tests"], groups["lint"], groups["types"]):
        found = Requirement(text)
        if found.marker is None or found.marker.evaluate(place):
            yield found


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_what_is_locked_is_what_is_wanted(lock: Path) -> None:
    """Nothing but pins and hashes is in the file, no address and no path; `nox -s lock` follows every change of a pin."""
    text = lock.read_text("utf-8")
    assert re.fullmatch(f"# Written by: nox -s lock\n({PINNED})+", text)
    versions = {canonicalize_name(name): version for name, version in re.findall(PINNED, text)}
    asked = {canonicalize_name(one.name): one.specifier for one in wanted(lock)}
    assert asked.keys() <= versions.keys()
    assert {name for name, specifier in asked.items() if versions[name] not in specifier} == set()


@pytest.mark.processes
def test_pip_refuses_a_file_that_was_exchanged(tmp_path: Path) -> None:
    """With the options that CI gives it, and a lock as ours are: another content under the same name is not installed."""
    assert "--require-hashes" in (ROOT / "noxfile.py").read_text("utf-8")
    assert "--require-hashes" in (ROOT / ".ci" / "run").read_text("utf-8")
    wheel, site = tmp_path / "small-1.0-py3-none-any.whl", tmp_path / "site"
    for exchanged in (False, True):
        with zipfile.ZipFile(wheel, "w") as packed:
            packed.writestr("small.py", "exchanged = True" if exchanged else "")
            packed.writestr("small-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: small\nVersion: 1.0\n")
            packed.writestr("small-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            packed.writestr("small-1.0.dist-info/RECORD", "")
        if not exchanged:
            digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
            (tmp_path / "lock.txt").write_text(f"small==1.0 \\\n    --hash=sha256:{digest}\n", "utf-8")
        where = ["--no-index", "--find-links", str(tmp_path), "--target", str(site)]
        typed = [*PIP, *where, "--no-deps", "--only-binary=:all:", "--require-hashes", "-r", str(tmp_path / "lock.txt")]
        done = subprocess.run(typed, capture_output=True, text=True, check=False, timeout=120)
        assert (done.returncode != 0) == exchanged, done.stderr
        assert (site / "small.py").is_file() != exchanged
        shutil.rmtree(site, ignore_errors=True)
    assert "DO NOT MATCH THE HASHES" in done.stderr
