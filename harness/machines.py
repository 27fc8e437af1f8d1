"""On what machine and terms a run was made, as its manifest says, and in what two runs differ there."""

from collections import Counter
from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from harness.noise import SLOWED
from harness.records import Run

TERMS = ("schema", "seed", "environment", "code", "weights", "data")  # the parts of the manifest that two runs may share
SAMPLES = ("rounds", "sample_s")  # of a suite: how it times
MEMORY = "environment.machine.memory_bytes"
MACHINE = (  # of them, by dotted name, what makes times comparable
    *("environment.machine.cpu", "environment.machine.cpus", "environment.machine.cpus_available"),
    *("environment.machine.affinity", "environment.device", "GPUs", MEMORY),
)
KERNEL = 0.02  # the share of memory that a kernel keeps for itself varies; a module more or less is beyond it
LONGEST = 120  # characters of a value that are told


def differences(base: Run, new: Run) -> list[str]:
    """In what the machines of two runs differ; not their names, nor the frequency of the moment."""
    ours, theirs = ({name: found.get(name) for name in MACHINE} for found in map(facts, (base, new)))
    return _differing(ours, levelled(ours, theirs))


def changes(base: Run, new: Run) -> list[str]:
    """In what else their terms differ: versions, code, data, seed, samples."""
    return _differing(*({name: v for name, v in facts(run).items() if name not in MACHINE} for run in (base, new)))


def levelled(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Their facts with our size of memory, where the two differ by no more than what kernels keep for themselves."""
    sizes: list[Any] = [found.get(MEMORY) for found in (ours, theirs)]
    alike = all(isinstance(size, int | float) for size in sizes) and abs(sizes[0] - sizes[1]) <= KERNEL * max(sizes)
    return {**theirs, MEMORY: sizes[0]} if alike else dict(theirs)


def strayed(base: Run, new: Run) -> str:
    """What the canary says of a machine in another state: "copy took 1.89 times as long"; "" within 10 %, or where none sang.

    Then times do not compare, and there is nothing to correct them by: on one machine, between a quiet day and one on which its
    neighbours were busy, the product took 2.43 times as long, a step of the credit MLP in JAX 1.87, in TensorFlow 1.95 and in
    PyTorch 2.49. Nor are they surely alike within 10 %: from one busy hour to another the product took 1.02, the copy 1.08 and
    that step in JAX 1.22. The product is heard where both runs have one NumPy.
    """
    ours, theirs = (run.at("environment", "machine", "packages", "numpy") for run in (base, new))
    for what in ("product", "copy") if ours and ours == theirs else ("copy",):
        songs = [
            [t.values.get(f"{what}_s", 0.0) for t in run.trials if t.phase == "canary" and t.status == "ok"]
            for run in (base, new)
        ]
        took = [[seconds for seconds in own if seconds > 0] for own in songs]  # a record from elsewhere may say anything
        ratio = median(took[1]) / median(took[0]) if all(took) else 1.0
        if not 1 / SLOWED <= ratio <= SLOWED:
            return f"{what} took {ratio:.2f} times as long"
    return ""


def facts(run: Run) -> dict[str, Any]:
    """All that the manifest says of a run's terms, by dotted names, and the GPUs as the workers saw them."""
    gpus = sorted({str(gpu) for t in run.trials for gpu in t.facts.get("gpus") or ()})
    suite = {f"suite.{name}": value for name, value in run.part("suite").items() if name in SAMPLES}
    return {"GPUs": gpus} | suite | {k: v for part in TERMS for k, v in leaves(run.manifest.get(part), part)}


def _differing(base: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What both name and is not the same."""
    names = [name for name in base if name in new and base[name] != new[name]]
    return [f"{name}: {str(base[name])[:LONGEST]} in BASE, {str(new[name])[:LONGEST]} in NEW" for name in names]


def versions(run: Run) -> dict[str, str]:
    """The version of every package that the workers named; of one that several named, with the backend's name."""
    workers = run.part("environment", "workers")
    found = [(p, name, v) for name in workers for p, v in run.part("environment", "workers", name, "versions").items()]
    often = Counter(package for package, *_ in found)
    return {p if often[p] == 1 else f"{p} of {name}": str(version) for p, name, version in found}


def leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The leaves of a part of the manifest by their dotted names; not where data and interpreters lie."""
    if isinstance(value, dict):
        for key in value:
            if key not in {"where", "interpreter"}:
                yield from leaves(value[key], f"{name}.{key}")
    else:
        yield name, value
