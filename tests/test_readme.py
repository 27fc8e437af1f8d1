"""What the README names exists, and the answer it shows is that of the run which is kept."""

import ast
import re
from pathlib import Path

from harness import catalog, ledger, records, report
from harness.report.findings import find

HERE = Path(__file__).parent
README = (catalog.ROOT / "README.md").read_text("utf-8")


def test_every_test_that_is_named_exists() -> None:
    """Files, and functions in them, of its table of what happens when, which names one in every row."""
    table = README.partition("| what happens |")[2].partition("\n\n")[0]
    rows = [row.split("|")[-2] for row in table.splitlines()[2:]]
    assert len(rows) > 15
    for row in rows:
        named = re.findall(r"(test_\w+\.py)(?:::(\w+))?", row)
        assert row.strip() == ", ".join("::".join(filter(None, pair)) for pair in named) != ""
        for file, function in named:
            defined = {
                node.name for node in ast.parse((HERE / file).read_text("utf-8")).body if isinstance(node, ast.FunctionDef)
            }
            assert not function or function in defined, (file, function)


def test_the_answer_is_that_of_the_example() -> None:
    """What stands between the marks is the beginning of its report, with the table of every task: see the session `example`."""
    shown = README.partition("<!-- example -->\n")[2].partition("<!-- /example -->")[0].strip()
    report = (catalog.ROOT / "results" / "example" / "report.md").read_text("utf-8")
    assert shown
    assert shown in report
    assert shown.count("| proof | rank |") == report.count("| proof | rank |")


def test_links_lead_somewhere() -> None:
    """Every file and folder that it links to is there."""
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (catalog.ROOT / link).exists()] == []


def test_the_rules_of_the_ledger_are_counted() -> None:
    """As many as are checked."""
    number = README.partition("- **Fairness**: ")[2].partition(" rules (")[0]
    assert number == {13: "thirteen", 14: "fourteen", 15: "fifteen", 16: "sixteen"}[len(ledger.RULES)]


def test_the_csv_files_are_named() -> None:
    """All that a report writes, and no other."""
    named = re.findall(r"`(\w+)`", README.partition("and as CSV ")[2].partition(".\n")[0])
    frames = report.frames(find(records.read(catalog.ROOT / "results" / "example")))
    assert sorted(named) == sorted([*frames, "trials"])


def test_the_map_of_the_harness_names_every_file() -> None:
    """Each once, and of the report's those that the others share."""
    table = (catalog.ROOT / "CONTRIBUTING.md").read_text("utf-8").partition("## The way of a figure")[2].partition("\n## ")[0]
    named = re.findall(r"`([a-z]+)`", table)
    files = {path.stem for folder in ("", "report") for path in (catalog.ROOT / "harness" / folder).glob("*.py")}
    assert len(named) == len({*named})
    assert {*named} <= files
    assert {path.stem for path in (catalog.ROOT / "harness").glob("*.py")} - {*named} == {"__init__", "__main__"}
