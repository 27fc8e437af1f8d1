"""What the README says of tests: whatever it names exists."""

import ast
import re
from pathlib import Path

from harness import catalog

HERE = Path(__file__).parent


def test_every_test_that_is_named_exists() -> None:
    """Files, and functions in them, of its table of what happens when, which names one in every row."""
    table = (catalog.ROOT / "README.md").read_text("utf-8").partition("| what happens |")[2].partition("\n\n")[0]
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
