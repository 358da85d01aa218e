"""Android archives (AAR): a model for all processors of phones, and the classes that call it.

The same parts give the same bytes: files are in order, without dates, and not compressed, as an
application's own package is compressed in the end.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import armlet.runtime
from armlet.compiler.link import jni
from armlet.compiler.link.bionic import level_of
from armlet.compiler.link.publish import writing
from armlet.errors import TargetError, ToolchainError
from armlet.targets import Target
from armlet.verify import Model

#: architecture -> its folder in an archive
ABIS = {"arm64": "arm64-v8a", "armv7": "armeabi-v7a", "x86_64": "x86_64"}

#: what Android's own tools, and Java since 8, can read
_RELEASE = 8
_MANIFEST = """\
<?xml version="1.0" encoding="utf-8"?>
<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="{package}">
    <uses-sdk android:minSdkVersion="{level}" />
</manifest>
"""
_LICENCE = Path(armlet.runtime.__file__).parent / "LICENSE"
#: native code looks these up by name
_KEPT = "-keep class io.armlet.** { *; }\n"


def abi_of(target: Target) -> str:
    """``TargetError`` unless the target is one of Android's."""
    if target.system != "android":
        raise TargetError(
            f"{target} is no target of an Android archive",
            way_out="name targets such as android-arm64,android-armv7,android-x86_64",
        )
    return ABIS[target.architecture]


def library_name(output: Path) -> str:
    """The artifacts' name in the archive: Java's ``Model.load(output.stem)`` finds it."""
    return f"lib{output.stem}.so"


def write(models: Mapping[Target, Model], output: Path) -> bool:
    """Writes the archive; whether it has the Java classes, for which a JDK must be here."""
    name = library_name(output)
    level = max(level_of(t.zig_triple) for t in models)
    package = "io.armlet.models." + (re.sub(r"\W+", "_", output.stem).strip("_") or "model")
    classes = _classes()
    parts: dict[str, bytes | Path] = {
        "AndroidManifest.xml": _MANIFEST.format(package=package, level=level).encode(),
        "LICENSE": _LICENCE.read_bytes(),
        "R.txt": b"",
        "proguard.txt": _KEPT.encode(),
        **({"classes.jar": classes} if classes else {}),
    }
    for target, model in models.items():
        folder = f"jni/{abi_of(target)}"
        parts[f"{folder}/{name}"] = model.path
        parts[f"{folder}/{jni.NAME}"] = jni.library(target)
    with writing(output) as file:
        _zip(parts, file)
    return classes is not None


def _zip(parts: Mapping[str, bytes | Path], file: BinaryIO) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for name in sorted(parts):
            info, part = zipfile.ZipInfo(name), parts[name]
            info.external_attr = 0o644 << 16
            archive.writestr(info, part if isinstance(part, bytes) else part.read_bytes())


def javac() -> str | None:
    """The Java compiler of JAVA_HOME, or else of PATH."""
    home = os.environ.get("JAVA_HOME")
    return (shutil.which("javac", path=f"{home}/bin") if home else None) or shutil.which("javac")


def _classes() -> bytes | None:
    """A jar of the binding's classes, if they can be compiled here."""
    compiler = javac()
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory(prefix="armlet-java-") as name:
        folder = Path(name)
        sources = sorted(jni.BINDING.rglob("*.java"))
        options = ["--release", str(_RELEASE), "-g:none", "-Xlint:-options", "-d", name]
        done = subprocess.run([compiler, *options, *sources], capture_output=True, text=True)
        if done.returncode:
            raise ToolchainError(
                f"compiling the Java classes failed: {done.stderr.strip()}", where=compiler
            )
        classes = {str(p.relative_to(folder)): p for p in folder.rglob("*.class")}
        with (folder / "classes.jar").open("wb") as file:
            _zip({"META-INF/MANIFEST.MF": b"Manifest-Version: 1.0\r\n\r\n", **classes}, file)
        return (folder / "classes.jar").read_bytes()
