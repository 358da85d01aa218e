"""``python -m benchmarks.zoo OUT_DIR [names…]``: writes benchmark models as ONNX files."""

from __future__ import annotations

import argparse
from pathlib import Path

import onnx

from . import MODELS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zoo", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(MODELS))
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(MODELS):
        parser.error(f"no such model: {', '.join(sorted(unknown))}; there are {', '.join(MODELS)}")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or MODELS:
        path = arguments.folder / f"{name}.onnx"
        onnx.save(MODELS[name](), path)
        print(path)


if __name__ == "__main__":
    main()
