"""The program for each target: what it needs, how large it is, and a real model through it."""

from __future__ import annotations

import hashlib
import shutil

import numpy as np
import pytest

from armlet import api, emulator
from armlet.compiler.link import libc
from armlet.compiler.link.agent import agent_program
from armlet.compiler.link.elf import MACHINES, SHARED, Elf
from armlet.errors import DeviceCrashError, DeviceTimeoutError
from armlet.reference import reference_of
from armlet.targets import FAMILIES, target

from ..runtime import tiny
from .agents import Agent

NATIVE = [name for name, family in FAMILIES.items() if family.system in ("linux", "android")]
#: the quick ones; `make slow` makes all
QUICK = {"linux-armv7", "android-arm64"}
SHAPES = {"x": (1, 3, 14, 11)}


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NATIVE]
)
def test_it_is_small_and_needs_the_c_library_alone(name):
    chosen = target(name)
    path = agent_program(chosen)
    assert path.stat().st_size <= 300 << 10
    elf = Elf(path.read_bytes(), SHARED)  # as programs at any address are
    known = libc.program_libraries(chosen.zig_triple)
    assert elf.machine == MACHINES[chosen.machine]
    assert set(elf.needed) <= set(known)
    assert not set(elf.imports).difference(*known.values())
    assert elf.exports and all(n.startswith("TVM") for n in elf.exports)
    assert elf.has_relro and not elf.has_executable_stack and not elf.has_text_relocations
    assert not any(s.writable and s.executable for s in elf.loads)
    assert all(s.align % chosen.page_bytes == 0 for s in elf.loads)


@pytest.fixture(
    scope="module",
    params=["linux-arm64", "linux-armv7", pytest.param("linux-riscv64", marks=pytest.mark.slow)],
)
def emulated(request, tmp_path_factory):
    """A family, and its agent under qemu."""
    machine, chosen = emulator._MACHINES[request.param], target(request.param)
    if shutil.which(f"qemu-{machine.qemu}") is None or emulator.find(chosen).missing:
        pytest.skip("qemu or its C library is not installed")
    qemu = [f"qemu-{machine.qemu}", *machine.options, "-L", machine.root]
    folder = tmp_path_factory.mktemp("emulated") / "files"
    with Agent(folder, command=[*qemu, agent_program(chosen)]) as agent:
        yield chosen, agent


def test_a_real_model_is_right_through_it(emulated, small_cnn):
    chosen, agent = emulated
    made = api.compile(small_cnn, chosen, shapes=SHAPES)
    data = made.path.read_bytes()
    x = np.random.default_rng(0).standard_normal(SHAPES["x"]).astype(np.float32)
    right = reference_of(api.load(small_cnn, SHAPES)).run({"x": x})["y"]
    with agent.connect() as session:
        assert session.facts["architecture"] == chosen.architecture
        assert set(chosen.features) <= set(session.facts["features"])
        name = hashlib.sha256(data).digest()
        session.put(name, data)
        handle = session.open(name).handle
        found = np.empty_like(right)
        session.run(handle, [x], [found])
        np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-5)
        assert session.selftest(handle).wrong == 0


def test_faults_are_told_there_too(emulated, tmp_path):
    chosen, agent = emulated
    bodies = {"crash": "*(volatile int *)0x10 = 1;", "loop": 'for (;;) __asm__ volatile("");'}
    for kind, (error, told) in {
        "crash": (DeviceCrashError, r"segmentation fault .* at address 0x10 in layer 'net/incr"),
        "loop": (DeviceTimeoutError, "deadline in layer 'net/increment'"),
    }.items():
        text = tiny.SOURCES["increment"].replace("(void)scratch;", "(void)scratch;" + bodies[kind])
        tiny.artifact_for(chosen, tmp_path / f"{kind}.so", text)
        data = (tmp_path / f"{kind}.so").read_bytes()
        with agent.connect(wait=10) as session:
            session.put(hashlib.sha256(data).digest(), data)
            handle = session.open(hashlib.sha256(data).digest(), threads=1).handle
            with pytest.raises(error, match=told):
                session.run(handle, [np.zeros((8, 64), np.float32)], None, seconds=2)
