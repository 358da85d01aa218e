"""armlet and its peers on the benchmark models: one table of time, memory, size and error.

    python -m benchmarks                                  all models of benchmarks/zoo
    python -m benchmarks --models resnet18 det.onnx@x=1x3x640x640 --json table.json

Builds the models, installs the peers (each in an environment of its own, in armlet's cache),
converts, compares every answer with ONNX Runtime's, then measures in turns. ``--json`` keeps
the rows that the file has of other models, so a run can be done in pieces; ``--seconds 0``
only makes everything ready. Nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
from pathlib import Path

from armlet.errors import ArmletError
from armlet.targets import cores

from . import measure, report, store
from .peers import PEERS
from .subject import subject
from .zoo import MODELS


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--models", nargs="+", default=list(MODELS), metavar="NAME|MODEL.onnx[@INPUT=…]",
        help=f"of: {', '.join(MODELS)}; or files, with shapes or values of inputs",
    )  # fmt: skip
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=PEERS)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--seconds", type=float, default=1.0, help="for each runtime")
    parser.add_argument("--json", type=Path, help="where the figures are kept")
    return parser.parse_args()


def document(rows: dict[str, report.Row]) -> report.Document:
    """The rows in the order of the zoo, other models last, with what they were taken on."""
    order = [*MODELS, *sorted(rows.keys() - MODELS.keys())]
    return {
        "machine": machine(),
        "versions": {peer: store.packages(peer)[0].partition("==")[2] for peer in PEERS},
        "rows": [rows[name] for name in order if name in rows],
    }


def machine() -> str:
    text = Path("/proc/cpuinfo").read_text()
    names = re.findall(r"^(?:model name|Model)\s*: (.+)$", text, re.MULTILINE)
    return f"{names[0] if names else platform.machine()}, {cores()} CPUs"


def main() -> int:
    asked = arguments()
    rows: dict[str, report.Row] = {}
    if asked.json and asked.json.exists():
        rows = {row["model"]: row for row in json.loads(asked.json.read_text())["rows"]}
    for text in asked.models:
        try:
            found = measure.row(subject(text), asked.peers, asked.threads, asked.seconds)
        except ArmletError as error:
            print(error, file=sys.stderr)
            return 1
        print(f"{found['model']} done", file=sys.stderr, flush=True)
        if not asked.seconds:
            continue
        rows[found["model"]] = found
        if asked.json:
            asked.json.write_text(json.dumps(document(rows), indent=1) + "\n")
    if asked.seconds:
        print(report.markdown(document(rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
