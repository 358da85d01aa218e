"""The C side of regions for a GPU: what a back end gives as its ``api`` and ``shim``."""

from __future__ import annotations

from pathlib import Path

import armlet.runtime

API = "armlet_opencl"
SHIM = tuple(sorted((Path(armlet.runtime.__file__).parent / "opencl").glob("*.c")))
