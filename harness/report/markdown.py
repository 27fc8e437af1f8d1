"""report.md: the answer and the proof in GitHub's Markdown, short enough for a comment. Everything from outside is escaped."""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import accumulate

from harness import ledger, stats
from harness.records import Cell, Proof
from harness.report import words
from harness.report.tables import Findings
from harness.report.words import digits, name

ROOM = 60_000  # characters; a comment may have 65,536
TEXT = 400  # of one text from outside: a reason may be a whole log
FOLD = "<details><summary>The worst difference of every level from the reference or another entry</summary>"
PHASES = {"train": "train step", "predict": "predict batch"}
CUT = "What is left out here for its length stands in report.html."
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
    blocks = [_head(findings), *(_answer(findings, task) for task in findings.tasks), _trust(findings)]
    blocks = [*filter(None, [*blocks, *(_proof(findings, task) for task in findings.tasks)])]
    ends = accumulate(len(block) + 2 for block in blocks)
    kept = [block for block, end in zip(blocks, ends, strict=True) if end <= ROOM - len(CUT)]
    return "\n\n".join(kept if len(kept) == len(blocks) else [*kept, CUT]) + "\n"


def _head(findings: Findings) -> str:
    """Which run, where and of what it was made, whether it came to its end, and what was not the same for all."""
    run, manifest = findings.run, findings.run.manifest
    machine, workers = (run.part("environment", part) for part in ("machine", "workers"))
    versions = [f"{p} {v}" for name in workers for p, v in run.part("environment", "workers", name, "versions").items()]
    made = [str(text) for text in (manifest.get("created"), machine.get("cpu"), ", ".join(versions)) if text]
    lines = [f"# Concord: {plain(findings.run.path.name)}", "", f"Made: {plain('; '.join(made))}"]
    if "finished" in manifest and not manifest["finished"]:
        lines += ["", "**This run did not finish.** What was recorded until then is shown."]
    if unfair := ledger.differences(findings.run):
        lines += ["", "**This comparison is not fair.**", "", *(f"- Rule: {plain(text)}" for text in unfair)]
    return "\n".join(lines)


def _answer(findings: Findings, task: str) -> str:
    """The sentence, the verdict table, and what is missing from it."""
    cells, units = findings.cells_of(task), words.units(findings, task)
    title, metric = plain(findings.goal(task)["title"]), findings.goal(task)["metric"] or "quality"
    columns = [text for phase, head in PHASES.items() for text in (head, "to best")]
    rows = [
        [
            plain(name(cell)),
            words.badge(findings.proofs[cell].state),
            row.rank if (row := findings.pick(cell, "train")) else "",
            *(text for phase in PHASES for text in _time(findings, cell, phase, units)),
            digits(found.figure.value, 4) if (found := findings.quality(cell)) else "",
        ]
        for cell in cells
    ]
    labels = {cell: name(cell) for cell in cells} | {cell: words.swept(cell) for cell in findings.sweep_of(task)}
    notes = [f"- Missing: {plain(f'{label}: {text}')}" for cell, label in labels.items() for text in findings.troubles[cell]]
    notes += ["- Other batches and numbers of CPUs stand in report.html."] * (len(labels) > len(cells))
    verdicts = table(["backend", "proof", "rank", *columns, plain(metric)], rows) if rows else ""
    parts = (f"**{title}.** {plain(words.sentence(findings, task), 10 * TEXT)}", verdicts, "\n".join(notes))
    return "\n\n".join(filter(None, parts))


def _time(findings: Findings, cell: Cell, phase: str, units: Mapping[str, tuple[float, str]]) -> tuple[str, str]:
    """Time and ratio of one phase with their intervals; struck through where the proof failed."""
    row = findings.pick(cell, phase)
    if row is None:
        return "", ""
    time = words.sized(row.figure, *units[phase])
    void = findings.proofs[cell].state == "failed"
    return f"~~{time}~~ void" if void else time, words.sized(row.ratio) if row.ratio else ""


def _trust(findings: Findings) -> str:
    """How far equals lay apart and how often the machine was not quiet, a line each."""
    held = [(plain(task), c) for task in findings.tasks for c in findings.contests_of(task, "train")]
    floors = [f"{task} {contest.floor:.1%}" for task, contest in held if contest.control]
    shares = [f"{task} {contest.contended:.0%}" for task, contest in held]
    told = {"Noise floor of a training step": floors, "Rounds of training steps that were contended": shares}
    return "\n\n".join(f"{what}: {', '.join(found)}." for what, found in told.items() if found)


def _proof(findings: Findings, task: str) -> str:
    """The proof table, folded: a row a level, a column an entry; below it what failed, and where. Empty without proofs."""
    proofs = [proof for proof in findings.run.proofs if proof.task == task]
    if not proofs:
        return ""
    entries = list(dict.fromkeys(f"{p.backend} {p.mode}" for p in proofs))
    levels = list(dict.fromkeys((p.level, p.precision) for p in proofs))
    worst: dict[tuple[tuple[str, str], str], Proof] = {}
    for proof in sorted(proofs, key=_severity):
        worst[(proof.level, proof.precision), f"{proof.backend} {proof.mode}"] = proof
    rows = [[plain(", ".join(level)), *(_worst(worst.get((level, entry))) for entry in entries)] for level in levels]
    wrong = [p for p in proofs if p.verdict == "failed"]
    failed = [f"- Failed: {plain(f'{p.backend} {p.mode}, {p.level} against {p.against}: {stats.located(p)}')}" for p in wrong]
    folded = (FOLD, table(["level", *map(plain, entries)], rows), "\n".join(failed), "</details>")
    return f"**{plain(findings.goal(task)['title'])}: the proof.**\n\n" + "\n\n".join(filter(None, folded))


def _severity(proof: Proof) -> tuple[bool, bool, float]:
    """What is worse comes last: failed, then judged at all, then nearer to its tolerance."""
    share = (proof.worst or 0.0) / proof.tolerance if proof.tolerance else 0.0
    return proof.verdict == "failed", proof.verdict != "skipped", share


def _worst(proof: Proof | None) -> str:
    """One level of one entry: mark, worst difference, what is allowed."""
    if proof is None:
        return ""
    found = proof.verdict if proof.worst is None else digits(proof.worst, 2)
    within = "" if proof.tolerance is None else f" of {digits(proof.tolerance, 1)}"
    return plain(f"{words.MARKS.get(proof.verdict, '')} {found}{within}")


def table(heads: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of texts that are escaped."""
    head = list(heads)
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *rows))
