"""Can verdicts be trusted on this machine? One backend under three names must not be ranked, a planted delay must be found.

A delay of less than a verdict begins at (``stats.MARGIN``) must not be: it is planted to see that.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness import catalog, ranking, stats
from harness.errors import HarnessError
from harness.plan import Entrant, Plan, percent
from harness.records import Run
from harness.report.words import digits
from harness.stats import MARGIN, TIE_BAND, Ratio, Verdict
from harness.suite import Job, Suite

JOB = Job("risk_mlp", max_steps=20, phases=("train",))
COPIES = 3


@dataclass(frozen=True)
class Finding:
    """The verdicts of both controls: ``names`` by pair of copies, ``planted`` of the slowed process against the others."""

    names: Mapping[tuple[str, str], tuple[Ratio, Verdict]]
    planted: Mapping[str, tuple[Ratio, Verdict]]
    slowdown: float
    refusal: str

    @property
    def faint(self) -> bool:
        """Whether the delay is too small for a verdict."""
        return 1 + self.slowdown < MARGIN

    @property
    def winners(self) -> list[str]:
        """Pairs of equals of which one was called faster: false verdicts; a process with a faint delay is an equal."""
        slowed = {(a, f"{a} +{percent(self.slowdown)}"): found for a, found in self.planted.items() if self.faint}
        return [f"{a} and {b}" for (a, b), (_, verdict) in {**self.names, **slowed}.items() if verdict in {"faster", "slower"}]

    @property
    def found(self) -> bool:
        """Whether the slowed process was called slower than every other, in a run that was fit to say so.

        If the delay is faint, whether it was not ranked, by intervals narrow enough for a tie.
        """
        if self.refusal or not self.planted:
            return False
        if self.faint:
            return not self.winners and all((r.half or math.inf) < math.log1p(TIE_BAND) for r, _ in self.planted.values())
        return all(verdict == "slower" for _, verdict in self.planted.values())

    def told(self) -> str:
        """What came out, in sentences."""
        if not self.names and not self.planted:
            return f"One backend under {COPIES} names: nothing to judge ({self.refusal})."
        widest = max((r.half or 0.0 for r, _ in self.names.values()), default=0.0)
        pairs = ", ".join(f"{digits(ratio.value)}x {verdict}" for ratio, verdict in self.names.values())
        equal = f"FALSE WINNER between {'; '.join(self.winners)}" if self.winners else "no false winner"
        planted = ", ".join(f"{digits(ratio.value)}x {verdict}" for ratio, verdict in self.planted.values())
        wanted = "left unranked" if self.faint else "found"
        found = wanted if self.found else f"NOT {wanted} ({self.refusal})" if self.refusal else f"NOT {wanted}"
        return (
            f"One backend under {COPIES} names: {equal} ({pairs}; widest interval +-{widest:.1%}). "
            f"A delay of {percent(self.slowdown)} planted in a fourth process: {found} ({planted})."
        )

    def document(self) -> dict[str, Any]:
        """All of it for JSON: each ratio is the time of the second of a pair over the first's."""
        planted = {(a, f"+{percent(self.slowdown)}"): found for a, found in self.planted.items()}
        lines = {
            name: [
                {"pair": pair, "ratio": ratio.value, "ci_low": ratio.low, "ci_high": ratio.high, "verdict": verdict}
                for pair, (ratio, verdict) in found.items()
            ]
            for name, found in (("equals", self.names), ("planted", planted))
        }
        return {"says": self.told(), "false_winners": self.winners, "found": self.found, "refusal": self.refusal, **lines}


def suite(name: str, max_time: float | None) -> Suite:
    """What is run: the least that the suite ``name`` measures, so that it is its verdicts which are tried.

    With ``max_time``, in seconds, generations are added as it adds them: until all is as narrow as it wants. The run looks at one
    contest of four, whose six pairs share the level, and the verdicts here are of three: so much narrower their intervals are.
    """
    like = catalog.suite(name)
    if like.generations < stats.GENERATIONS:
        least = f"{like.generations} generations, a verdict needs {stats.GENERATIONS}"
        raise HarnessError(f"suite {name} gives no verdicts to check ({least}): take another, as quick or rigorous.")
    title = f"one backend under {COPIES} names, and one slowed down"
    wider = stats.t_quantile(like.generations, math.comb(COPIES + 1, 2)) / stats.t_quantile(like.generations, COPIES)
    made = replace(like, title=title, jobs=(JOB,), seeds=1, narrow=like.narrow * wider)
    return replace(made, budget_s=max_time or 0.0, hard=bool(max_time))


def entrants(backend: str, mode: str, slowdown: float) -> tuple[Entrant, ...]:
    """Equal processes, and one with a delay at the end of every block."""
    return (*(Entrant(backend, mode, copy) for copy in range(COPIES)), Entrant(backend, mode, COPIES, slowdown))


def judge(plan: Plan, run: Run) -> Finding:
    """Both controls from one run, each as a contest of three, as `quick` holds them: their intervals are as wide."""
    *equals, slow = [entrant.name for entrant in plan.entrants]
    names, refusal = verdicts(run, equals)
    others, refused = verdicts(run, [*equals[: COPIES - 1], slow])
    planted = {a: found for (a, b), found in others.items() if b == slow}
    upper = {(a, b): found for (a, b), found in names.items() if a < b}
    return Finding(upper, planted, plan.entrants[-1].slowdown, refusal or refused)


def verdicts(run: Run, modes: list[str]) -> tuple[dict[tuple[str, str], tuple[Ratio, Verdict]], str]:
    """Ratio and verdict of every pair of some modes, as if nothing else had run; and why none is ranked, if so."""
    chosen = tuple(t for t in run.trials if t.cell.mode in {*modes, "canary"})
    held = ranking.contests(replace(run, trials=chosen))
    if not held:
        return {}, "nothing was timed"
    contest = held[0]
    found = {(a.mode, b.mode): (ratio, contest.verdicts[a, b]) for (a, b), ratio in contest.ratios.items()}
    return found, contest.refusal
