"""report.md: the answer and the proof in GitHub's Markdown, short enough for a comment. Everything from outside is escaped."""

import re
from collections.abc import Iterable, Sequence
from html import escape
from itertools import accumulate
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness import ledger
from harness.records import Proof
from harness.report import answer, words
from harness.report.findings import Findings
from harness.report.words import name

ROOM = 60_000  # characters; a comment may have 65,536
TEXT = 400  # of one text from outside: a reason may be a whole log
CUT = "What is left out here for its length stands in report.html."
EDGE = "---- 8< ----"  # the line between two blocks of the template; no text from outside is a line
MARKS = {ord(char): f"\\{char}" for char in "`*_[]~$"} | {ord("|"): "&#124;", ord("\\"): "&#92;"}
UNSEEN = re.compile(r"[\x00-\x20\x7f-\xa0\u200b-\u200f\u2028-\u202e\u2066-\u2069]+")  # also what turns writing round
LINKS = re.compile(r"@|(?<!&)#(?=\d)|:(?=//)|www(?=\.)", re.IGNORECASE)  # mentions, issues, addresses: no escape stops them


def plain(text: object, room: int = TEXT) -> str:
    """A text that stays one line of text wherever it stands behind other text: no markup, no link, nobody mentioned."""
    line = UNSEEN.sub(" ", str(text)).strip()
    line = line if len(line) <= room else f"{line[:room]}…"
    return LINKS.sub(r"\g<0>&#8203;", escape(line, quote=False).translate(MARKS))


def render(findings: Findings) -> str:
    """The whole report as text; what does not fit into ``ROOM`` is left out from the end, by whole blocks."""
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        autoescape=True, finalize=_escaped, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=loader
    )
    environment.globals |= {"answer": answer, "words": words, "table": table, "levels": _levels}
    environment.filters["plain"] = _escaped
    text = environment.get_template("report.md.j2").render(
        findings=findings,
        groups=answer.groups(findings),
        unfair=ledger.differences(findings.run),
        trust=_trust(findings),
        proofs={task: [proof for proof in findings.run.proofs if proof.task == task] for task in findings.tasks},
    )
    blocks = [re.sub("\n{3,}", "\n\n", found) for block in text.split(f"\n{EDGE}\n") if (found := block.strip())]
    ends = accumulate(len(block) + 2 for block in blocks)
    kept = [block for block, end in zip(blocks, ends, strict=True) if end <= ROOM - len(CUT)]
    return "\n\n".join(kept if len(kept) == len(blocks) else [*kept, CUT]) + "\n"


def _escaped(text: object, room: int = TEXT) -> Markup:
    """What a template puts out: as it is if it was escaped before, else as text."""
    return text if isinstance(text, Markup) else Markup(plain(text, room))  # noqa: S704 - for Markdown it is safe now


def _trust(findings: Findings) -> dict[str, list[str]]:
    """How far equals lay apart and how often the machine was not quiet, by task."""
    held = []
    for task in findings.tasks:
        contests = findings.contests_of(task, "train")
        held += [(f"{task}{words.terms(contest, contests)}", contest) for contest in contests]
    return {
        "Noise floor of a training step": [f"{name} {contest.floor:.1%}" for name, contest in held if contest.floor],
        "Rounds of training steps that were contended": [f"{name} {contest.contended:.0%}" for name, contest in held],
        "Energy": [] if findings.metered or not findings.contests else ["not measured, this system shows no meter"],
    }


def _levels(proofs: Sequence[Proof]) -> Markup:
    """The proof table: a row a level, a column an entry, in each the worst difference."""
    levels = dict.fromkeys((proof.level, proof.precision) for proof in proofs)
    worst = {entry: dict.fromkeys(levels, "") for entry in map(name, proofs)}
    for proof in sorted(proofs, key=_severity):
        worst[name(proof)][proof.level, proof.precision] = words.judged(proof)
    return table(["level", *worst], [[", ".join(level), *(own[level] for own in worst.values())] for level in levels])


def _severity(proof: Proof) -> tuple[bool, bool, float]:
    """What is worse comes last: failed, then judged at all, then nearer to its tolerance."""
    share = (proof.worst or 0.0) / proof.tolerance if proof.tolerance else 0.0
    return proof.verdict == "failed", proof.verdict != "skipped", share


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> Markup:
    """A table of texts, which are escaped; a time whose proof failed is struck through."""
    head, *lines = ([_shown(text) for text in line] for line in (heads, *rows))
    return Markup("\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines)))  # noqa: S704 - as said


def _shown(text: str) -> str:
    return f"~~{plain(text.removeprefix(answer.VOID))}~~ void" if text.startswith(answer.VOID) else plain(text)
