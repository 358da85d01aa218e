"""What the way to a device costs: python -m benchmarks.devices [DEVICE]

Without a device, agents are started on this machine, with a key and without. The upload is compared
with the same frames, authenticated and encrypted, which the agent reads and refuses. Times of
uploads are the least of several, taken in turns.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx

from armlet import api
from armlet.compiler.link.agent import agent_program
from armlet.errors import DeviceRefusedError
from armlet.rpc.channel import write_key
from armlet.rpc.device import Device
from armlet.rpc.fields import pack
from armlet.rpc.registry import Entry, entry
from armlet.rpc.session import PIECE, PUT, Request, Session
from armlet.targets import target

from .zoo import MODELS

BYTES = 20 << 20
TIMES = 15
MODEL = "mobilenet_v2"


@contextlib.contextmanager
def local_agent(keyed: bool = True) -> Iterator[tuple[Entry, subprocess.Popen[str]]]:
    with tempfile.TemporaryDirectory() as name:
        key = Path(name, "key")
        write_key(key)
        options = ["--listen", "127.0.0.1:0", "--folder", f"{name}/files"]
        options += ["--key", str(key)] if keyed else []
        command = [str(agent_program(target())), *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout
        port = process.stdout.readline().rpartition(":")[2].strip()
        try:
            yield Entry("local", "tcp", f"127.0.0.1:{port}", key=str(key) if keyed else ""), process
        finally:
            process.terminate()
            process.wait()


def seconds(work: Callable[..., object], *arguments: object) -> float:
    begun = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - begun


def upload(device: Device) -> dict[str, float]:
    """Seconds for ``BYTES``."""
    session, found = device.session, list[dict[str, float]]()
    for _ in range(TIMES):
        data = os.urandom(BYTES)
        hash = hashlib.sha256(data).digest()
        found.append(
            {
                "raw": seconds(refused, session, data),
                "hash": seconds(hashlib.sha256, data),
                "upload": seconds(session.put, hash, data),
                "again": seconds(device_has, session, data),
            }
        )
        session.remove(hash)
    return {name: min(times[name] for times in found) for name in found[0]}


def refused(session: Session, data: bytes) -> None:
    """Sends a blob as ``put`` does, which begins where it must not."""
    wrong, view = bytes(32) + pack("QQ", 2 * len(data), len(data)), memoryview(data)
    requests = [Request(PUT, wrong, data=view[i : i + PIECE]) for i in range(0, len(data), PIECE)]
    for number, request in [(session._send(request), request) for request in requests]:
        with contextlib.suppress(DeviceRefusedError):
            session._answer(number, request)


def device_has(session: Session, data: bytes) -> None:
    assert session.have([hashlib.sha256(data).digest()]) == [None]


def run_overhead(device: Device) -> dict[str, float]:
    """Seconds that a warm run of a classifier of 1x3x224x224 takes here beyond those there."""
    with tempfile.TemporaryDirectory() as name:
        source = Path(name, "model.onnx")
        onnx.save(MODELS[MODEL](), source)
        made = api.compile(source, device.target)
    with device.open(made.path, threads=1) as model:
        feeds = model.example_inputs()
        found = [(seconds(model.run, feeds) - model.run_seconds) for _ in range(300)]
    return {"least": min(found), "median": statistics.median(found)}


def resident(process: subprocess.Popen[str]) -> int:
    """Bytes of the idle agent."""
    text = Path(f"/proc/{process.pid}/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) << 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("device", nargs="?")
    name = parser.parse_args().device
    found: dict[str, object] = {}
    with contextlib.ExitStack() as stack:
        if name:
            device = stack.enter_context(Device(entry(name)))
        else:
            agent, process = stack.enter_context(local_agent())
            time.sleep(0.5)
            found = {"agent_bytes": agent_program(target()).stat().st_size}
            found["idle_resident_bytes"] = resident(process)
            device = stack.enter_context(Device(agent))
            plain, _ = stack.enter_context(local_agent(keyed=False))
            with Device(plain) as unprotected:
                found["run_overhead_without_key"] = run_overhead(unprotected)
        times = upload(device)
        found |= {f"{what}_seconds": taken for what, taken in times.items()}
        found["upload_share_of_raw"] = times["raw"] / times["upload"]
        found["run_overhead"] = run_overhead(device)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
