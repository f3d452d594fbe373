"""The report's pictures: what ``reports/figures/*.py`` draw, in one look, saved and embedded.

A figure file has one function ``draw(results)`` that yields `Drawn`. The look (fonts, colours,
sizes in inches of a page) and the few things that several figures share are here too.
"""

from __future__ import annotations

import base64
import importlib.util
import io
import os
import re
import textwrap
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dgnbench.contract import CONTROLS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dgnbench.results import Results

PAGE = 11.2  # inches across the report's column
CSS_PX = 96  # of an inch, so that 8 points are 10.7 pixels on the page
SHARPNESS = 1.5  # pixels of a raster to one of the page, and 1 where the figure is tall
TALL = 800  # of the page's pixels
MOST_EMBEDDED = (
    11_000_000  # letters of all pictures of a page; the files beside it stay as they are
)
WRONG = 24  # of 255, by which a pixel of a raster may be off: neighbours on viridis stay apart
MOST_MARKS = 4000  # beyond, an SVG is never the smaller one
# Bytes up to which an SVG is taken even where a raster is smaller: more for the few figures of a
# whole task than for those of every dataset.
LIGHT_SVG, LIGHT_SVG_OF_DATASET = 150_000, 60_000

MOST_CELLS, FEWEST_CELLS, MOST_POINTS = 2000, 300, 20_000  # in a panel, and in all of them
GREY, INK = "#9aa3ad", "#1c2430"
# Okabe & Ito 2008, https://jfly.uni-koeln.de/color/; yellow last, it is faint on white.
OKABE_ITO = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000", "#F0E442",
)  # fmt: skip
BEFORE, AFTER = GREY, "#D55E00"  # what was given or real, what a method made of it

STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8.5,
    "legend.title_fontsize": 9,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#5a6675",
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "grid.color": "#d5dbe3",
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.2,
    "svg.fonttype": "none",
    "figure.max_open_warning": 0,
}


@dataclass(frozen=True, eq=False)
class Drawn:
    """One figure of a figure file; `task` "" is the whole benchmark, `dataset` "" a whole task."""

    task: str
    dataset: str
    title: str
    alt: str
    figure: Figure


@dataclass(frozen=True)
class Picture:
    """A figure, saved as `file` and embedded as `src`; `width` and `height` in the page's pixels."""

    task: str
    dataset: str
    name: str
    title: str
    alt: str
    src: str
    file: Path
    width: int
    height: int


@dataclass(frozen=True)
class Failed:
    """A figure file that raised: what and where."""

    name: str
    reason: str


def pictures(
    results: Results, figures_dir: Path, save_to: Path
) -> tuple[list[Picture], list[Failed]]:
    """Run every figure file, in the order of their names.

    Parameters
    ----------
    results
        A finished benchmark.
    figures_dir
        Holds ``<name>.py`` with ``draw(results)``, which yields `Drawn`.
    save_to
        Gets ``<name>[-task[-dataset]].png`` or ``.svg``; older pictures there are removed.

    Returns
    -------
    The pictures, and the figure files that raised; what these drew before stays.
    """
    import matplotlib as mpl
    from cycler import cycler

    save_to.mkdir(parents=True, exist_ok=True)
    for stale in [*save_to.glob("*.png"), *save_to.glob("*.svg")]:
        stale.unlink()
    made: list[Picture] = []
    failed: list[Failed] = []
    for file in sorted(figures_dir.glob("*.py")):
        with mpl.rc_context({**STYLE, "axes.prop_cycle": cycler(color=OKABE_ITO)}):
            try:
                for drawn in _draw(file, results):
                    made.append(_picture(file.stem, drawn, save_to))
            except Exception as error:  # whatever a figure file does, the report is made
                failed.append(Failed(file.stem, _reason(error, file)))
    return _within(MOST_EMBEDDED, made), failed


def _within(most: int, made: list[Picture]) -> list[Picture]:
    """The pictures; where all together are too heavy for a page, its rasters in fewer bytes."""
    vectors = sum(len(picture.src) for picture in made if picture.file.suffix == ".svg")
    rasters = sum(len(picture.src) for picture in made) - vectors
    if vectors + rasters <= most or not rasters:
        return made
    share = max(0.1, (most - vectors) / rasters)
    return [p if p.file.suffix == ".svg" else replace(p, src=_smaller(p, share)) for p in made]


