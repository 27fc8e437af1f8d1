"""The figures behind "How far to trust it": `python tests/trust.py NAME [COUNT]`, or all of them by `nox -s trust` (hours).

equals    A/A under load: `selfcheck` COUNT times while another process burns one CPU on and off; how often an equal won
power     a delay of 10 % planted in one process, COUNT times on the quiet machine: how often quick's five generations find it
small     one of 5 %: how often rigorous' ten generations find it
coverage  the intervals' coverage, by simulation on the noise of a recorded run (newest in results/)
repeat    two runs of quick: how many verdicts contradict each other
cost      quick, smoke and --help: how long; and the harness's own share of the CPU time
"""

import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from itertools import combinations, cycle
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from harness import catalog, records, stats
from harness.catalog import ROOT

CONCORD = [sys.executable, "-m", "harness"]
BURN = """
import itertools, time
for busy in itertools.cycle((True, False)):
    end = time.time() + 3
    while time.time() < end:
        busy or time.sleep(3)
"""
SIMULATED = 2000
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


def selfchecks(count: int, *options: str, loaded: bool = False) -> list[tuple[int, str]]:
    """Exit code and sentence of that many selfchecks, each with another seed, of one backend after another.

    Of those that came to a finding alone: one that never ran has called no equal faster either.
    """
    backends, ended, codes = cycle(catalog.frameworks()), list[tuple[int, str]](), Counter[int]()
    with tempfile.TemporaryDirectory() as folder, neighbour() if loaded else nullcontext():
        for number in range(count):
            which = ("--backend", next(backends), "--seed", str(number), "--out", f"{folder}/{number}")
            code, told, _ = run("selfcheck", *options, *which)
            codes[code] += 1
            ended += [(code, sentence[0]) for sentence in [FINDING.search(told)] if sentence]
    if not ended:
        raise RuntimeError(f"none of {count} selfchecks came to a finding; exit codes and how often: {dict(codes)}")
    return ended


def equals(count: int = 40) -> str:
    """False winners among equals on a loaded machine."""
    told = [sentence for _, sentence in selfchecks(count, loaded=True)]
    wrong, refused = (sum(word in sentence for sentence in told) for word in ("FALSE WINNER", "contended"))
    counted = f"{len(told)} selfchecks ({count} begun) beside a neighbour"
    return f"a false winner in {wrong} of {counted}; {refused} refused a ranking as contended"


def power(count: int = 40) -> str:
    """Planted delays found on a quiet machine."""
    return found("10 %", count)


def small(count: int = 40) -> str:
    """Smaller ones, by a longer suite."""
    return found("5 %", count, "rigorous", "--slowdown", "0.05")


def found(planted: str, count: int, *options: str) -> str:
    """How many of some selfchecks found their delay."""
    codes = [code for code, _ in selfchecks(count, *options)]
    counted = f"{len(codes)} selfchecks ({count} begun)"
    return f"a planted {planted} found in {codes.count(0)} of {counted}; {codes.count(1)} false winners"


def coverage() -> str:
    """How often the interval holds the truth, when the noise of real pairs is drawn again: alone, and one of three.

    A generation is drawn whole: its offset and its rounds belong together. It is drawn from those of all pairs, each pair's about
    its mean and in units of its spread: the five of one are too few to stand for all that might have come.
    """
    folder = max((ROOT / "results").glob("*/run.json"), key=lambda path: path.stat().st_mtime).parent
    noise = [logs for contest in stats.contests(records.read(folder)) for logs in noises(contest)]
    rng, told = np.random.default_rng(0), []
    for pairs in (1, 3):
        held = np.mean([holds(noise, rng, pairs) for _ in range(SIMULATED)])
        told.append(f"nominal {1 - stats.ALPHA / pairs:.1%}: {held:.1%} of {SIMULATED} intervals")
    return f"{'; '.join(told)} hold the truth, on the noise of {len(noise)} generations of pairs of {folder.name}"


def holds(noise: list[np.ndarray], rng: np.random.Generator, pairs: int) -> bool:
    """Whether the interval of one drawn run holds 1, of which all is noise."""
    drawn = [noise[i] for i in rng.integers(len(noise), size=stats.GENERATIONS)]
    times = {(g, r): float(np.exp(log)) for g, logs in enumerate(drawn) for r, log in enumerate(logs)}
    ratio = stats.paired(dict.fromkeys(times, 1.0), times, pairs=pairs)
    return bool(ratio and ratio.low is not None and ratio.high is not None and ratio.low <= 1 <= ratio.high)


def noises(contest: stats.Contest) -> Iterator[np.ndarray]:
    """The log-ratios of each generation of each proven pair, about the pair's mean, in units of its spread over generations."""
    for a, b in combinations(contest.proven, 2):
        owner, logs = stats.paired_logs(*(stats.samples(contest.blocks[cell]) for cell in (a, b)))
        medians = [*stats.medians(owner, logs).values()]
        for generation in np.unique(owner):
            yield (logs[owner == generation] - np.mean(medians)) / np.std(medians, ddof=1) / 100  # small, as logs of times are


def repeat() -> str:
    """Two runs of quick, pair by pair: faster in one and slower in the other is a contradiction, so is a tie beside either."""
    told: list[dict[tuple[Any, ...], str]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(2):
            run("run", "quick", "--out", f"{folder}/{number}")
            found = stats.contests(records.read(Path(folder, str(number))))
            told.append({(c.phase, a, b): verdict for c in found if not c.refusal for (a, b), verdict in c.verdicts.items()})
    both = [{told[0][key], told[1][key]} for key in told[0].keys() & told[1].keys()]
    against = sum(len(pair - {"undecided"}) > 1 for pair in both)
    return f"{against // 2} of {len(both) // 2} verdicts of two runs of quick contradict each other"


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
    for name in sys.argv[1:2] or known:
        print(f"{name}: {known[name](*map(int, sys.argv[2:]))}", flush=True)  # noqa: T201 - its purpose
