"""What a job tells of itself while it goes on. Who shows it, and how, is the command line's business: see harness/cli/live.py."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from harness.channel import Message
from harness.ranking import Contest
from harness.records import Trial


class Progress:
    """Hears everything and shows nothing of it. Never told anything while a worker is being timed."""

    def say(self, text: str) -> None:
        """Something that deserves a line."""

    def kept(self, trial: Trial) -> None:
        """A record that is on disk now."""

    def at(self, phase: str, *, now: str = "", then: str = "", often: bool = False) -> None:
        """Where the run is, what comes now and what next; what is told ``often`` need not be shown every time."""

    @contextmanager
    def doing(self, what: str) -> Iterator[Callable[[Message], None]]:  # noqa: ARG002 - views show it
        """What this thread, one of several, does; what comes out hears of the epochs of its worker."""
        yield lambda _event: None

    def judged(self, contests: Sequence[Contest]) -> None:
        """What the records so far say."""