def _smaller(picture: Picture, share: float) -> str:
    """A raster in at most that share of its bytes, first with losses, then with fewer pixels too."""
    from PIL import Image

    image = Image.open(picture.file).convert("RGB")
    room = (share * len(picture.src) - 32) * 3 / 4  # base64 behind the kind of the image
    scale, buffer = 1.0, io.BytesIO()
    while scale > 0.2:
        buffer = io.BytesIO()
        size = (max(1, int(image.width * scale)), max(1, int(image.height * scale)))
        image.resize(size, Image.Resampling.LANCZOS).save(buffer, "WEBP", quality=60)
        if buffer.tell() <= room:
            break
        scale *= 0.85
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _draw(file: Path, results: Results) -> Iterator[Drawn]:
    spec = importlib.util.spec_from_file_location(f"dgnbench_figure_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} cannot be read as Python")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for drawn in module.draw(results):
        if not isinstance(drawn, Drawn):
            raise TypeError(
                f"draw() of {file.name} yielded {type(drawn).__name__}; "
                "wanted dgnbench.pictures.Drawn(task, dataset, title, alt, figure)"
            )
        yield drawn


def _reason(error: Exception, file: Path) -> str:
    """What was raised, and the last line of the figure file on the way there."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == file]
    where = f" ({file.name}, line {lines[-1]})" if lines else f" ({file.name})"
    return f"{type(error).__name__}: {error}{where}"


def _picture(name: str, drawn: Drawn, save_to: Path) -> Picture:
    from matplotlib import pyplot as plt

    stem = "-".join(part for part in (name, drawn.task, drawn.dataset) if part)
    count = len(
        [f for f in save_to.iterdir() if re.fullmatch(re.escape(stem) + r"(-\d+)?", f.stem)]
    )
    stem = f"{stem}-{count + 1}" if count else stem
    light = LIGHT_SVG_OF_DATASET if drawn.dataset else LIGHT_SVG
    content, embedded, kind = _encoded(drawn.figure, stem, light)
    width, height = drawn.figure.get_size_inches() * CSS_PX
    plt.close(drawn.figure)  # where a figure file made it by pyplot
    file = save_to / f"{stem}.{'svg' if kind == 'svg+xml' else 'png'}"
    file.write_bytes(content)
    src = f"data:image/{kind};base64,{base64.b64encode(embedded).decode()}"
    return Picture(
        drawn.task, drawn.dataset, name, drawn.title, drawn.alt, src, file,
        round(width), round(height),
    )  # fmt: skip


def _encoded(figure: Figure, identity: str, light: int) -> tuple[bytes, bytes, str]:
    """What is saved, what is embedded and its kind: SVG where it is light or at least no heavier."""
    vector = _svg(figure, identity) if _marks(figure) <= MOST_MARKS else b""
    if 0 < len(vector) <= light:
        return vector, vector, "svg+xml"
    png, webp = _rasters(figure)
    if 0 < len(vector) <= len(webp):
        return vector, vector, "svg+xml"
    return png, webp, "webp"


def _marks(figure: Figure) -> int:
    from matplotlib.collections import Collection
    from matplotlib.lines import Line2D

    collections: list[Any] = figure.findobj(Collection)
    lines: list[Any] = figure.findobj(Line2D)
    marks = sum(max(len(c.get_offsets()), len(c.get_paths())) for c in collections)
    return marks + sum(len(line.get_xdata()) for line in lines) // 10  # a vertex is short


def _rasters(figure: Figure) -> tuple[bytes, bytes]:
    """The same few-coloured pixels as PNG, for whoever takes the file, and as WebP, a third less."""
    from PIL import Image, ImageChops

    tall = figure.get_size_inches()[1] * CSS_PX > TALL
    full, png, webp = io.BytesIO(), io.BytesIO(), io.BytesIO()
    figure.savefig(full, format="png", dpi=CSS_PX * (1 if tall else SHARPNESS))
    true = Image.open(full).convert("RGB")
    # The fewest with which the dots of a rare cell type do not get a neighbour's colour.
    for shades in (16, 32, 64, 128, 256):
        image = true.quantize(shades, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        off: Any = ImageChops.difference(true, image.convert("RGB")).getextrema()
        if max(high for _, high in off) <= WRONG:
            break
    image.save(png, "PNG", optimize=True)
    image.convert("RGB").save(webp, "WEBP", lossless=True, quality=60)  # of the search, not of it
    return png.getvalue(), webp.getvalue()


def _svg(figure: Figure, identity: str) -> bytes:
    """An SVG whose ids begin with its own name, so that several may stand in one page."""
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": identity}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    own = re.sub(r"\W+", "_", identity)
    text = re.sub(r"<!--.*?-->", "", buffer.getvalue(), flags=re.DOTALL)
    text = re.sub(r">\s*\n\s*<", "><", text)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{own}.\1"', text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{own}.\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{own}.\1)", text)
    return text.encode()


# ------------------------------------------------------------ what figure files have in common


def colours(n: int) -> list[Any]:
    """Colours for `n` categories: Okabe-Ito up to 8, else along viridis without its palest end."""
    import matplotlib as mpl

    if n <= len(OKABE_ITO):
        return list(OKABE_ITO[:n])
    return list(mpl.colormaps["viridis"](np.linspace(0, 0.95, n)))


def short(label: str, letters: int, lines: int = 1) -> str:
    """A label in at most so many lines of so many letters; what is too much is left out within."""
    label = label.replace("$", r"\$")  # or two of them would be taken for a formula
    if len(label) <= letters:
        return label
    room = letters * lines
    wrapped = textwrap.wrap(label, letters)
    while len(wrapped) > lines:
        room -= 1
        begin = (room - 1) * 3 // 5
        wrapped = textwrap.wrap(
            f"{label[:begin]}…{label[len(label) - (room - 1 - begin) :]}", letters
        )
    return "\n".join(wrapped)


def short_apart(labels: Sequence[str], letters: int, lines: int = 1) -> list[str]:
    """Short labels; of those that would look the same only what follows their common beginning."""
    found = [short(label, letters, lines) for label in labels]
    for twin in {f for f in found if found.count(f) > 1}:
        places = [i for i, f in enumerate(found) if f == twin]
        alike = len(os.path.commonprefix([labels[i] for i in places]))  # noqa: RUF071 (letters are meant)
        for i in places:
            found[i] = short(f"…{labels[i][max(0, alike - 1) :]}", letters, lines)
    return found


def methods_shown(results: Results, task: str, dataset: str, control: str = "") -> list[str]:
    """Methods with an output, then baselines, then one control where it is asked for."""
    ok = results.ok_methods(task, dataset)
    by_role = [[m for m in ok if results.role(m) == role] for role in ("method", "baseline")]
    shown = by_role[0] + by_role[1]
    return [*shown, control] if shown and control in ok else shown


def primary_scores(results: Results, task: str) -> Any:
    """The task's scaled primary scores, those without a value left out."""
    scores = results.scores[results.scores["primary"].astype(bool)]
    return scores[(scores["task"] == task) & scores["scaled"].notna()]


