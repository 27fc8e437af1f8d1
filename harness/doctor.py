"""Is this machine fit to measure? What can be read of it, a probe of its noise, and what a first run on a GPU must check."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import psutil

from harness import catalog, environment, noise, stats
from harness.workplace import Workplace

SONGS = 30  # of the canary in each of five generations, every other one for A and for B: about five seconds
VISIBLE = 0.1  # a difference that this machine should show: what `concord selfcheck` plants
GPU_CHECKS = (
    "concord verify --device gpu proves every mode there: TF32 off, float64 on the device",
    "facts of every cell in fairness.csv say gpu, not cpu",
    "a block of 10 steps takes about 10 times as long as one step: otherwise a sync does not wait",
    "no other process uses the GPU while a suite runs (nvidia-smi)",
    "two runs of `concord selfcheck` find no false winner",
)
State = Literal["good", "warning", "not known"]


class Finding(NamedTuple):
    """One thing that was looked at: how it is, and what that means."""

    what: str
    state: State
    says: str


def examine(place: Workplace) -> Iterator[Finding]:
    """Everything that can be said before a run."""
    cpus = environment.available_cpus()
    pinned = hasattr(os, "sched_setaffinity")
    says = f"{len(cpus)} available; " + ("workers are pinned" if pinned else "workers cannot be pinned on this system")
    yield Finding("CPUs", "good" if pinned else "warning", says)
    yield load(len(cpus))
    yield setting("governor", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", good="performance")
    yield setting("turbo", "/sys/devices/system/cpu/intel_pstate/no_turbo", good="1")
    yield setting("CPU quota", "/sys/fs/cgroup/cpu.max", good="max")
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    plugged = battery is None or battery.power_plugged
    yield Finding("power", "good" if plugged else "warning", "no battery or plugged in" if plugged else "on battery: slower")
    counted = ", ".join(sorted(noise.read())) or "nothing"
    yield Finding("noise counters", "good" if "busy_s" in noise.read() else "not known", f"this system counts: {counted}")
    yield probe(place)


def load(cpus: int) -> Finding:
    """What else runs now."""
    busy = psutil.cpu_percent(interval=1.0) / 100 * cpus
    return Finding("load", "good" if busy < noise.EXTERNAL else "warning", f"{busy:.2f} CPUs are busy with something else")


def setting(what: str, path: str, *, good: str) -> Finding:
    """A setting of the kernel, if it shows it, by its first word."""
    file = Path(path)
    if not file.is_file():
        return Finding(what, "not known", f"this system does not show it ({path})")
    value = file.read_text("ascii").split()[0]
    return Finding(what, "good" if value == good else "warning", value if value == good else f"{value}; steadier: {good}")


def probe(place: Workplace) -> Finding:
    """A fixed product and copy in a worker like those of a run, against itself: how small a difference would show."""
    sides: tuple[dict[stats.Key, float], ...] = ({}, {})
    with place.worker(catalog.reference(), place.cpus[:1], "doctor") as worker:
        for generation in range(stats.GENERATIONS):
            for song in range(SONGS):
                values = worker.ask({"op": "canary"})[0]["values"]
                sides[song % 2][generation, song // 2] = values["product_s"] + values["copy_s"]
    ratio = stats.paired(*sides)
    seen = ratio.detectable if ratio else None
    if seen is None:
        return Finding("noise", "not known", "the probe gave no interval")
    says = f"a fixed product and copy, timed against itself, would show differences of {seen:.1%} and more"
    return Finding("noise", "good" if seen < VISIBLE else "warning", says)
