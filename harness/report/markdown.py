"""report.md: the answer and the proof in GitHub's Markdown, short enough for a comment. Everything from outside is escaped."""

import re
from collections.abc import Iterable, Sequence
from html import escape
from itertools import accumulate

from harness import ledger, stats
from harness.records import Proof
from harness.report import answer, words
from harness.report.tables import Findings
from harness.report.words import digits

ROOM = 60_000  # characters; a comment may have 65,536
TEXT = 400  # of one text from outside: a reason may be a whole log
FOLD = "<details><summary>The worst difference of every level from the reference or another entry</summary>"
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
    rows = [[_shown(text) for text in row] for row in answer.table(findings, task).values()]
    notes = [f"- Missing: {plain(text)}" for text in answer.missing(findings, task)]
    notes += ["- Other batches and numbers of CPUs stand in report.html."] * bool(findings.sweep_of(task))
    verdicts = table(answer.HEADS, rows) if rows else ""
    parts = (
        f"**{plain(findings.goal(task)['title'])}.** {plain(words.sentence(findings, task), 10 * TEXT)}",
        verdicts,
        "\n".join(notes),
    )
    return "\n\n".join(filter(None, parts))


def _shown(text: str) -> str:
    """A text of the verdict table; a time whose proof failed is struck through."""
    return f"~~{plain(text.removeprefix(answer.VOID))}~~ void" if text.startswith(answer.VOID) else plain(text)


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
