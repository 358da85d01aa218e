"""Reads the text of a picture with three compiled models, beside ONNX Runtime.

    python examples/ocr/ocr.py examples/ocr/sign.jpg

The PP-OCRv4 detector, direction classifier and recogniser come out of the package
rapidocr-onnxruntime; `make demo` installs it. Exit status 1 if the two texts differ.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from rich.console import Console
from rich.table import Table

import armlet
from armlet.progress import progress_bar

PACKAGE = "rapidocr_onnxruntime"
FILES = {
    "detector": "ch_PP-OCRv4_det_infer.onnx",
    "classifier": "ch_ppocr_mobile_v2.0_cls_infer.onnx",
    "recogniser": "ch_PP-OCRv4_rec_infer.onnx",
}
LONGEST_SIDE = 640
CLASSIFIER_SIZE = (192, 48)
RECOGNISER_SIZE = (320, 48)
PIXEL_IS_TEXT, BOX_IS_TEXT, UNCLIP = 0.3, 0.5, 1.6

#: one model: image tensor in, first output out
Run = Callable[[np.ndarray], np.ndarray]


def model_path(name: str) -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        sys.exit("the models are not installed: pip install --no-deps rapidocr-onnxruntime==1.4.4")
    return Path(spec.submodule_search_locations[0]) / "models" / FILES[name]


# -- pictures to tensors --------------------------------------------------------------------------


def to_tensor(image: np.ndarray) -> np.ndarray:
    """BGR bytes [H,W,3] -> float32 [1,3,H,W] in -1..1."""
    scaled = (image.astype(np.float32) / 255 - 0.5) / 0.5
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None])


def detector_size(image: np.ndarray) -> tuple[int, int]:
    """Height and width for the detector: multiples of 32, at most ``LONGEST_SIDE``."""
    scale = min(1.0, LONGEST_SIDE / max(image.shape[:2]))
    height, width = (max(32, round(side * scale / 32) * 32) for side in image.shape[:2])
    return height, width


def fit(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A line of text at full height, padded on the right: [1,3,height,width]."""
    width, height = size
    own = min(width, max(1, round(image.shape[1] * height / image.shape[0])))
    tensor = np.zeros((1, 3, height, width), np.float32)
    tensor[..., :own] = to_tensor(cv2.resize(image, (own, height)))
    return tensor


# -- the detector's map to boxes ------------------------------------------------------------------


def find_boxes(probability: np.ndarray, image: np.ndarray) -> list[np.ndarray]:
    """Corners of each line of text, clockwise from the top left, from top to bottom."""
    mask = cv2.dilate((probability > PIXEL_IS_TEXT).astype(np.uint8), np.ones((2, 2), np.uint8))
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    scale = np.array(image.shape[1::-1]) / probability.shape[::-1]
    boxes = []
    for contour in contours:
        centre, (width, height), angle = cv2.minAreaRect(contour)
        inside = np.zeros_like(mask)
        cv2.drawContours(inside, [contour], -1, 1, cv2.FILLED)
        if min(width, height) < 3 or probability[inside > 0].mean() < BOX_IS_TEXT:
            continue
        # Vatti clipping of a rectangle: every side moves out by area * ratio / perimeter
        grow = width * height * UNCLIP / (width + height)
        corners = cv2.boxPoints((centre, (width + grow, height + grow), angle)) * scale
        boxes.append(clockwise(corners.astype(np.float32)))
    return sorted(boxes, key=lambda b: (round(float(b[:, 1].mean()) / 10), b[0, 0]))


def clockwise(corners: np.ndarray) -> np.ndarray:
    total, difference = corners.sum(1), np.diff(corners, axis=1)[:, 0]
    order = [total.argmin(), difference.argmin(), total.argmax(), difference.argmax()]
    return corners[order]


def crop(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    width = max(1, round(float(np.linalg.norm(box[0] - box[1]))))
    height = max(1, round(float(np.linalg.norm(box[0] - box[3]))))
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(box, target)
    line = cv2.warpPerspective(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.rot90(line) if height > 1.5 * width else line


# -- the whole ------------------------------------------------------------------------------------


@dataclass
class Reader:
    """Three models and the letters that the recogniser knows."""

    detector: Run
    classifier: Run
    recogniser: Run
    letters: list[str]

    def read(self, image: np.ndarray) -> list[str]:
        height, width = detector_size(image)
        probability = self.detector(to_tensor(cv2.resize(image, (width, height))))[0, 0]
        lines = [self.read_line(crop(image, box)) for box in find_boxes(probability, image)]
        return [line for line in lines if line]

    def read_line(self, line: np.ndarray) -> str:
        upside_down = self.classifier(fit(line, CLASSIFIER_SIZE))[0, 1] > 0.9
        if upside_down:
            line = np.ascontiguousarray(line[::-1, ::-1])
        best = self.recogniser(fit(line, RECOGNISER_SIZE))[0].argmax(-1)
        # CTC: repeated letters are one, class 0 is the blank
        kept = [b for a, b in zip([0, *best], best) if b != a and b != 0]
        return "".join(self.letters[i] for i in kept).strip()


class Timed:
    """A model that remembers how long its calls took."""

    def __init__(self, run: Run) -> None:
        self.run, self.seconds = run, list[float]()

    def __call__(self, tensor: np.ndarray) -> np.ndarray:
        start = time.perf_counter()
        answer = self.run(tensor)
        self.seconds.append(time.perf_counter() - start)
        return answer

    @property
    def median_ms(self) -> float:
        return float(np.median(self.seconds)) * 1e3


def armlet_model(name: str, height: int, width: int) -> Timed:
    with progress_bar(f"compile {name}") as progress:
        model = armlet.compile(
            model_path(name), shapes={"x": (1, 3, height, width)}, progress=progress
        )
    output = model.outputs[0].name
    return Timed(lambda tensor: model.run({"x": tensor})[output])


def onnx_model(name: str) -> Timed:
    session = onnxruntime.InferenceSession(model_path(name), providers=["CPUExecutionProvider"])
    return Timed(lambda tensor: session.run(None, {"x": tensor})[0])


def letters_of_recogniser() -> list[str]:
    session = onnxruntime.InferenceSession(
        model_path("recogniser"), providers=["CPUExecutionProvider"]
    )
    known = session.get_modelmeta().custom_metadata_map["character"].splitlines()
    return ["", *known, " "]


def main(path: str) -> int:
    image = cv2.imread(path)
    if image is None:
        sys.exit(f"{path} is not a picture")
    sizes = {
        "detector": detector_size(image),
        "classifier": CLASSIFIER_SIZE[::-1],
        "recogniser": RECOGNISER_SIZE[::-1],
    }
    letters = letters_of_recogniser()
    ours = {name: armlet_model(name, *size) for name, size in sizes.items()}
    theirs = {name: onnx_model(name) for name in sizes}
    texts = []
    for models in (ours, theirs):
        reader = Reader(*models.values(), letters)
        reader.read(image)
        texts += [reader.read(image) for _ in range(5)][-1:]

    console = Console()
    table = Table("line", "armlet", "ONNX Runtime", title=path)
    for number, pair in enumerate(zip(*texts), 1):
        table.add_row(str(number), *pair)
    console.print(table)
    table = Table("model", "armlet ms", "ONNX Runtime ms", title="latency, median")
    for name in sizes:
        table.add_row(name, f"{ours[name].median_ms:.2f}", f"{theirs[name].median_ms:.2f}")
    console.print(table)
    console.print(" / ".join(texts[0]))
    if texts[0] != texts[1]:
        console.print("[red]the texts differ")
    return int(texts[0] != texts[1])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
