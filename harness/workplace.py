"""Where backends can run: which interpreter serves which backend, which CPU is free, who is still alive."""

import json
import os
import queue
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from harness import catalog, environment, launch
from harness.errors import HarnessError

TIMEOUT_S = 900.0  # of one request: the slowest is a compilation
LOOK_S = 0.5  # how long the CPUs are watched before one is chosen: 50 ticks of what the system counts in
PROBE = """
import importlib.metadata as m, importlib.util as u, json, platform, sys
names = sys.argv[1:]
missing = [n for n in ("numpy", "einops", names[0]) if u.find_spec(n) is None]
versions = {n: d.version for n in names[1:] for d in [*m.distributions(name=n)][:1]}
print(json.dumps([platform.python_version(), versions, missing]))
"""


@dataclass(frozen=True)
class Installed:
    """What an interpreter says of one backend, without importing its framework."""

    interpreter: str
    python: str
    versions: Mapping[str, str]
    missing: Sequence[str]

    def advice(self, name: str) -> str:
        """One sentence on how to get what is missing."""
        lent = f" in the environment of {self.interpreter} (what lies in your home does not count)"
        here = "" if self.interpreter == sys.executable else lent
        are = "are" if len(self.missing) > 1 else "is"
        remedy = catalog.install(catalog.code(name), self.interpreter)
        return f"{name}: {', '.join(self.missing)} {are} not installed{here}: {remedy}."


def probe(name: str, interpreter: str) -> Installed:
    """Ask an interpreter for a backend's packages, in an environment as clean as its workers' will be.

    Not in Concord's own folder, where it would look first: an installed Concord lies beside the packages of its own environment.
    """
    door = catalog.backend(name)
    command, env = [interpreter, "-c", PROBE, door.IMPORT, *door.DISTRIBUTIONS], environment.inherited(interpreter)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=os.path.sep, env=env)
        return Installed(interpreter, *json.loads(done.stdout))
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        fact = f"--python {name}={interpreter} is not a Python that answers ({error})"
        raise HarnessError(f"{fact}: name another.") from None


@dataclass
class Workplace:
    """The interpreters in use, the scratch folder, and the CPUs that are handed out one to a worker."""

    scratch: Path
    interpreters: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    seed: int = 0

    def __post_init__(self) -> None:
        """All available CPUs are free; workers run a copy of the source, which nobody edits while they do."""
        self.code = self.scratch / "code"
        unwanted = shutil.ignore_patterns("__pycache__", "samples")
        try:
            for package in ("harness", "backends", "suites"):
                shutil.copytree(catalog.ROOT / package, self.code / package, ignore=unwanted)
        except shutil.Error as error:  # of every file; the first tells
            fact = f"cannot copy Concord to {self.code} ({error.args[0][0][2].partition(': ')[0]})"
            raise HarnessError(f"{fact}: free space, or set TMPDIR to another folder.") from None
        self.cpus = environment.available_cpus()
        self.free: queue.SimpleQueue[int] = queue.SimpleQueue()
        for cpu in self.cpus:
            self.free.put(cpu)

    def worker(self, backend: str, cpus: list[int], label: str, *, cache: str = "") -> launch.Worker:
        """A new worker on these CPUs, in the scratch folder ``label``; those of one ``cache`` share what they compile."""
        return launch.Worker(
            backend,
            scratch=self.scratch / label,
            cache=self.scratch / "cache" / cache if cache else None,
            cpus=cpus,
            interpreter=self.interpreters.get(backend, sys.executable),
            device="cpu" if catalog.backend(backend).REFERENCE else self.device,  # the reference runs nowhere else
            seed=self.seed,
            timeout_s=TIMEOUT_S,
            root=self.code,
        )

    @contextmanager
    def pool(self) -> Iterator[ThreadPoolExecutor]:
        """Threads to wait for workers in, one a CPU. If anything breaks, Ctrl-C included, none waits any longer."""
        with ThreadPoolExecutor(len(self.cpus)) as executor:
            try:
                yield executor
            except BaseException:
                launch.stop_all()
                executor.shutdown(cancel_futures=True)
                raise

    def quietest(self, count: int, *, turn: int) -> list[int]:
        """The CPUs that others use least, by tenths, now that no worker runs; of equal ones another at every ``turn``."""
        busy, first = psutil.cpu_percent(interval=LOOK_S, percpu=True), turn % len(self.cpus)
        inturn = self.cpus[first:] + self.cpus[:first]
        if max(inturn) >= len(busy):  # some are off line: the system's rows are not its numbers
            return inturn[:count]
        return sorted(inturn, key=lambda cpu: round(busy[cpu] / 10))[:count]

    @contextmanager
    def cpu(self) -> Iterator[int]:
        """A CPU of one's own; waits until one is free."""
        cpu = self.free.get()
        try:
            yield cpu
        finally:
            self.free.put(cpu)
