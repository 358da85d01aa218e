"""Regions to blobs: by the back end's tools, or from the cache where they made the same before."""

from __future__ import annotations

import hashlib
import os
import tempfile

from armlet.compiler.ir import Function, print_function
from armlet.compiler.link import toolchain
from armlet.compiler.plan.plan import Program
from armlet.targets.npu import BackEnd

from .partition import Region


def program(region: Region) -> Program:
    """What the artifact holds of a region; errors are those of ``BackEnd.compile``."""
    back_end = region.back_end
    return Program(
        str(back_end), region.name, back_end.api, back_end.shim, _blob(back_end, region.function)
    )


def _blob(back_end: BackEnd, region: Function) -> bytes:
    path = toolchain.cache_dir("npu") / _key(back_end, region)
    try:
        return path.read_bytes()
    except OSError:
        blob = back_end.compile(region)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(blob)
    os.replace(file.name, path)
    return blob


def _key(back_end: BackEnd, region: Function) -> str:
    """Equal where the same tools would be given the same."""
    content = hashlib.sha256(f"{back_end}\n{back_end.version}\n{print_function(region)}".encode())
    return content.hexdigest()
