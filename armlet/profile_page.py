"""The page of ``armlet profile --html``: timeline, layers by loss, roofline, memory, table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .page import BLUE, GREEN, GREY, ORANGE, Section, chart, page, table
from .profile import LayerProfile
from .roofline import Machine

#: layers in the chart of those that lose most
MOST = 25
_COLORS = {"compute": BLUE, "cache": GREEN, "memory": ORANGE, "device": GREY}


def profile_page(
    name: str, machine: Machine, layers: Sequence[LayerProfile], arena_bytes: int
) -> str:
    seconds = sum(layer.seconds for layer in layers)
    macs = sum(layer.macs for layer in layers)
    share = 2 * macs / machine.flops / seconds if seconds else 0.0
    figures = [
        ("one run", f"{seconds * 1e3:.3f} ms"),
        ("threads", str(machine.threads)),
        ("of the multiply-add peak", f"{share:.0%}"),
        ("peak here", f"{machine.flops / 1e9:.0f} GFLOP/s"),
        ("arena", f"{arena_bytes / 1024:.0f} KiB"),
        ("tasks", str(len(layers))),
    ]
    text = (
        "Each task beside the least time that this machine needs for its arithmetic or for moving "
        "its data. Algorithms that save arithmetic (Winograd) may go below it."
    )
    sections = [
        Section("Timeline", "One run, task by task, by what bounds a task.", _time(layers)),
        Section("Lost time", "Time beyond the roofline: what there is to gain.", _loss(layers)),
        Section("Roofline", "Operations a byte, and the speed reached.", _roof(machine, layers)),
        Section("Memory", "Bytes of the arena that matter.", _memory(layers, arena_bytes)),
        Section("All tasks", "In order of execution.", _table(layers)),
    ]
    return page(f"Profile of {name}", text, figures, sections)


def _hover(layer: LayerProfile) -> str:
    speed = f"{layer.gflops:.1f} GFLOP/s, " if layer.macs else ""
    return (
        f"<b>{layer.layer}</b><br>{layer.operators}<br>{layer.template} {layer.config}<br>"
        f"{layer.seconds * 1e6:.1f} us, {speed}{layer.gbytes:.1f} GB/s<br>"
        f"{layer.device}"
        + (f", {layer.efficiency:.0%} of the {layer.limit} bound" if layer.bound else "")
    )


def _bars(layers: Sequence[LayerProfile], name: str, **values: Any) -> Any:
    import plotly.graph_objects as go

    hover = {"hovertext": [_hover(layer) for layer in layers], "hoverinfo": "text"}
    return go.Bar(name=name, orientation="h", **hover, **values)


def _time(layers: Sequence[LayerProfile]) -> str:
    traces = []
    for limit, color in _COLORS.items():
        of = [layer for layer in layers if layer.limit == limit]
        traces.append(
            _bars(
                of, limit, y=["run"] * len(of), x=[layer.seconds * 1e3 for layer in of],
                base=[layer.start * 1e3 for layer in of],
                marker={"color": color, "line": {"color": "white", "width": 0.5}},
            )
        )  # fmt: skip
    return chart(
        traces, 190, barmode="overlay", xaxis_title="ms", yaxis_visible=False,
    )  # fmt: skip


def _loss(layers: Sequence[LayerProfile]) -> str:
    most = sorted(layers, key=lambda layer: -layer.loss)[:MOST][::-1]
    names = [f"{layer.layer} · {i}" for i, layer in enumerate(most)]
    short = [layer.layer if len(layer.layer) < 48 else f"…{layer.layer[-47:]}" for layer in most]
    bound = [min(layer.bound, layer.seconds) * 1e6 for layer in most]
    traces = [
        _bars(most, "needed", y=names, x=bound, marker_color=GREY),
        _bars(most, "lost", y=names, x=[layer.loss * 1e6 for layer in most], marker_color=ORANGE),
    ]
    return chart(
        traces, 120 + 22 * len(most), barmode="stack", xaxis_title="us",
        yaxis={"tickvals": names, "ticktext": short}
    )  # fmt: skip


def _roof(machine: Machine, layers: Sequence[LayerProfile]) -> str:
    import plotly.graph_objects as go

    working = [layer for layer in layers if layer.macs]
    intensity = [2 * layer.macs / layer.moved_bytes for layer in working]
    ends = [min([0.1, *intensity]), max([1000.0, *intensity])]
    points = go.Scatter(
        x=intensity, y=[layer.gflops for layer in working], mode="markers", name="layers",
        marker={"color": BLUE, "size": [6 + 40 * layer.share**0.5 for layer in working],
                "opacity": 0.6},
        hovertext=[_hover(layer) for layer in working], hoverinfo="text",
    )  # fmt: skip
    roofs = []
    for name, bandwidth, color in (
        ("cache", machine.cache_bandwidth, GREEN), ("memory", machine.memory_bandwidth, ORANGE),
    ):  # fmt: skip
        ridge = machine.flops / bandwidth
        x = sorted({ends[0], ridge, ends[1]})
        y = [min(machine.flops, bandwidth * at) / 1e9 for at in x]
        roofs.append(go.Scatter(x=x, y=y, mode="lines", name=name, line_color=color))
    return chart(
        [*roofs, points], 420, xaxis_type="log", yaxis_type="log",
        xaxis_title="operations / byte", yaxis_title="GFLOP/s",
    )  # fmt: skip


def _memory(layers: Sequence[LayerProfile], arena_bytes: int) -> str:
    import plotly.graph_objects as go

    end = sum(layer.seconds for layer in layers)
    x = [*(layer.start * 1e3 for layer in layers), end * 1e3]
    live = [layer.live_bytes / 1024 for layer in layers]
    curve = go.Scatter(
        x=x, y=[*live, *live[-1:]], line_shape="hv", fill="tozeroy", line_color=BLUE, name="live",
        hovertext=[layer.layer for layer in layers],
    )  # fmt: skip
    whole = go.Scatter(
        x=[0, end * 1e3], y=[arena_bytes / 1024] * 2, mode="lines", name="arena", line_color=GREY
    )
    return chart([curve, whole], 280, xaxis_title="ms", yaxis_title="KiB")


def _table(layers: Sequence[LayerProfile]) -> str:
    columns = [
        "layer", "device", "operators", "template", "config", ">us", ">share", ">GFLOP/s", ">GB/s",
        ">of roofline", "limit", ">live KiB",
    ]  # fmt: skip
    return table(
        columns,
        (
            (
                layer.layer, layer.device, layer.operators, layer.template, layer.config,
                f"{layer.seconds * 1e6:.1f}", f"{layer.share:.1%}",
                f"{layer.gflops:.1f}" if layer.macs else "", f"{layer.gbytes:.1f}",
                f"{layer.efficiency:.0%}", layer.limit, f"{layer.live_bytes / 1024:.0f}",
            )
            for layer in layers
        ),
    )  # fmt: skip
