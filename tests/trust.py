"""The figures behind "How far to trust it": `python tests/trust.py NAME [COUNT [BACKEND...]]`, or all by `nox -s trust` (hours).

equals    A/A under load: `selfcheck` COUNT times while another process burns one CPU on and off; how often an equal won
power     a delay of 10 % planted in one process, COUNT times on the quiet machine: how often quick's five generations find it
small     one of 5 %: how often rigorous finds it, by ten generations or as many more as make it narrow in 15 minutes
coverage  the intervals' coverage, by simulation on the noise of a recorded run (newest in results/) and of kept selfchecks
repeat    two runs of quick, or those in folders that are named: how many verdicts contradict each other
cost      quick, smoke and --help: how long; and the harness's own share of the CPU time

Selfchecks take the frameworks in turn, or the backends that are named. They are kept in results/trust and not run again, so that
hours of them can be had in several sittings: remove the folder to begin anew. What each of them said is written to
results/selfchecks.csv, which is kept with the source.
"""

import csv
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import chain, combinations, cycle
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from harness import catalog, ranking, records, stats
from harness.catalog import ROOT

CONCORD = [sys.executable, "-m", "harness"]
BURN = """
import itertools, os, time
parent = os.getppid()
for busy in itertools.cycle((True, False)):
    end = time.time() + 3
    while time.time() < end:
        busy or time.sleep(3)
    if os.getppid() != parent:  # killed, which ends no child
        break
"""
SIMULATED = 2000
TOO_SHORT = 124  # the exit code of a selfcheck that the time cut
KEPT = ROOT / "results" / "trust"
FINDING = re.compile(r"^One backend under \d+ names: [^(]+\([^;(]+; .*$", re.MULTILINE)  # with the ratio of a pair at least


@contextmanager
def neighbour() -> Iterator[None]:
    """A process that burns one CPU for three seconds and rests for three."""
    with subprocess.Popen([sys.executable, "-c", BURN]) as process:
        try:
            yield
        finally:
            process.kill()


def run(*arguments: str) -> tuple[int, str, float]:
    """A command of Concord: exit code, what it told, seconds."""
    start = time.perf_counter()
    done = subprocess.run([*CONCORD, *arguments], capture_output=True, text=True, cwd=ROOT, check=False)
    return done.returncode, done.stdout, time.perf_counter() - start


def selfchecks(name: str, count: int, backends: tuple[str, ...], *options: str, loaded: bool = False) -> list[tuple[int, str]]:
    """Exit code and sentence of that many selfchecks, each with another seed, of one backend after another.

    Of those that came to a finding alone: one that never ran has called no equal faster either.
    """
    ended, codes = list[tuple[int, str]](), Counter[int]()
    with neighbour() if loaded else nullcontext():
        for number, backend in zip(range(count), cycle(backends or catalog.frameworks()), strict=False):
            code, told = kept(KEPT / name / f"{number}-{backend}", *options, "--backend", backend, "--seed", str(number))
            codes[code] += 1
            ended += [(code, sentence[0]) for sentence in [FINDING.search(told)] if sentence]
    if not ended:
        raise RuntimeError(f"none of {count} selfchecks came to a finding; exit codes and how often: {dict(codes)}")
    return ended


def kept(folder: Path, *options: str) -> tuple[int, str]:
    """Exit code and stdout of a selfcheck: the one in the folder, or a new one, kept there if it came to a finding in time."""
    said = folder / "said.json"
    if not said.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        code, told, _ = run("selfcheck", *options, "--out", str(folder))
        if not FINDING.search(told) or code == TOO_SHORT:
            return code, told
        folder.mkdir(parents=True, exist_ok=True)
        said.write_text(json.dumps([code, told]), encoding="utf-8")
    code, told = json.loads(said.read_text("utf-8"))
    return code, told


