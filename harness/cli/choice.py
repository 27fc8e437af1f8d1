"""Which backends and modes a verb runs: those asked for, or all that are installed."""

import sys
from typing import TYPE_CHECKING

from harness import catalog
from harness.cli.options import Wanted
from harness.errors import HarnessError, unknown

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
    chosen, skipped, installed = {}, {}, {}
    for name in catalog.labelled(wanted.backends or [*catalog.frameworks(), *own], wanted.python):
        if name != catalog.code(name) and name not in own:
            raise HarnessError(f"backend {name!r} has no interpreter: name it with --python {name}=PATH.")
        found = workplace.probe(name, wanted.python.get(name, sys.executable))
        if not found.missing:
            chosen[name], installed[name] = pick_modes(name, modes), found
        elif wanted.backends or name in own:
            raise HarnessError(found.advice(name))
        else:
            skipped[name] = found.advice(name)
    if not chosen:
        raise HarnessError("no framework is installed: pip install 'concord-bench[all]', or name interpreters with --python.")
    able = {name: own for name, own in chosen.items() if own}
    if not able:
        raise HarnessError(f"none of {', '.join(chosen)} has the mode {', '.join(modes)}: see `concord list`.")
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


def pick_modes(name: str, modes: list[str]) -> tuple[str, ...]:
    """The modes of a backend that were asked for; a mode that no backend has is an error."""
    everywhere = [*catalog.modes(), "all"]
    for mode in modes:
        if mode not in everywhere:
            raise unknown("mode", mode, everywhere)
    own = catalog.backend(name).MODES
    if "all" in modes:
        return tuple(own)
    return tuple(mode for mode in own if mode in modes) if modes else own[:1]