def is_control(role: str) -> bool:
    """Whether a role is floor or ceiling."""
    return role in CONTROLS


def some(n: int, panels: int) -> Any:
    """Some of `n` cells or genes, always the same ones, in random order: the fewer, the more panels."""
    most = min(MOST_CELLS, max(FEWEST_CELLS, MOST_POINTS // max(1, panels)))
    return np.random.default_rng(0).permutation(n)[:most]


def dense(matrix: Any) -> Any:
    """A float64 array of a dense or sparse matrix."""
    return np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix, dtype=np.float64)


def mean_and_variance(matrix: Any) -> tuple[Any, Any]:
    """Mean and variance of every gene, a few thousand cells at a time."""
    total, squares = np.zeros(matrix.shape[1]), np.zeros(matrix.shape[1])
    for start in range(0, matrix.shape[0], 4096):
        block = dense(matrix[start : start + 4096])
        total += block.sum(axis=0)
        squares += (block**2).sum(axis=0)
    mean = total / max(1, matrix.shape[0])
    return mean, np.maximum(squares / max(1, matrix.shape[0]) - mean**2, 0)


@dataclass(frozen=True)
class Grid:
    """Panels of one size on a figure, row by row."""

    figure: Figure
    axes: list[Any]
    columns: int
    panel: float

    @classmethod
    def of(
        cls, n: int, *, per_row: int = 6, widest: float = 2.2, aspect: float = 1.0,
        gap: tuple[float, float] = (0.12, 0.42), together: int = 1, left: float = 0.12,
        bottom: float = 0.12, top: float = 0.4, least: float = 5.5,
    ) -> Grid:  # fmt: skip
        """Make `n` panels, at most `per_row` in a row.

        Parameters
        ----------
        widest
            Width of a panel at most, in inches; less where a full row would leave the page.
        aspect
            Height over width.
        gap
            Between panels, across and down, in inches: room for ticks and titles.
        together
            So many rows stand close to each other, without room for titles between.
        left, bottom, top
            Margins in inches.
        least
            Width of the figure at least, so that legends and labels have room.
        """
        from matplotlib.figure import Figure

        right = 0.15
        rows = -(-n // per_row)
        columns = -(-n // rows)  # seven are four and three, not six and one
        wide = min(widest, (PAGE - left - right - (columns - 1) * gap[0]) / columns)
        high = wide * aspect
        width = max(least, left + right + columns * wide + (columns - 1) * gap[0])
        depth = [
            row * high + (row // together) * gap[1] + (row - row // together) * gap[0]
            for row in range(rows)
        ]  # of a row's upper edge below the first one's
        height = top + bottom + depth[-1] + high
        figure = Figure(figsize=(width, height))
        axes = []
        for i in range(n):
            row, column = divmod(i, columns)
            x = left + column * (wide + gap[0])
            y = height - top - high - depth[row]
            axes.append(figure.add_axes((x / width, y / height, wide / width, high / height)))
        return cls(figure, axes, columns, wide)

    def outer_ticks_only(self) -> None:
        """Number the leftmost and the lowest panels' axes alone; all have the same limits."""
        for i, axis in enumerate(self.axes):
            axis.tick_params(
                labelleft=i % self.columns == 0, labelbottom=i + self.columns >= len(self.axes)
            )

    def log_log(self, low: Any, high: Any) -> None:
        """Logarithmic axes from `low` to `high` (x, y), of a decade at least, the same in all."""
        middle, half = np.log10(low * high) / 2, np.maximum(np.log10(high / low) / 2 + 0.15, 0.55)
        (left, lower), (right, upper) = 10 ** (middle - half), 10 ** (middle + half)
        for axis in self.axes:
            axis.set(xscale="log", yscale="log", xlim=(left, right), ylim=(lower, upper))
            axis.minorticks_off()
        self.outer_ticks_only()

    def titles(self, labels: Sequence[str]) -> None:
        """Name the panels, in two lines where one is too short."""
        letters = int(self.panel * 72 / 5.6)  # 9 points of DejaVu Sans are 5.4 wide, on average
        for axis, label in zip(self.axes, short_apart(labels, letters, 2), strict=True):
            axis.set_title(label, pad=4, linespacing=1.0)

    def axis_labels(self, x: str, y: str) -> None:
        """Name both axes once, below and left of all panels."""
        width, height = self.figure.get_size_inches()
        boxes = [axis.get_position() for axis in self.axes]
        right, top = max(b.x1 for b in boxes), max(b.y1 for b in boxes)
        left, bottom = min(b.x0 for b in boxes), min(b.y0 for b in boxes)
        self.figure.text((left + right) / 2, bottom - 0.42 / height, x, ha="center", va="center")
        self.figure.text(
            left - 0.48 / width, (bottom + top) / 2, y, ha="center", va="center", rotation=90
        )


def key_size(names: Sequence[str], width: float) -> tuple[int, float]:
    """Columns and height in inches of a `key` without title, on a figure of that width."""
    letters = [min(len(name), 30) for name in names] or [1]
    columns = int((width - 0.2) / (0.42 + 0.074 * max(letters)))
    if sum(0.42 + 0.074 * n for n in letters) <= width - 0.2:
        columns = len(letters)
    rows = -(-len(letters) // max(1, columns))
    return -(-len(letters) // rows), 0.14 + 0.178 * rows


def key(
    figure: Figure, title: str, names: Sequence[str], marks: Sequence[dict[str, Any]],
    down: float = 0.06,
) -> None:  # fmt: skip
    """A legend from the left of the figure on, so many inches below its upper edge.

    Above the panels: a figure of many methods is taller than a screen.
    """
    from matplotlib.lines import Line2D

    width, height = figure.get_size_inches()
    handles = [Line2D([], [], **mark) for mark in marks]
    figure.legend(
        handles, short_apart(names, 30), title=title, alignment="left",
        ncols=key_size(names, width)[0], loc="upper left", borderaxespad=0, handletextpad=0.3,
        bbox_to_anchor=(0.1 / width, 1 - down / height), labelspacing=0.3, columnspacing=1.2,
        handlelength=1.4,
    )  # fmt: skip
