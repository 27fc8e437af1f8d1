"""The figures of a run as data frames and lines: what the CSV files hold."""

import csv
import re
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, replace
from io import StringIO
from itertools import product
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from harness import ledger, noise, ranking, stats
from harness.errors import unknown
from harness.ranking import Contest
from harness.records import Cell, Run, Trial, having
from harness.report.findings import TERMS, Findings, unit_of
from harness.stats import Estimate

COLUMNS = tomllib.loads(Path(__file__).with_name("columns.toml").read_text("utf-8"))
MET = ("external_cpus", "steal", "pressure")  # of the noise of a sample, see harness/noise.py
NAMES = attrgetter("task", "backend", "mode", "device", "data")
KIND = attrgetter("device", "precision", "data")
TRIAL = ("phase", "of", "status", "seed", "generation", "round", "attempt", "position", "steps", "compilations", "at", "reason")
TRIALS = (*Cell.__dataclass_fields__, *TRIAL, "block", "metric", "unit", "value")
RANK = re.compile(r"\A(\d+)-(\d+)\Z")
FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # so begins what a spreadsheet runs
BLOCKS = 20  # of a trial: more are calls
QUANTILES = {"min": 0.0, "p10": 0.1, "p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


def inert(value: Any) -> Any:
    """A value of a CSV file as a spreadsheet leaves it: no formula (OWASP, CSV injection), and no rank "2-3", which is a date."""
    if not isinstance(value, str):
        return value
    return f"'{value}" if value.startswith(FORMULAS) else RANK.sub(r"\1 to \2", value)


def frame(file: str, rows: Sequence[Any]) -> pd.DataFrame:
    """The rows of a CSV file: tuples in the order of its columns, or mappings with them."""
    return pd.DataFrame(rows, columns=COLUMNS[file])


def _ends(figure: Estimate | None) -> tuple[float | None, float | None, float | None]:
    """A figure with its interval, if there is one."""
    return (figure.value, figure.low, figure.high) if figure else (None, None, None)


def summary(findings: Findings) -> pd.DataFrame:
    """summary.csv: one row a figure. Seconds, examples a second, bytes; intervals are 95 %."""
    first = findings.in_first_modes
    led = {(cell, row.phase, row.metric): row for cell, found in first.rows.items() for row in found if first is not findings}
    rows = [
        (*NAMES(cell), *row[:3], *astuple(row.figure), best, row.rank, findings.proofs[cell].state, *terms, *interval, *own)
        for cell, found in findings.rows.items()
        for row in found
        for best, *interval in [_ends(row.ratio)]
        for terms in [TERMS(replace(cell, batch=1) if row.phase == "latency" else cell)]  # its own, not its line's
        for lead in [led.get((cell, row.phase, row.metric), row._replace(ratio=None, rank=""))]
        for own in [(*_ends(lead.ratio), lead.rank)]
    ]
    return frame("summary", rows)


def only(findings: Findings, wanted: Mapping[str, str]) -> tuple[list[Cell], pd.DataFrame]:
    """The cells with these values of task, backend and mode, and their rows of the summary, of one phase if that is wanted.

    Raises HarnessError for a value that the run does not have, and where no cell has all of them.
    """
    frame, phase = summary(findings), wanted.get("phase")
    cells = having(findings.rows, {key: value for key, value in wanted.items() if key != "phase"})
    if phase and phase not in set(frame.phase):
        raise unknown("phase", phase, set(frame.phase))
    for key in wanted:
        frame = frame[frame[key].isin({phase} if key == "phase" else {getattr(cell, key) for cell in cells})]
    return cells, frame


def pairs(findings: Findings) -> pd.DataFrame:
    """pairs.csv: each pair of the proven once, ``backend`` slower or equal ``than_``; intervals simultaneous 95 %."""
    rows = []
    for contest in findings.contests:
        for (a, b), r in contest.ratios.items():
            proven = findings.proofs[a].state == findings.proofs[b].state == "proven"
            if proven and (r.value, b.backend, b.mode) > (1.0, a.backend, a.mode):
                names = (b.task, b.device, b.data, contest.phase, b.backend, b.mode, a.backend, a.mode)
                within = stats.within(*(stats.samples(contest.blocks[cell]) for cell in (a, b)), pairs=r.pairs)
                figures = (r.value, r.low, r.high, r.generations, r.n, r.detectable(contest.floor), *(within or (None, None)))
                verdict = contest.told(a, b)
                needed = r.needed(contest.floor) if verdict == "undecided" else None
                rows.append((*names, verdict, *figures, needed, *TERMS(b)))
    return frame("pairs", rows).astype({"generations_needed": "Int64"})


def spread(findings: Findings) -> pd.DataFrame:
    """spread.csv: a row an entry and phase: how the times of its rounds lie. To be read, never to rank by."""
    rows = []
    for contest in findings.contests:
        for cell, times in contest.blocks.items():
            figures = stats.samples(times)
            rows.append((*NAMES(cell), contest.phase, len(figures), "s", *stats.spread(figures).values(), *TERMS(cell)))
    return frame("spread", rows)


def overall(findings: Findings) -> pd.DataFrame:
    """overall.csv: a row an entry that all tasks have: the geometric mean over tasks of its time over the best's."""
    held: dict[tuple[str, str, str], dict[str, Contest]] = defaultdict(dict)
    for task, phase in product(findings.tasks, ("train", "epoch", "predict")):
        for contest in findings.contests_of(task, phase):
            cell = next(iter(contest.blocks))
            held[phase, cell.device, cell.precision][task] = contest
    rows = []
    for terms, contests in held.items():
        for entry, (ratio, rank) in ranking.overall([*contests.values()]).items():
            rows.append((*terms, ", ".join(contests), *entry, *_ends(ratio), rank))
    return frame("overall", rows)


def trust(findings: Findings) -> pd.DataFrame:
    """trust.csv: one row a contest. Control: an identical second process over the first; shares of rounds; times over medians."""
    rows, of = [], defaultdict(list)
    for trial in findings.run.trials:
        of[noise.group(trial)[:4]].append(trial)
    for contest in findings.contests:
        terms, control = next(iter(contest.blocks)), contest.control
        met = of[terms.task, terms.batch, terms.threads, contest.phase]
        trials = [t for t in met if t.phase == "canary" or KIND(t.cell) == KIND(terms)]
        songs = [sum(t.values.values()) for t in trials if t.phase == "canary" and t.status == "ok"]
        low, middle, high = np.quantile(songs or [np.nan], (0.05, 0.5, 0.95))
        repeated = {noise.group(t) for t in trials if t.attempt}
        never = [t for t in trials if t.phase == "warmup" and t.facts.get("kind") == "no steady state"]
        unsteady = len({(t.cell, t.generation) for t in never})  # two jobs may share single calls
        interval = (*_ends(control), contest.floor or None)
        seen = [r.detectable(contest.floor) for (a, _), r in contest.ratios.items() if a == contest.best]
        names = (terms.task, contest.phase, terms.device, terms.precision, terms.data, *TERMS(terms))
        generations = len({t.generation for t in trials})
        rounds = (contest.contended, len(repeated), (high - low) / middle if middle > 0 else None, unsteady)
        times = [stats.samples(blocks) for blocks in contest.blocks.values()]
        settled = max(map(stats.last_over_first, times), key=lambda ratio: abs(np.log(ratio)))
        advised = _rounds_advised(contest, trials)
        far = [sum(len(stats.outliers(own, limit=limit)) for own in times) for limit in (noise.MARKED, noise.SEVERE)]
        most = max(filter(None, seen), default=None)
        rows.append((*names, generations, *interval, most, *rounds, *far, settled, advised, contest.refusal))
    return frame("trust", rows).astype({"rounds_advised": "Int64"})


def _rounds_advised(contest: Contest, trials: Sequence[Trial]) -> int | None:
    """See ``stats.best_rounds``, of the widest interval to the best.

    A generation costs its warm-ups; what comes before, and all phases share, is left out.
    """
    width = {b: ratio.half for (a, b), ratio in contest.ratios.items() if a == contest.best and ratio.half}
    if contest.best is None or not width:
        return None
    sides = (stats.samples(contest.blocks[cell]) for cell in (contest.best, max(width, key=lambda cell: width[cell])))
    warmups, timed = ([t for t in trials if t.times_ns and (t.phase == "warmup") == is_one] for is_one in (True, False))
    start_s = sum(t.steps * sum(t.times_ns) / len(t.times_ns) for t in warmups) / 1e9  # of a long one not all calls are kept
    generations, rounds = len({t.generation for t in warmups}), len({(t.generation, t.round, t.attempt) for t in timed})
    round_s = sum(sum(t.times_ns) for t in timed) / 1e9 / rounds
    return stats.best_rounds(*sides, start_s=start_s / max(generations, 1), round_s=round_s)


def fairness(findings: Findings) -> pd.DataFrame:
    """fairness.csv: what must be the same for all, and what each entry's records say of it."""
    lines = ledger.judge(findings.run)
    rows = [
        (line.rule.name, line.precision, line.verdict, *found, line.rule.why) for line in lines for found in line.values.items()
    ]
    return frame("fairness", rows)


def rounds(findings: Findings) -> pd.DataFrame:
    """rounds.csv: a row a round and attempt, in the order of the run: the canary ahead of it, and the most that a sample met."""
    counts = {(noise.group(t), t.attempt) for t in ranking.counted(findings.run.whole)[0] if t.phase in noise.TIMED}
    found: dict[tuple[noise.Group, int], list[Trial]] = defaultdict(list)
    for trial in findings.run.trials:
        if trial.phase in {*noise.TIMED, "canary"} and trial.status == "ok":
            found[noise.group(trial), trial.attempt].append(trial)
    rows = []
    for key, trials in found.items():
        met = [max((t.noise[name] for t in trials if name in t.noise), default=None) for name in MET]
        song = next((t.values for t in trials if t.phase == "canary"), {})
        reasons = findings.contended.get(key, ())
        told = (trials[0].at, key in counts, bool(reasons), "; ".join(reasons))
        rows.append((*key[0], key[1], *told, *met, song.get("product_s"), song.get("copy_s")))
    return frame("rounds", rows)


def proofs(run: Run) -> pd.DataFrame:
    """proofs.csv: every level of every proof, those between two entries too."""
    return frame("proofs", [proof.__dict__ for proof in run.proofs])


def trials(run: Run, shown: Callable[[Any], Any] = inert) -> Iterator[str]:
    """The lines of trials.csv, trial by trial: one a block, figure or epoch (``block`` counts them); a failure has one.

    Of many calls timed one by one, as in a warm-up, the quantiles alone: a line each would be more than a spreadsheet holds.
    As text: a data frame of a long run would take a gigabyte.
    """
    head, text = attrgetter(*(f"cell.{name}" for name in Cell.__dataclass_fields__), *TRIAL), StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(TRIALS)
    for trial in run.trials:
        yield text.getvalue()
        text.truncate(text.seek(0))
        own = tuple(map(shown, head(trial)))
        lines.writerows((*own, *map(shown, part)) for part in _parts(trial))
    yield text.getvalue()


def _parts(trial: Trial) -> list[tuple[int | None, str | None, str | None, float | None]]:
    """Number, metric, unit and value of each block, figure and epoch of a trial; one empty part where there is nothing at all."""
    blocks: list[tuple[int | None, str, str, float]]
    blocks = [(number, "block_time", "s", time / 1e9) for number, time in enumerate(trial.times_ns)]
    if len(blocks) > BLOCKS:
        shares = zip(QUANTILES, np.quantile(trial.times_ns, list(QUANTILES.values())) / 1e9, strict=True)
        blocks = [(None, f"call_time_{name}", "s", float(value)) for name, value in shares]
        blocks.append((None, "calls", "1", float(len(trial.times_ns))))
    figures = [(None, *unit_of(name), value) for name, value in trial.values.items()]
    epochs = [(n, *unit_of(f"epoch_{name}"), value) for n, epoch in enumerate(trial.epochs) for name, value in epoch.items()]
    return [*blocks, *figures, *epochs] or [(None, None, None, None)]


def losses(run: Run) -> pd.DataFrame:
    """losses.csv: the training loss of every step of every training."""
    return frame("losses", [(*own, n, loss) for own, t in _fits(run) for n, loss in enumerate(t.losses)])


def scores(run: Run) -> pd.DataFrame:
    """scores.csv: the probability that each training of a binary task gives each test example."""
    return frame("scores", [(*own, n, *pair) for own, t in _fits(run) for n, pair in enumerate(scored(t))])


def _fits(run: Run) -> list[tuple[tuple[str, str, str, int], Trial]]:
    """Every training, behind what its rows begin with."""
    return [((t.cell.task, t.cell.backend, t.cell.mode, t.seed), t) for t in run.trials if t.phase == "fit"]


def scored(trial: Trial) -> list[tuple[int, float]]:
    """Label and probability of each test example of a training; empty where the record holds none, or none that make sense."""
    labels, scores = (trial.facts.get(key) for key in ("labels", "scores"))
    if not isinstance(labels, list) or not isinstance(scores, list) or len(labels) != len(scores):
        return []
    sound = all(type(value) in {int, float} and 0 <= value <= 1 for value in (*labels, *scores)) and {*labels} <= {0, 1}
    return [(int(label), float(score)) for label, score in zip(labels, scores, strict=True)] if sound else []
