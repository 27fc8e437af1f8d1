"""A system that has less than Linux runs as well, and its records say what it could not do or show.

No such system is at hand: here an interpreter forgets what macOS and Windows do not have. Theirs may differ in more than that.
"""

import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pandas as pd
import pytest

from harness import catalog, records

pytestmark = [pytest.mark.processes, pytest.mark.skipif(sys.platform != "linux", reason="such a system has them all anyway")]
FORGET = """
import os, pathlib

for name in ("sched_setaffinity", "sched_getaffinity", "killpg"):
    delattr(os, name)


def forgetful(method):
    def found(path, *args, **kwargs):
        if str(path).startswith(("/proc", "/sys")):
            raise FileNotFoundError(2, "no such file", str(path))
        return method(path, *args, **kwargs)

    return found


for name in ("stat", "open", "iterdir"):
    setattr(pathlib.Path, name, forgetful(getattr(pathlib.Path, name)))
"""


@pytest.fixture(scope="module")
def poor_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with this one's packages, without affinity, process groups, /proc and /sys."""
    home = tmp_path_factory.mktemp("poor")
    venv.create(home)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(home)}))
    (packages / "rich.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    (packages / "sitecustomize.py").write_text(FORGET, encoding="utf-8")
    return home / "bin" / "python"


def test_a_run_says_what_is_missing(poor_python, tmp_path):
    """Proven, timed, reported; nothing that was not measured is 0."""
    out = tmp_path / "out"
    command = [poor_python, "-m", "harness", "run", "smoke", "--backends", catalog.reference(), "--out", out]
    done = subprocess.run(command, cwd=catalog.ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    run = records.read(out)
    assert run.at("environment", "machine", "affinity") == "not available on this system"
    assert {trial.status for trial in run.trials} == {"ok"}
    assert not {"external_cpus", "steal", "pressure"} & {name for trial in run.trials for name in trial.noise}
    assert not {name for trial in run.trials for name in trial.values if "peak_bytes" in name}
    assert "not available on this system" in (out / "report.html").read_text(encoding="utf-8")
    assert "memory" not in set(pd.read_csv(out / "summary.csv").phase)


def test_the_doctor_says_so_too(poor_python):
    """In its own words, and without failing."""
    command = [poor_python, "-m", "harness", "doctor", "--json"]
    done = subprocess.run(command, cwd=catalog.ROOT, capture_output=True, text=True, timeout=600, check=False)
    found = {each["what"]: each for each in json.loads(done.stdout)["findings"]}
    assert found["CPUs"]["state"] == "warning"
    assert "Traceback" not in done.stderr
