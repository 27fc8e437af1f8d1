"""A warm-up as its record tells it: which of its calls were kept, from which on they are steady, how long that took."""

from harness.records import Trial

MOST = 10**9  # calls: more are none, in a record from elsewhere


def steady(trial: Trial) -> int | None:
    """The first steady call, from 0, the very first of the process left out; None where there is none."""
    kind = trial.facts.get("kind")
    start = 0 if kind == "flat" else trial.facts.get("start")
    return start if kind != "no steady state" and isinstance(start, int) and 0 <= start < MOST else None


def kept(trial: Trial) -> range:
    """The calls, from 0, whose times are kept: every so many from the first on; in older records the last ones."""
    stride, count = trial.facts.get("stride"), len(trial.times_ns)
    if isinstance(stride, int) and 0 < stride <= trial.steps and -(-trial.steps // stride) == count:
        return range(0, trial.steps, stride)
    return range(max(trial.steps - count, 0), max(trial.steps, count))


def waited(trial: Trial) -> float:
    """Seconds until the first steady call; what was not kept of a long one took as long as the rest."""
    start, times = steady(trial) or 0, kept(trial)
    mean = sum(trial.times_ns) / len(trial.times_ns)
    until = -(-max(start - times.start, 0) // times.step)
    return (min(start, times.start) * mean + sum(trial.times_ns[:until]) * times.step) / 1e9
