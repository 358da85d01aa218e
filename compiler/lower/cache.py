"""Compiled kernels on disk, by the content that made them.

A key covers the group, the target, the tuning record, TVM's version and the sources of
everything that decides the code, so an edit of a template or an operator makes old entries
unreachable. Entries are written beside and renamed: a reader never sees half of one.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from armlet.compiler.ir.group import Group
from armlet.compiler.records import Record
from armlet.settings import CACHE
from armlet.targets import Target

from .kernel import Kernel

_ROOT = Path(__file__).resolve().parent.parent.parent
#: what decides the code of a kernel, beside the group and the target
_SOURCES = ("compiler/ops", "compiler/lower", "schedules")


@lru_cache(maxsize=1)
def compiler_hash() -> str:
    """Hash of the sources and of TVM's version."""
    digest = hashlib.sha256(metadata.version("apache-tvm").encode())
    for source in _SOURCES:
        for path in sorted((_ROOT / source).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def key_of(group: Group, target: Target, record: Record | None = None) -> str:
    """Without a record the sources decide on the config, and the key covers them anyway."""
    chosen = str(record.identity) if record else ""
    return hashlib.sha256(f"{compiler_hash()}{group.key(target.key)}{chosen}".encode()).hexdigest()


def _path(key: str) -> Path:
    return CACHE.value / "kernels" / key[:2] / f"{key[2:]}.kernel"


def load(key: str) -> Kernel | None:
    """The kernel of that key, if a readable one is kept."""
    try:
        kernel = pickle.loads(_path(key).read_bytes())
    except Exception:  # a damaged pickle may raise anything
        return None
    return kernel if isinstance(kernel, Kernel) and kernel.key == key else None


def save(kernel: Kernel) -> None:
    """Keeps a kernel; a cache that cannot be written is no error."""
    path = _path(kernel.key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(pickle.dumps(kernel))
        os.replace(file.name, path)
    except OSError:
        return
