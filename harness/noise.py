"""What else happened on the machine while a sample was taken, and which rounds that spoils.

``read`` runs in the worker around every sample; what a system does not count is left out, never 0. ``contended`` judges
afterwards, against each cell's own baseline: an idle JAX worker alone changes context a thousand times in a thousand steps.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from harness import environment, nvml
from harness.records import Cell, Trial

with suppress(ImportError):  # not on Windows
    import resource

TIMED = ("train", "predict", "latency", "epoch")
EXTERNAL = 0.15  # CPUs that others may use for every two of the machine, see ``allowed``
STOLEN, PRESSURE = 0.01, 0.10  # shares of the time; pressure at least, above the cell's own median
STARVED, WAITED = 0.8, 0.95  # cpu/wall, times the median: alone a sign, and under pressure, see ``_samples``
SWITCHED, SLOWED = 5.0, 1.10  # involuntary switches a step, canary: times the median
SEVERE = 10 * 1.4826  # median absolute deviations of an entry's samples, as in hyperfine
MARKED = 3.5 * 1.4826  # median absolute deviations of a canary, of a cell's pressure: nearer to the median it is as always
TICK_S = 0.01  # what Linux counts CPU time in (USER_HZ)
PRESSED, THROTTLED = Path("/proc/pressure/cpu"), Path("/sys/fs/cgroup/cpu.stat")
SWITCHES = 330  # a second; fewer are never a sign
SHARES = ("external_cpus", "cpus", "steal", "pressure")  # of the wall time, or the same all the time
RAPL = Path("/sys/class/powercap")  # where Linux shows the energy meters of Intel and AMD processors


class Group(NamedTuple):
    """A round of one contest: a sample of every backend."""

    task: str
    batch: int
    threads: int
    phase: str
    generation: int
    round: int


def read() -> dict[str, float]:
    """Counters of the machine and of this process, as far as the system has them: seconds, switches, page faults."""
    found: dict[str, float] = {}
    if "resource" in globals():
        used = resource.getrusage(resource.RUSAGE_SELF)
        found |= {"switches": used.ru_nivcsw, "page_faults": used.ru_minflt}
    stat = Path("/proc/stat")
    if stat.is_file():
        rows = [line.split() for line in stat.read_text("ascii").splitlines() if line.startswith("cpu")]
        ticks = {name: list(map(int, counts[:8])) for name, *counts in rows}
        # in the order of proc(5): user nice system idle iowait irq softirq steal
        found["cpus"] = len(ticks) - 1
        found["busy_s"] = (sum(ticks["cpu"]) - sum(ticks["cpu"][3:5])) * TICK_S
        own = (f"cpu{number}" for number in environment.available_cpus())
        found["steal_s"] = sum(ticks[name][7] for name in own if name in ticks) * TICK_S
    for name, path, key in (("pressure_s", PRESSED, "total="), ("throttled_s", THROTTLED, "throttled_usec ")):
        with suppress(OSError):  # it is not there; or, where the system was booted without PSI, it is and does not answer
            if key in (text := path.read_text("ascii")):
                found[name] = int(text.split(key)[1].split()[0]) / 1e6
    return found | energy()


def energy() -> dict[str, float]:
    """The meter of each processor package of this machine, and of the GPU in use, in joules, where it may be read."""
    found: dict[str, float] = {}
    for zone in sorted(RAPL.glob("intel-rapl:*")):
        with suppress(OSError, ValueError):  # since 2020 most systems show it to root alone
            if (zone / "name").read_text("ascii").startswith("package-"):  # others are parts of one, or, as psys, hold them all
                found[f"{zone.name}_j"] = int((zone / "energy_uj").read_text("ascii")) / 1e6
    joules = nvml.energy_j()
    return found if joules is None else found | {"gpu_j": joules}


def between(before: Mapping[str, float], after: Mapping[str, float], *, wall_s: float, cpu_s: float) -> dict[str, float]:
    """What a sample of ``wall_s`` seconds met: CPUs that others used, shares of time stolen from its own and waited, switches."""
    passed = {name: after[name] - before[name] for name in before.keys() & after.keys()}
    found = {"wall_s": wall_s}
    if "busy_s" in passed:
        found |= {"external_cpus": max(0.0, passed["busy_s"] - cpu_s) / wall_s, "cpus": after["cpus"]}
        found["steal"] = passed["steal_s"] / wall_s
    if "pressure_s" in passed:
        found["pressure"] = passed["pressure_s"] / wall_s
    meters = [used for name, used in passed.items() if name.endswith("_j")]
    if meters and min(meters) >= 0:  # or one started again at 0, as they do after minutes or hours
        found["energy_j"] = sum(meters)
    return found | {name: passed[name] for name in ("switches", "page_faults", "throttled_s") if name in passed}


def allowed(cpus: float) -> float:
    """How many CPUs others may use of a machine's before they count: those they share caches and clock with are few of many.

    Who takes the worker's own CPU is found by other signs, whatever the machine's size.
    """
    return EXTERNAL * max(1.0, cpus / 2)


def together(*blocks: Mapping[str, float]) -> dict[str, float]:
    """What the blocks met of which one sample is made, as if they were one: counts added, shares by their wall time.

    Not the larger share: in a call of a millisecond one tick of our own looks like ten CPUs of others.
    """
    wall_s = sum(met["wall_s"] for met in blocks)
    found = {name: sum(met[name] for met in blocks) for name in blocks[0] if all(name in met for met in blocks)}
    shares = {name: sum(met[name] * met["wall_s"] for met in blocks) / wall_s for name in SHARES if name in found}
    return found | shares


def contended(trials: Iterable[Trial]) -> dict[tuple[Group, int], list[str]]:
    """The reasons why a round was disturbed, by round and attempt; the members of a round share them, so pairs stay pairs."""
    cells: dict[tuple[Cell | None, str], list[Trial]] = defaultdict(list)  # the canary is one, whatever it sang for
    for trial in trials:
        if trial.status == "ok" and (trial.phase in TIMED or trial.phase == "control"):
            cells[trial.cell, trial.phase + trial.of].append(trial)
        elif trial.status == "ok" and all(0 < song < np.inf for song in _songs(trial)):
            cells[None, trial.phase].append(trial)
    found: dict[tuple[Group, int], set[str]] = defaultdict(set)
    rounds: dict[tuple[Group, int], list[Trial]] = defaultdict(list)
    for (cell, _), own in cells.items():
        for trial, reasons in zip(own, (_samples if cell else _canaries)(own), strict=True):
            found[group(trial), trial.attempt] |= reasons
            if cell:
                rounds[group(trial), trial.attempt].append(trial)
    for place, members in rounds.items():
        found[place] |= _taken(members)
    return {key: sorted(reasons) for key, reasons in found.items() if reasons}


def group(trial: Trial) -> Group:
    """The round a sample or its canary belongs to."""
    cell = trial.cell
    return Group(cell.task, cell.batch, cell.threads, trial.of or trial.phase, trial.generation, trial.round)


def _samples(trials: list[Trial]) -> list[set[str]]:
    """What each sample of a cell and phase met that it does not usually meet.

    The kernel counts as pressure also what a process's own threads wait for each other on its one CPU: of 97 samples of
    30 ms under much more than usual 89, 80 of them JAX's, had all of their CPU and took by the median 1.01 times their usual
    time. So others are to blame only where the process got less than usual.
    """
    pressure, switches = (np.array([t.noise.get(name, np.nan) for t in trials]) for name in ("pressure", "switches"))
    busy = np.array([max(sum(t.times_ns), 1) for t in trials]) / 1e9
    wall = np.array(list(map(_wall_s, trials)))
    used = np.array([t.cpu_ns or np.nan for t in trials]) / 1e9 / busy / [t.cell.threads for t in trials]
    a_step = switches / [max(t.steps * len(t.times_ns), 1) for t in trials]
    pressed = pressure > _usual(pressure) + max(PRESSURE, MARKED * _usual(abs(pressure - _usual(pressure))))
    marks = {
        "tasks waited for a CPU": pressed & (used < WAITED * _usual(used)),
        "the process was throttled": np.array([t.noise.get("throttled_s", 0.0) > 0 for t in trials]),
        "the process did not get its CPU": used < STARVED * _usual(used),
        "the process was pushed off its CPU": (a_step > SWITCHED * _usual(a_step)) & (switches > SWITCHES * wall),
    }
    return [{reason for reason, where in marks.items() if where[i]} | _taken([trials[i]]) for i in range(len(trials))]


def _taken(trials: list[Trial]) -> set[str]:
    """What others took of the machine during a sample, or all samples of a round: longer, so that less of it shows.

    CPU time is counted in ticks: two of each sample, of stolen time one, may be nobody's; of several they seldom fall alike.
    """
    found = set()
    for name, most, ticks, reason in (
        ("external_cpus", allowed(trials[0].noise.get("cpus", 2)), 2, "others used the CPUs"),
        ("steal", STOLEN, 1, "time was stolen"),
    ):
        met = [(_wall_s(t), t.noise[name]) for t in trials if name in t.noise]
        taken_s = sum(wall_s * share for wall_s, share in met)
        if taken_s > most * sum(wall_s for wall_s, _ in met) + ticks * TICK_S * len(met) ** 0.5:
            found.add(reason)
    return found


def _wall_s(trial: Trial) -> float:
    """How long a sample lasted: of single calls not all are kept."""
    return trial.noise.get("wall_s") or max(sum(trial.times_ns), 1) / 1e9


def _songs(trial: Trial) -> tuple[float, float]:
    """Seconds of a canary's product and copy; 0 where a record has none."""
    return trial.values.get("product_s", 0.0), trial.values.get("copy_s", 0.0)


def _canaries(trials: list[Trial]) -> list[set[str]]:
    """Which canaries took more than 1.1 times their median, and are outliers of this run, in the product or in the copy."""
    logs = np.log([_songs(t) for t in trials])  # (songs, 2)
    off = logs - np.median(logs, axis=0)
    slow = (off > np.maximum(np.log(SLOWED), MARKED * np.median(abs(off), axis=0))).any(axis=1)
    return [{"the canary was slow"} if bad else set() for bad in slow]


def _usual(values: np.ndarray) -> float:
    """The median of what was counted; NaN, which nothing exceeds, where nothing was."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else np.nan
