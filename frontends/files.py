"""Reading a model's file: one clear error for each way in which it cannot be read."""

from __future__ import annotations

from pathlib import Path

from armlet.errors import ModelFileError


def read_bytes(path: Path, suffix: str) -> bytes:
    """The bytes of a file, of which there are some."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ModelFileError("there is no such file", where=str(path)) from None
    except IsADirectoryError:
        raise ModelFileError(
            "this is a folder", where=str(path), way_out=f"name the {suffix} file in it"
        ) from None
    except (OSError, ValueError) as error:
        raise ModelFileError(f"the file cannot be read: {error}", where=str(path)) from None
    if not data:
        raise ModelFileError(
            "the file is empty", where=str(path), way_out="export or download the model again"
        )
    if data.startswith(b"version https://git-lfs"):
        raise ModelFileError(
            "this is a Git LFS pointer, not the model", where=str(path), way_out="git lfs pull"
        )
    return data
