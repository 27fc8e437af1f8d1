"""What CI installs: every package in one version, each file known by its hash, as pyproject.toml wants them."""

import re
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from harness import catalog

LOCKS = sorted(Path(__file__).parent.glob("locked-*.txt"))
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