def write_down() -> None:
    """A line for every selfcheck that is kept: the figure it is for, its seed, backend, day, exit code, and its finding."""
    rows = []
    for said in KEPT.glob("*/*/said.json"):
        code, told = json.loads(said.read_text("utf-8"))
        run_ = records.read(said.parent)
        which = (said.parent.parent.name, run_.at("seed"), *run_.part("plan", "chosen"), str(run_.at("created"))[:10])
        rows.append((*which, code, FINDING.findall(told)[0]))
    heads = ("figure", "seed", "backend", "day", "exit_code", "finding")
    with (KEPT.parent / "selfchecks.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([heads, *sorted(rows)])


def equals(count: int = 40, *backends: str) -> str:
    """False winners among equals on a loaded machine."""
    told = [sentence for _, sentence in selfchecks("equals", count, backends, loaded=True)]
    wrong, refused = (sum(word in sentence for sentence in told) for word in ("FALSE WINNER", "contended"))
    counted = f"{len(told)} selfchecks ({count} begun) beside a neighbour"
    return f"a false winner in {wrong} of {counted}; {refused} refused a ranking as contended"


def power(count: int = 40, *backends: str) -> str:
    """Planted delays found on a quiet machine."""
    return found("power", "10 %", count, backends)


def small(count: int = 40, *backends: str) -> str:
    """Smaller ones, by a longer suite."""
    return found("small", "5 %", count, backends, "rigorous", "--slowdown", "0.05", "--max-time", "15m")


def found(name: str, planted: str, count: int, backends: tuple[str, ...], *options: str) -> str:
    """How many of some selfchecks found their delay."""
    codes = [code for code, _ in selfchecks(name, count, backends, *options)]
    counted = f"{len(codes)} selfchecks ({count} begun)"
    return f"a planted {planted} found in {codes.count(0)} of {counted}; {codes.count(1)} false winners"


def coverage() -> str:
    """How often the interval holds the truth, when the noise of real pairs is drawn again: alone, and one of three.

    A generation is drawn whole: its offset and its rounds belong together. Of a run it is drawn from those of all pairs, each
    pair's about its mean and in units of its spread: the five of one are too few to stand for all that might have come. Of equals
    in selfchecks, where the truth is 1, as it is, however far off: so that rare large offsets count with all their weight.
    """
    folder = max((ROOT / "results").glob("*/run.json"), key=lambda path: path.stat().st_mtime).parent
    drawn = {f"pairs of {folder.name}": [logs for c in ranking.contests(records.read(folder)) for logs in noises(c)]}
    for name in sorted({path.parent.parent.name for path in KEPT.glob("*/*/said.json")}):
        drawn[f"equals in {name}"] = [*chain.from_iterable(map(twins, sorted(KEPT.glob(f"{name}/*/run.json"))))]
    rng, told = np.random.default_rng(0), []
    for whose, noise in drawn.items():
        held = {pairs: np.mean([holds(noise, rng, pairs) for _ in range(SIMULATED)]) for pairs in (1, 3)}
        shares = " and ".join(f"{share:.1%} of nominal {1 - stats.ALPHA / pairs:.1%}" for pairs, share in held.items())
        told.append(f"{shares}, on {len(noise)} generations of {whose}")
    return f"of {SIMULATED} intervals each hold the truth: {'; '.join(told)}"


def twins(manifest: Path) -> Iterator[np.ndarray]:
    """The log-ratios of each generation of the first two equals of a selfcheck."""
    (contest,) = ranking.contests(records.read(manifest.parent))
    a, b, _ = sorted((cell for cell in contest.blocks if "+" not in cell.mode), key=lambda cell: cell.mode)  # "eager +10%"
    owner, logs = stats.paired_logs(*(stats.samples(contest.blocks[cell]) for cell in (a, b)))
    yield from (logs[owner == generation] for generation in np.unique(owner))


def holds(noise: list[np.ndarray], rng: np.random.Generator, pairs: int) -> bool:
    """Whether the interval of one drawn run holds 1, of which all is noise."""
    drawn = [noise[i] for i in rng.integers(len(noise), size=stats.GENERATIONS)]
    times = {(g, r): float(np.exp(log)) for g, logs in enumerate(drawn) for r, log in enumerate(logs)}
    ratio = stats.paired(dict.fromkeys(times, 1.0), times, pairs=pairs)
    return bool(ratio and ratio.low is not None and ratio.high is not None and ratio.low <= 1 <= ratio.high)


def noises(contest: ranking.Contest) -> Iterator[np.ndarray]:
    """The log-ratios of each generation of each proven pair, about the pair's mean, in units of its spread over generations."""
    for a, b in combinations(contest.proven, 2):
        owner, logs = stats.paired_logs(*(stats.samples(contest.blocks[cell]) for cell in (a, b)))
        medians = [*stats.medians(owner, logs).values()]
        for generation in np.unique(owner):
            yield (logs[owner == generation] - np.mean(medians)) / np.std(medians, ddof=1) / 100  # small, as logs of times are


def repeat(*folders: str) -> str:
    """Runs of quick, two new ones or those in some folders: faster in one and slower in the other contradict each other.

    So do a tie and either. Verdicts are those of today's rules, whenever a run was made.
    """
    with tempfile.TemporaryDirectory() as scratch:
        if not folders:
            folders = (f"{scratch}/0", f"{scratch}/1")
            for folder in folders:
                run("run", "quick", "--out", folder)
        told = [verdicts(Path(folder)) for folder in folders]
    both = [{a[key], b[key]} for a, b in combinations(told, 2) for key in a.keys() & b.keys()]
    against = sum(len(pair - {"undecided"}) > 1 for pair in both)
    undecided = sum("undecided" in pair for pair in both)
    found = f"{against // 2} contradict each other, {undecided // 2} hold an undecided one"
    return f"of {len(both) // 2} pairs of verdicts of {len(told)} runs {found}"


def verdicts(folder: Path) -> dict[tuple[Any, ...], str]:
    """Every verdict of a run, either way round."""
    held = [contest for contest in ranking.contests(records.read(folder)) if not contest.refusal]
    return {(c.phase, a, b): verdict for c in held for (a, b), verdict in c.verdicts.items()}


def cost() -> str:
    """Seconds of the commands people wait for."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for suite in ("smoke", "quick"):
            seconds = run("run", suite, "--out", f"{folder}/{suite}")[2]
            own = records.read(Path(folder, suite)).manifest["harness_cpu_s"] / seconds
            lines.append(f"{suite} takes {seconds:.0f} s, {own:.1%} of it the harness's own CPU time")
    lines.append(f"concord --help takes {min(run('--help')[2] for _ in range(5)):.2f} s")
    return "; ".join(lines)


if __name__ == "__main__":
    known: dict[str, Callable[..., str]] = {
        "equals": equals,
        "power": power,
        "small": small,
        "coverage": coverage,
        "repeat": repeat,
        "cost": cost,
    }
    given = [int(each) if each.isdigit() else each for each in sys.argv[2:]]
    for name in sys.argv[1:2] or known:
        print(f"{name}: {known[name](*given)}", flush=True)  # noqa: T201 - its purpose
        write_down()
