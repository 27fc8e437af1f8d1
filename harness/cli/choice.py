"""Which backends and modes a verb runs: those asked for, or all that are installed."""

import sys
from typing import TYPE_CHECKING

from harness import catalog
from harness.cli.options import Wanted
from harness.errors import AbsentError, HarnessError, unknown

if TYPE_CHECKING:
    from harness.workplace import Installed, Workplace


def choose(wanted: Wanted) -> tuple[dict[str, tuple[str, ...]], dict[str, str], dict[str, "Installed"]]:
    """Backends with their modes; why some are skipped; what each interpreter has.

    A backend asked for by name must be there; one that is not asked for may be missing, and is then skipped with its reason.
    Interpreters with labels are asked for by name, too, and a backend asked for without one stands for all of its labels.
    """
    from harness import workplace

    modes, own = wanted.modes, [name for name in wanted.python if name != catalog.code(name)]
    for name in wanted.backends:
        catalog.backend(name)
    for mode in modes:
        if mode not in catalog.modes():
            raise unknown("mode", mode, catalog.modes())
    chosen, skipped, installed = {}, {}, {}
    for name in catalog.labelled(wanted.backends or [*catalog.frameworks(), *own], wanted.python):
        if name != catalog.code(name) and name not in own:
            raise HarnessError(f"backend {name!r} has no interpreter: name it with --python {name}=PATH.")
        found = workplace.probe(name, wanted.python.get(name, sys.executable))
        if not found.missing:
            has, installed[name] = catalog.backend(name).MODES, found
            chosen[name] = tuple(mode for mode in has if {mode, "all"} & {*modes}) if modes else has[:1]
        elif wanted.backends or name in own:
            raise AbsentError(found.advice(name))
        else:
            skipped[name] = found.advice(name)
    if not chosen:
        raise HarnessError(f"no framework is installed: {catalog.install('all')}, or name interpreters with --python.")
    able = {name: own for name, own in chosen.items() if own}
    if lacking := [name for name, own in chosen.items() if not own and (wanted.backends or not able)]:
        raise HarnessError(f"none of {', '.join(lacking)} has the mode {', '.join(modes)}: see `concord list`.")
    return able, skipped, installed


def check_device(place: "Workplace", chosen: dict[str, tuple[str, ...]]) -> None:
    """Ask every backend for the GPU before anything is begun."""
    from harness import launch

    for name in chosen if place.device == "gpu" else ():
        if catalog.backend(name).REFERENCE:
            raise HarnessError(f"{name} runs on the CPU alone: leave it out with --backends, or leave out --device gpu.")
        try:
            place.worker(name, place.cpus[:1], f"check-{name}").close()
        except launch.WorkerError as error:
            raise HarnessError(error.reason) from None
