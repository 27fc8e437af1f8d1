"""Could `quick` run here, and is this machine fit to measure? What is not good comes with what to do about it."""

import math
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import psutil

from harness import catalog, data, environment, noise, stats, workplace
from harness.alone import scratch_folder
from harness.errors import HarnessError
from harness.launch import WorkerError
from harness.workplace import Workplace

SUITE = "quick"
# Bytes that it took on the whole data and two CPUs: of memory at once, of temporary files, and five generations of records.
MEMORY, SCRATCH, RESULTS = 3.0e9, 2.5e8, 3.1e7
EVERY = "any"  # device of a worker: none is hidden from it, and none is asked for
SONGS = 30  # of the canary in each of five generations, every other one for A and for B: about five seconds
VISIBLE = 0.1  # a difference that this machine should show: what `concord selfcheck` plants
GPU_CHECKS = (
    "concord verify --device gpu --modes all proves every mode there: TF32 off, float64 on the device",
    "facts of every cell in fairness.csv say gpu, not cpu",
    "a block of 10 steps takes about 10 times as long as one step: otherwise a sync does not wait",
    "no other process uses the GPU while a suite runs (nvidia-smi)",
    "two runs of `concord selfcheck --device gpu` find no false winner",
)
State = Literal["good", "warning", "bad", "not known"]  # bad: SUITE could not run


class Finding(NamedTuple):
    """One thing that was looked at: how it is, and in a sentence what that means and, unless it is good, what to do."""

    what: str
    state: State
    says: str


def examine(pythons: Mapping[str, str], data_dir: Path | None, results: Path) -> Iterator[Finding]:
    """Everything that can be said before a run into a folder of ``results``; ``pythons`` by backend, with labels or without."""
    yield from machine()
    yield room("results", results, RESULTS, "name another folder with --out")
    yield from datasets(data_dir)
    elsewhere = "set TMPDIR to another folder"
    try:
        with scratch_folder() as scratch:
            yield room("temporary files", scratch.parent, SCRATCH, elsewhere)
            yield from backends(Workplace(scratch, pythons, EVERY))
    except OSError as error:
        yield Finding("temporary files", "bad", f"they cannot be written ({error.strerror or error}): free space, or {elsewhere}")


def machine() -> Iterator[Finding]:
    """What disturbs a measurement, as far as the system shows it."""
    cpus = environment.available_cpus()
    pinned, counters, memory = hasattr(os, "sched_setaffinity"), noise.read(), psutil.virtual_memory()
    how = f"{len(cpus)} available; workers {'are' if pinned else 'cannot be'} pinned on this system"
    yield judged("CPUs", pinned, how, "expect wider intervals, or use Linux")
    busy = sum(psutil.cpu_percent(1.0, percpu=True)) / 100  # of the whole machine, whatever part of it is ours
    says = f"{busy:.2f} CPUs are busy with something else"
    yield judged("load", busy < noise.allowed(psutil.cpu_count() or 1), says, "end it, or wait until it ends")
    governor, turbo = environment.GOVERNOR, "/sys/devices/system/cpu/intel_pstate/no_turbo"
    yield setting("governor", str(governor), good="performance", do="sudo cpupower frequency-set --governor performance")
    yield setting("turbo", turbo, good="1", do=f"echo 1 | sudo tee {turbo}")
    yield setting("CPU quota", "/sys/fs/cgroup/cpu.max", good="max", do="give the container whole CPUs (--cpuset-cpus) instead")
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    plugged = battery is None or battery.power_plugged is not False  # or nobody knows
    yield judged("power", plugged, "no battery or plugged in" if plugged else "on battery", "plug it in")
    says, unseen = ", ".join(sorted(counters)) or "nothing", "what others use is not seen, so let nothing else run"
    yield judged("noise counters", "busy_s" in counters, f"this system counts {says}", unseen, otherwise="not known")
    says = f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB available"
    yield judged("memory", memory.available >= MEMORY, says, f"{SUITE} took {MEMORY / 1e9:.1f} GB at once, close what uses it")


def judged(what: str, good: bool, says: str, do: str, *, otherwise: State = "warning") -> Finding:
    """A finding which, unless it is good, ends with what to do."""
    return Finding(what, "good", says) if good else Finding(what, otherwise, f"{says}: {do}")


