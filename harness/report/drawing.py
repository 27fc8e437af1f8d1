"""How every plot looks, and its SVG text for a page: equal input gives equal bytes, text stays text, no link leaves.

A framework has one colour (of Okabe-Ito's those that stand out on light and dark alike) and each version of it one marker
everywhere; a mode is told by how the marker is filled. Ink is ``currentColor``: the page's light or dark setting colours axes
and words. Curves that may coincide get thinner upwards.
"""

import io
import re
import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from harness.errors import printable
from harness.records import Cell
from harness.report.words import name
from harness.standing import Proven

INK = "#010203"  # stands for currentColor until the SVG is text
LOOKS = {"torch": ("#d55e00", "o"), "tensorflow": ("#0072b2", "s"), "jax": ("#009e73", "^"), "numpy": (INK, "D")}
SPARE = (("#cc79a7", "v"), ("#a08600", "P"), ("#8a6fd8", "X"), ("#808080", "p"))  # for backends that came later
VERSIONS = ("<", ">", "*", "h", "d", "8")  # the markers of further versions of one framework
FILLS = ("full", "none", "left", "top", "bottom", "right")
LABEL = 200  # most characters of one
WIDTH, ROW, LETTER, SAMPLE = 6.0, 0.23, 0.086, 0.62  # inches: a plot, a line of a legend, a letter and the sample beside it
STYLE: dict[str, Any] = {
    "figure.figsize": (WIDTH, 3.0),
    "font.size": 10.5,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.07,  # inches
    "svg.fonttype": "none",
    "svg.hashsalt": "concord",
    "text.parse_math": False,  # names come from outside: a dollar sign is a dollar sign
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "path.simplify_threshold": 0.5,  # pt
    "grid.linewidth": 0.5,
    "grid.alpha": 0.2,
    "legend.frameon": False,
    **dict.fromkeys(("grid.color", "text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}
STYLED = re.compile(r'<g class="(\w+)">(<use\b[^<>]*)/></g>')  # a group of one can bear its own class, or be none
LONE = re.compile(r"<g>(<(?:use|path)\b[^<>]*/>|<text\b[^<>]*>[^<>]*</text>)</g>")
Looks = Mapping[Cell, Mapping[str, Any]]  # how a cell is drawn, in every plot: matplotlib's keywords
Curves = Mapping[Cell, Sequence[tuple[float, float]]]
Drawn = Iterator[tuple[str, Any, str]]  # captions, figures, and what each shows in a sentence, for those who do not see it


def looks(proofs: Mapping[Cell, Proven]) -> Looks:
    """The look of every cell of a run; a framework this file does not know gets the next spare one, by name.

    Versions of one ("torch@2.9") have its colour; the first by name has its marker, too.
    """
    backends: dict[str, list[str]] = defaultdict(list)
    for backend in sorted({cell.backend for cell in proofs}):
        backends[backend.partition("@")[0]].append(backend)
    others = sorted(backends.keys() - LOOKS.keys())
    known = LOOKS | {code: SPARE[number % len(SPARE)] for number, code in enumerate(others)}
    found = {}
    for cell, proof in proofs.items():
        code = cell.backend.partition("@")[0]
        color, *markers = (*known[code], *VERSIONS)
        marker = markers[backends[code].index(cell.backend) % len(markers)]
        modes = sorted({other.mode for other in proofs if other.backend == cell.backend})
        label = name(cell) + (" (proof failed)" if proof.state == "failed" else "")
        fill = FILLS[modes.index(cell.mode) % len(FILLS)]
        found[cell] = {"color": color, "marker": marker, "fillstyle": fill, "label": label}
    return found


def line(look: Mapping[str, Any], above: float = 0.0) -> dict[str, Any]:
    """The keywords of a line with markers; ``above`` is the share of lines that lie above it, which are thinner."""
    return {**look, "linestyle": "-", "linewidth": 1.2 + 4.8 * above, "markersize": 5 + 7.5 * above}


def _head(figure: Any, title: str) -> None:
    """Above the plots what they show, and what lines mean, in as many columns as there is room for; the figure grows by it."""
    labels = [label for axes in figure.axes for label in axes.get_legend_handles_labels()[1]]
    words = textwrap.fill(title[:LABEL], int(figure.get_figwidth() / (1.15 * LETTER)))  # bold ones are wider
    figure.set_figheight(figure.get_figheight() + ROW * (1 + words.count("\n")))
    if not labels:
        figure.suptitle(words, x=0.01, ha="left", fontsize="medium", fontweight="bold")
        return

    def width(columns: int) -> float:
        """About how wide it is, in inches."""
        parts = np.array_split(np.array(labels, object), columns)
        return sum(SAMPLE + LETTER * max(map(len, part)) for part in parts)

    columns = max((n for n in range(1, len(labels) + 1) if width(n) <= figure.get_figwidth()), default=1)
    figure.set_figheight(figure.get_figheight() + ROW * -(-len(labels) // columns))
    look = {"size": "medium", "weight": "bold"}
    figure.legend(loc="outside upper left", ncols=columns, title=words, alignment="left", title_fontproperties=look)


def stacked(
    bars: Mapping[Cell, Sequence[float]], styles: Looks, parts: Mapping[str, float], *, beside: Sequence[str], xlabel: str
) -> Any:
    """A bar an entry, of parts that end where ``bars`` says, as opaque as ``parts`` says; ``beside`` stands at its end."""
    axes = Figure(figsize=(WIDTH, 0.8 + 0.34 * len(bars))).subplots()
    for height, (cell, ends) in enumerate(bars.items()):
        left, color = 0.0, styles[cell]["color"]
        for end, alpha in zip(ends, parts.values(), strict=True):
            axes.barh(height, max(end - left, 0.0), 0.6, left, facecolor=(color, alpha), edgecolor=color, linewidth=0.6)
            left = max(left, end)
        axes.annotate(beside[height], (left, height), (4, 0), textcoords="offset points", va="center")
    for part, alpha in parts.items():
        axes.barh(0, 0, facecolor=(INK, alpha), edgecolor=INK, linewidth=0.6, label=part)
    most = max(map(max, bars.values()))
    axes.set(xlim=(0, most * (1.1 + 0.02 * max(map(len, beside)))), ylim=(len(bars) - 0.5, -0.5), xlabel=xlabel)
    axes.set_yticks(range(len(bars)), [styles[cell]["label"] for cell in bars])
    axes.grid(visible=False, axis="y")
    return axes.figure


def plain(axis: Any, form: str) -> None:
    """A log axis with ticks in plain digits."""
    low, high = axis.get_view_interval()
    subs = (1, 2, 5) if high < 1000 * low else (1,)
    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]) if high < 5 * low else LogLocator(subs=subs))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(StrMethodFormatter(form))


def svg(figure: Any, ident: str, *, title: str, says: str) -> str:
    """SVG text fit for a page: own ids, title and description, page colours and font, nothing that points elsewhere.

    The title stands above, with a legend where something has a label.
    """
    _head(figure, title)
    buffer = io.StringIO()
    for text in figure.findobj(Text):  # of a label that is far too long matplotlib would take minutes to find the width
        text.set_text("\n".join(map(printable, text.get_text()[:LABEL].split("\n"))))  # no font has a control character
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    body = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", buffer.getvalue(), flags=re.DOTALL)
    _, *parts = re.split("(<[^>]+>)", body.partition("<svg")[2].partition(">")[2])
    tags, sheet = _slim("\n".join(" ".join(tag.split()) for tag in parts[::2]), ident)
    body = "".join(tag + text.strip() for tag, text in zip(tags.split("\n"), parts[1::2], strict=True))
    body = LONE.sub(r"\1", STYLED.sub(r'\2 class="\1"/>', body))
    width, height = figure.get_size_inches() * 72
    head = f'<svg id="{ident}" viewBox="0 0 {width:g} {height:g}" role="img" aria-labelledby="{ident}-title {ident}-desc">'
    words = f'<title id="{ident}-title">{escape(title)}</title><desc id="{ident}-desc">{escape(says)}</desc>'
    return f"{head}{words}<style>{sheet}</style>{body}"


def _slim(tags: str, ident: str) -> tuple[str, str]:
    """The tags of an SVG, a line each, with their own ids and with classes for styles, and the rules of these classes.

    Tags alone: what stands between them comes from outside.
    """
    tags = tags.replace("xlink:href=", "href=").replace(INK, "currentColor")
    tags = re.sub(r' font-family: [^;"]*;| transform="rotate\(-0 [^"]*"| clip-path="[^"]*"', "", tags)
    tags = re.sub(r"(\.\d)\d+", r"\1", tags)  # 0.1 pt is enough
    tags = re.sub(r'(?<=\d)\.0(?=[ "])', "", tags)
    tags = re.sub('(?<= d=")M[^C"]*', lambda path: path[0].replace(" L ", " "), tags)  # a line goes on to each point
    names: dict[str, str] = defaultdict(lambda: f"{ident}{len(names)}")  # short: a page has tens of thousands
    tags = re.sub('href="#([^"]+)', lambda link: f'href="#{names[link[1]]}', tags)
    tags = re.sub(' id="([^"]*)"', lambda own: f' id="{names[own[1]]}"' if own[1] in names else "", tags)
    styles: dict[str, str] = defaultdict(lambda: f"s{len(styles)}")
    tags = re.sub(' style="([^"]*)"', lambda own: f' class="{styles[own[1]]}"', tags)
    markers = r'<g>\n((?:<use .* class="(\w+)"/>\n)+)'  # all of one look
    tags = re.sub(markers, lambda g: f'<g class="{g[2]}">\n' + g[1].replace(f' class="{g[2]}"', ""), tags)
    return tags, "".join(f"#{ident} .{name}{{{style}}}" for style, name in styles.items())
