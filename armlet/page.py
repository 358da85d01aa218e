"""Self-contained HTML pages: text, charts and tables in one file that needs no network.

Charts are Plotly's; its JavaScript is put into the page once. ``profile_page.py`` and the
tuner's report are such pages.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from armlet.errors import OutputError, SettingError

#: one colour a meaning, in all charts; told apart by the colour-blind too (Okabe and Ito)
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#9AA5B1"

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1c2733; margin: 2rem auto; max-width: 75rem;
       padding: 0 1.5rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; } h2 { font-size: 1.2rem; margin: 2.2rem 0 .2rem; }
p { margin: .2rem 0 .8rem; max-width: 55rem; color: #3d4b5a; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1rem 0; }
.figures div { background: #f2f5f8; border-radius: .5rem; padding: .6rem 1rem; }
.figures b { display: block; font-size: 1.25rem; }
table { border-collapse: collapse; font-size: .85rem; width: 100%; }
.wide { overflow-x: auto; }
th, td { text-align: left; white-space: nowrap; padding: .25rem .6rem;
         border-bottom: 1px solid #e3e8ee; }
th { position: sticky; top: 0; background: #fff; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
"""


@dataclass(frozen=True)
class Section:
    title: str
    text: str
    #: HTML of ``chart`` or ``table``
    body: str


def page(
    title: str, text: str, figures: Iterable[tuple[str, str]], sections: Iterable[Section]
) -> str:
    """A page; ``figures`` are (what, value), shown large at its top."""
    boxes = "".join(f"<div>{escape(what)}<b>{escape(value)}</b></div>" for what, value in figures)
    parts = "".join(
        f"<section><h2>{escape(s.title)}</h2><p>{escape(s.text)}</p>{s.body}</section>"
        for s in sections
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>'
        f"<script>{_script()}</script></head><body><h1>{escape(title)}</h1><p>{escape(text)}</p>"
        f'<div class="figures">{boxes}</div>{parts}</body></html>\n'
    )


def chart(traces: Sequence[Any], height: int = 360, **layout: Any) -> str:
    """A Plotly figure of ``traces``; ``layout`` as ``plotly.graph_objects.Layout`` takes it."""
    graph_objects = _plotly().graph_objects
    margin = {"l": 10, "r": 10, "t": 40, "b": 40}
    figure = graph_objects.Figure(traces)
    legend = {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"}
    figure.update_layout(
        template="simple_white", height=height, margin=margin, legend=legend, **layout
    )
    figure.update_yaxes(automargin=True)
    options = {"displaylogo": False, "responsive": True}
    return figure.to_html(full_html=False, include_plotlyjs=False, config=options)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; columns whose name begins with ">" are numbers."""
    kinds = [' class="number"' if c.startswith(">") else "" for c in columns]
    head = "".join(f"<th{k}>{escape(c.lstrip('>'))}</th>" for k, c in zip(kinds, columns))
    body = "".join(
        "<tr>" + "".join(f"<td{k}>{escape(cell)}</td>" for k, cell in zip(kinds, row)) + "</tr>"
        for row in rows
    )
    inner = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="wide"><table>{inner}</table></div>'


def publish(path: Path, html: str) -> None:
    """Writes a page, beside and then renamed: there is never half of one."""
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            file.write(html)
        os.chmod(file.name, 0o644)
        os.replace(file.name, path)
    except OSError as error:
        raise OutputError(
            f"the page cannot be written: {error.strerror}", where=str(path)
        ) from error


def _plotly() -> Any:
    try:
        import plotly.graph_objects
    except ImportError as error:
        raise SettingError(
            "pages need the package plotly", way_out="python -m pip install 'armlet[html]'"
        ) from error
    return plotly


def _script() -> str:
    _plotly()
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()