def setting(what: str, path: str, *, good: str, do: str) -> Finding:
    """A setting of the kernel, if it shows it, by its first word."""
    try:
        value = Path(path).read_text("ascii").split()[0]
    except (OSError, ValueError, IndexError):  # there is none, or its driver does not answer
        return Finding(what, "not known", f"this system does not show it ({path}): nothing can be done from here")
    return judged(what, value == good, value if value == good else f"{value}; steadier is {good}", do)


def room(what: str, folder: Path, needed: float, instead: str) -> Finding:
    """Whether a folder, which need not exist yet, can be written and has ``needed`` bytes."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            free = psutil.disk_usage(str(there)).free
    except OSError as error:
        return Finding(what, "bad", f"{there} cannot be written ({error.strerror}): allow it, or {instead}")
    says = f"{free / 1e9:.1f} GB free in {there}, {SUITE} needs {needed / 1e9:.2f} GB"
    return judged(what, free >= needed, says, f"free space, or {instead}", otherwise="bad")


def datasets(data_dir: Path | None) -> Iterator[Finding]:
    """Which edition of each data set is used, read and checked."""
    try:
        found = data.locate_all(data_dir, unread=False)
    except HarnessError as error:
        yield Finding("data", "bad", str(error))
        return
    needed = {catalog.task(job.task).data.name for job in catalog.suite(SUITE).jobs}
    for name, (label, folder) in found.items():
        lacking: State = "bad" if name in needed else "warning"
        yield Finding(f"data {name}", "good" if folder else lacking, f"{label} in {folder}" if folder else label)


def backends(place: Workplace) -> Iterator[Finding]:
    """What every interpreter has and its worker sees; the noise of a worker like those of a run."""
    found = {name: backend(name, place) for name in catalog.labelled(catalog.backends(), place.interpreters)}
    yield from found.values()
    usable = [name for name, finding in found.items() if finding.state == "good"]
    if not {*usable} - {catalog.reference()}:
        yield Finding("frameworks", "bad", f"none can run: {catalog.install('all')}, or name interpreters with --python")
    if catalog.reference() in usable:
        try:
            yield probe(place)
        except WorkerError as error:
            yield Finding("noise", "warning", f"it could not be measured ({error.reason}): let nothing else run, and look again")


def backend(name: str, place: Workplace) -> Finding:
    """A backend's interpreter and versions, and the threads and GPUs of a worker of it on one CPU."""
    what, door = f"backend {name}", catalog.backend(name)
    lacking: State = "bad" if door.REFERENCE or name != catalog.code(name) else "warning"  # others are skipped
    try:
        found = workplace.probe(name, place.interpreters.get(name, sys.executable))
    except HarnessError as error:
        return Finding(what, "bad", str(error))
    if found.missing:
        return Finding(what, lacking, found.advice(name))
    has = f"{', '.join(map(' '.join, found.versions.items()))} on Python {found.python} ({found.interpreter})"
    try:
        with place.worker(name, place.cpus[:1], f"doctor-{name}") as worker:
            facts, threads = worker.facts["describe"], psutil.Process(worker.process.pid).num_threads()
    except WorkerError as error:
        return Finding(what, lacking, f"{has} does not start ({error.reason}): install it anew")
    pool = f"{facts['threads']} in its pool, " if "threads" in facts else ""
    return Finding(what, "good", f"{has}; threads on one CPU: {pool}{threads} in all; GPUs: {', '.join(facts['gpus']) or 'none'}")


def probe(place: Workplace) -> Finding:
    """A fixed product and copy in a worker like those of a run, against itself: how small a difference would show."""
    sides: tuple[dict[stats.Key, float], ...] = ({}, {})
    with place.worker(catalog.reference(), place.cpus[:1], "doctor") as worker:
        for generation in range(stats.GENERATIONS):
            for song in range(SONGS):
                values = worker.ask({"op": "canary"})[0]["values"]
                sides[song % 2][generation, song // 2] = values["product_s"] + values["copy_s"]
    ratio = stats.paired(*sides)
    seen = (ratio and ratio.detectable()) or math.inf
    says = f"a fixed product and copy, timed against itself in one process, would show differences of {seen:.1%} and more"
    return judged("noise", seen < VISIBLE, says, "let nothing else run")
