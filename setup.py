"""Maps the top-level folders into the one import package ``armlet``, by a rule."""

from pathlib import Path

from setuptools import setup

ROOMS = ["rpc", "frontends", "compiler", "schedules", "targets", "runtime", "tuning_logs"]


def packages():
    """(import name, folder) of every folder that has Python files."""
    for top in ["armlet", *ROOMS]:
        for init in sorted(Path(top).rglob("__init__.py")):
            folder = init.parent
            name = ".".join(folder.parts)
            yield name if top == "armlet" else f"armlet.{name}", str(folder)


found = dict(packages())
setup(
    packages=list(found),
    package_dir=found,
    package_data={
        "armlet": ["*.c"],
        "armlet.compiler.link": ["*.toml"],
        "armlet.runtime": [
            "LICENSE",
            "bindings/*/*",
            "bridge/*.c",
            "bindings/java/io/armlet/*.java",
            "agent/*",
            "bionic/*.h",
            "bionic/*/*.h",
            "guest/*",
            "include/*.h",
            "opencl/*.[ch]",
            "src/*.[ch]",
            "web/*.[ch]",
        ],
        "armlet.targets": ["*.toml"],
        "armlet.targets.npu": ["*/*.c"],
        "armlet.tuning_logs": ["*.jsonl"],
    },
)
