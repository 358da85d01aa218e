"""armlet for WebAssembly beside onnxruntime-web: one thread, in Node and on a page in Chromium.

    npm install --prefix /tmp/ort onnxruntime-web
    python -m benchmarks.zoo /tmp/zoo mobilenet_v1 mobilenet_v2
    python -m benchmarks.web --ort /tmp/ort /tmp/zoo/mobilenet_v1.onnx /tmp/zoo/mobilenet_v2.onnx

Both run in one process (or page), in turns,
after their answers are compared; times are medians in milliseconds. ``--target wasm32+relaxed``
measures relaxed SIMD.
"""

from __future__ import annotations

import argparse
import functools
import json
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from armlet import api, emulator
from armlet.compiler.link.runtime import HEADER
from armlet.targets import target

HERE = Path(__file__).parent / "web_pages"
BINDING = HEADER.parents[1] / "bindings" / "js" / "armlet.mjs"
CHROMIUM = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
    "--disable-background-timer-throttling",
)  # fmt: skip
PEER = "onnxruntime-web"


class _Handler(SimpleHTTPRequestHandler):
    """Serves a folder and takes what the page finds."""

    extensions_map = {
        **SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def __init__(self, answers: queue.Queue[Any], *arguments: Any, **options: Any) -> None:
        self.answers = answers
        super().__init__(*arguments, **options)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()
        self.answers.put(json.loads(body))

    def log_message(self, *_: object) -> None:
        pass


def in_node(artifact: Path, model: Path, ort: Path, chosen: str) -> dict[str, Any]:
    command = emulator.find(target(chosen)).command
    arguments = [*command, HERE / "node.mjs", BINDING, ort, artifact, model]
    done = subprocess.run([*map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def in_chromium(artifact: Path, model: Path, ort: Path, chosen: str) -> dict[str, Any]:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise RuntimeError("Chromium is not installed")
    answers: queue.Queue[Any] = queue.Queue()
    with tempfile.TemporaryDirectory(prefix="armlet-web-", ignore_cleanup_errors=True) as name:
        site = Path(name, "site")
        site.mkdir()
        for path in (HERE / "index.html", HERE / "compare.mjs", BINDING):
            shutil.copy(path, site)
        shutil.copy(artifact, site / "model.wasm")
        shutil.copy(model, site / "model.onnx")
        (site / "ort").symlink_to(ort.resolve())
        handler = functools.partial(_Handler, answers, directory=str(site))
        with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            page = f"http://127.0.0.1:{server.server_port}/index.html"
            command = [browser, *CHROMIUM, f"--user-data-dir={name}/profile"]
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            process = subprocess.Popen([*command, "--remote-debugging-port=0", page], **quiet)
            try:
                found = answers.get(timeout=300)
            finally:
                process.terminate()
                process.wait()
                server.shutdown()
    if "failed" in found:
        raise RuntimeError(found["failed"])
    return found


ENGINES = {"node": in_node, "chromium": in_chromium}


def measure(model: Path, chosen: str, ort: Path, engines: list[str]) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="armlet-web-") as folder:
        artifact = Path(folder, "model.wasm")
        api.compile(model, chosen).save(artifact)
        return [
            {"model": model.stem, "engine": e, **ENGINES[e](artifact, model, ort, chosen)}
            for e in engines
        ]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL.onnx")
    parser.add_argument("--ort", type=Path, required=True, help=f"where npm installed {PEER}")
    parser.add_argument("--target", default="wasm32")
    parser.add_argument("--engine", choices=ENGINES, action="append")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    ort = options.ort / "node_modules" / PEER / "dist"
    engines = options.engine or list(ENGINES)
    rows = [r for m in options.models for r in measure(m, options.target, ort, engines)]
    if options.json:
        print(json.dumps(rows))
        return 0
    table = Table("model", "engine", "armlet ms", f"{PEER} ms", "of it", "error")
    for row in rows:
        mine, theirs = row["median"]["armlet"], row["median"][PEER]
        table.add_row(
            row["model"], row["engine"], f"{mine:.1f}", f"{theirs:.1f}", f"{mine / theirs:.2f}",
            f"{row['error']:.0e}",
        )  # fmt: skip
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
