"""Whether models keep their answers in float16, picture by picture.

    python benchmarks/half_answers.py --images DIR --target linux-arm64-cortex-a76 \\
        model.onnx other.onnx:1x3x48x192 --mean 0.5 --std 0.5

A model takes one picture; a shape after a colon is what it is compiled for, and a name after
another its output that counts, the first if none is given. Its answer is where the last axis of
that is largest: a class, or a letter for each place. Each picture, scaled to the input's size, is
given to ONNX Runtime in float32 and to the artifact in float16, by an emulator where the target is
another kind of machine; the first pictures are the sample data too. A line tells how many answers
are the same, and the least margin between the first and the second; status 1 if some differ.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from armlet import api
from armlet.reference import reference_of

SUFFIXES = (".jpg", ".png")


@dataclass(frozen=True)
class Answer:
    picture: str
    same: bool
    #: between the largest and the next, of the reference
    margin: float
    error: float


def picture(file: Path, shape: tuple[int, ...], mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """[1, 3, height, width] or [1, height, width, 3] in RGB."""
    from PIL import Image

    last = shape[-1] == 3
    height, width = shape[1:3] if last else shape[2:]
    pixels = np.asarray(Image.open(file).convert("RGB").resize((width, height)), np.float32) / 255
    found = ((pixels - mean) / std).astype(np.float32)
    return np.ascontiguousarray((found if last else found.transpose(2, 0, 1))[None])


def answers(
    model: str, target: str, pictures: list[Path], mean: np.ndarray, std: np.ndarray
) -> Iterator[Answer]:
    path, shape, chosen, *_ = [*model.split(":"), "", ""]
    given = tuple(int(n) for n in shape.split("x")) if shape else None
    free = api.load(path).main.params[0]
    module = api.load(path, {free.name: given}) if given else api.load(path)
    (x,) = module.main.params
    inputs = [picture(p, x.type.static_shape, mean, std) for p in pictures]
    made = api.compile(module, target, precision="fp16", data={x.name: inputs[0]})
    reference, output = reference_of(module), chosen or module.outputs[0]
    for file, data in zip(pictures, inputs, strict=True):
        right, found = (m.run({x.name: data})[output] for m in (reference, made))
        first = np.sort(right, -1)
        yield Answer(
            file.name,
            bool((right.argmax(-1) == found.argmax(-1)).all()),
            float((first[..., -1] - first[..., -2]).min()),
            float(np.abs(right - found).max()),
        )


def main() -> int:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", metavar="MODEL[:SHAPE[:OUTPUT]]")
    parser.add_argument("--images", type=Path, required=True, metavar="DIR")
    parser.add_argument("--target", default="host")
    parser.add_argument("--mean", type=float, nargs="+", default=[0.485, 0.456, 0.406])
    parser.add_argument("--std", type=float, nargs="+", default=[0.229, 0.224, 0.225])
    arguments = parser.parse_args()
    mean, std = (np.array(a, np.float32) for a in (arguments.mean, arguments.std))
    pictures = sorted(p for p in arguments.images.iterdir() if p.suffix in SUFFIXES)
    differ = 0
    for model in arguments.models:
        found = list(answers(model, arguments.target, pictures, mean, std))
        wrong = [a for a in found if not a.same]
        differ += len(wrong)
        margin, error = min(a.margin for a in found), max(a.error for a in found)
        print(
            f"{model}: {len(found) - len(wrong)} of {len(found)} answers are the same, "
            f"least margin {margin:.3g}, largest error {error:.3g}"
        )
        for a in wrong:
            print(f"  {a.picture} differs: margin {a.margin:.3g}, error {a.error:.3g}")
    return 1 if differ else 0


if __name__ == "__main__":
    raise SystemExit(main())
