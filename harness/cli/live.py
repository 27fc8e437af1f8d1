"""What is shown of a job on stderr: a line for what lasts, with ``-v`` for every record; on a terminal a view redrawn in place.

Nothing redraws by itself, which would disturb what is timed: only what the harness tells, between samples, does.
"""

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median

import click
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.rule import Rule
from rich.segment import Segments
from rich.table import Table
from rich.text import Text

from harness import catalog
from harness.channel import Message
from harness.cli.options import asked
from harness.errors import printable
from harness.measure import Stopwatch
from harness.plan import Plan, clock
from harness.progress import Progress
from harness.ranking import Contest
from harness.records import Run, Trial

QUIET_S = 60.0  # without a line in a log: who reads it, or a CI server, might think that a long generation hangs
EVERY_S = 1.0  # between two drawings of what is told often: each costs 2 ms, and the terminal some more beside the next sample


def progress() -> Progress:
    """Lines on stderr, unless that is to be quiet."""
    return Progress() if asked("quiet") else Log(every=asked("verbose"))


@contextmanager
def watching(plan: Plan, earlier: Run | None) -> Iterator[Progress]:
    """The view of a run where a terminal can show it, and gone afterwards; lines elsewhere, and with ``-v``."""
    console = Console(stderr=True, highlight=False)
    if asked("quiet") or asked("verbose") or not (sys.stderr.isatty() and console.is_interactive):
        yield progress()
        return
    with ExitStack() as stack:
        stack.callback(console.show_cursor)  # however the view ended
        view = View(console, plan, earlier.progress["used_s"] if earlier else 0.0)
        stack.enter_context(view.live)
        stack.callback(view.live.update, "")  # or what is higher than the screen would stay there
        yield view


class Log(Progress):
    """Plain lines with the time passed."""

    def __init__(self, *, every: bool = False) -> None:
        """The time begins now. ``every`` record gets a line, not only those that last: thousands, and 0.3 ms of CPU time each."""
        self.watch, self.every = Stopwatch(), every
        self.phase, self.said_s = "", 0.0

    def say(self, text: str) -> None:
        """Print it."""
        self.said_s = self.watch.seconds()
        click.echo(self.line(text), err=True)

    def kept(self, trial: Trial) -> None:
        """Print what failed, and what came of a training; all else if so wanted."""
        if self.every or trial.status != "ok" or trial.phase == "fit":
            self.say(told(trial))

    def at(self, phase: str, *, now: str = "", then: str = "", often: bool = False) -> None:  # noqa: ARG002 - the view shows them
        """Print where the run is, once, if that lasts, or if nothing has been said for a while."""
        if phase != self.phase and (not often or self.watch.seconds() - self.said_s >= QUIET_S):
            self.phase = phase
            self.say(f"begin   {phase}")

    def line(self, text: str) -> str:
        """One line, whatever a framework has put into its words."""
        return f"[{self.watch.seconds():6.1f} s] {printable(text)}"


class View(Log):
    """Where a run is, on a terminal; above it the lines of what lasts, as in a log."""

    def __init__(self, console: Console, plan: Plan, earlier_s: float) -> None:
        """``earlier_s``: the seconds that an interrupted run has used before."""
        super().__init__()
        self.console, self.plan, self.earlier_s = console, plan, earlier_s
        self.now = self.then = ""
        self.under_way: dict[int, str] = {}  # by thread
        self.verdicts: RenderableType = Text("no verdict before the first generation ends", "dim")
        self.live = Live("", console=console, auto_refresh=False, transient=True, redirect_stdout=False)
        self.lock, self.drawn_s = threading.RLock(), 0.0

    def say(self, text: str) -> None:
        """Print it above the view."""
        with self.lock:
            self.console.print(Text(self.line(text)), soft_wrap=True)

    def at(self, phase: str, *, now: str = "", then: str = "", often: bool = False) -> None:
        """Show it."""
        self.phase, self.now, self.then = phase, now, then
        self.draw(often=often)

    @contextmanager
    def doing(self, what: str) -> Iterator[Callable[[Message], None]]:
        """Show it until it is done, in place of what the thread does as a whole."""
        thread = threading.get_ident()
        whole = self.under_way.get(thread, "")

        def show(text: str, *, often: bool = False) -> None:
            self.under_way[thread] = text
            self.draw(often=often)

        show(what)
        try:
            yield lambda event: show(f"{what}, epoch {event['epoch']:.0f}", often=True)
        finally:
            show(whole)

    def judged(self, contests: Sequence[Contest]) -> None:
        """Show them from now on."""
        if contests:
            lines = "\n".join(["so far:", *map(standing, contests)])
            self.verdicts = Segments(self.console.render(Text(lines)))  # laid out once: a hundred take longer than the rest

    def draw(self, *, often: bool = False) -> None:
        """Redraw the view; what is drawn ``often`` once a second at most."""
        with self.lock:
            if not often or self.watch.seconds() - self.drawn_s >= EVERY_S:
                self.drawn_s = self.watch.seconds()
                self.live.update(self.picture(), refresh=True)

    def picture(self) -> RenderableType:
        """All of the view."""
        used, budget = clock(self.earlier_s + self.watch.seconds()), self.plan.suite.budget_s
        time = f"{used} of {clock(budget)}" if budget else f"{used} of about {clock(self.plan.seconds())}"
        now = filter(None, [self.now, *self.under_way.values()])
        head = Table.grid(padding=(0, 2))
        for name, value in {"time": time, "phase": self.phase, "now": "\n".join(now), "next": self.then}.items():
            head.add_row(Text(name, "dim"), Text(value))
        return Group(Rule(Text(self.plan.name), align="left"), head, self.verdicts)


def standing(contest: Contest) -> str:
    """A contest in a line: its best, how many times as long the other proven ones take, and what that is worth so far."""
    from harness.report.words import sized  # and with it pandas, which only a run needs

    cell, best = next(iter(contest.blocks)), contest.best
    pairs = [(pair, ratio) for pair, ratio in contest.ratios.items() if pair[0] == best and pair[1] in contest.proven]
    few = pairs and all(contest.verdicts[pair] == "indicative" for pair, _ in pairs)
    refusal = "" if few else contest.refusal
    found = [f"{best.backend} {best.mode}"] if best else []
    for pair, ratio in sorted(pairs, key=lambda both: both[1].value):
        found.append(f"{pair[1].backend} {pair[1].mode} {sized(ratio)} {contest.told(*pair)}")
    threads = f", {cell.threads} CPUs" if cell.threads > 1 else ""
    return f"{cell.task} {contest.phase}, batch {cell.batch}{threads}: {'; '.join([*found, refusal] if refusal else found)}"


def told(trial: Trial) -> str:
    """A record in a line: whose it is, when in the run, and what came of it."""
    cell = trial.cell
    who = f"{cell.task}  {cell.backend} {cell.mode}"
    if trial.phase == "fit":
        return f"train   {who}, seed {trial.seed}: {outcome(trial)}"
    parts = [who, f"{trial.phase} of {trial.of}" if trial.of else trial.phase, f"batch {cell.batch}"]
    parts += [f"{cell.threads} CPUs"] * (cell.threads > 1)
    parts += [f"generation {trial.generation + 1}"]
    if trial.phase not in {"first_call", "warmup"}:  # which come ahead of the first round
        parts += [f"round {trial.round + 1}"] + ["again"] * trial.attempt
    return f"time    {', '.join(parts)}: {outcome(trial)}"


def outcome(trial: Trial) -> str:
    """What came of a trial: its figures, or why there are none."""
    if trial.status != "ok":
        return trial.reason
    if trial.phase == "fit":
        metric = catalog.task(trial.cell.task).quality.metric
        return f"{metric} {trial.values.get(metric, float('nan')):.4f} after {trial.steps} steps"
    if trial.times_ns:
        steps = 1 if trial.phase == "warmup" else trial.steps  # there they are told one by one
        return f"{median(trial.times_ns) / steps / 1e6:.4g} ms each"
    return ", ".join(f"{name} {value:.3g}" for name, value in trial.values.items())
