"""TVM's own client, unchanged, at the agent."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tvm
import tvm_ffi
from tvm import rpc
from tvm.error import RPCError, RPCSessionTimeoutError

from armlet.targets import target

from . import tvm_kernels
from .local import Agent

#: as Debian has the C library for it
QEMU = ("qemu-aarch64", "-L", "/usr/aarch64-linux-gnu")
LIMITS = ("--deadline", "2", "--memory", "64", "--store", "8")


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("libraries")
    tvm_kernels.functions(target(), folder)
    tvm_kernels.kernels(target(), folder)
    return folder


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with Agent(tmp_path_factory.mktemp("agent"), *LIMITS) as agent:
        yield agent


@pytest.fixture
def remote(agent: Agent, libraries: Path) -> Iterator[rpc.RPCSession]:
    session = connect(agent)
    session.upload(str(libraries / "functions.so"))
    session.upload(str(libraries / "kernels.so"))
    yield session
    _left_nothing(agent, session)


def connect(agent: Agent, **options: object) -> rpc.RPCSession:
    return rpc.connect("127.0.0.1", agent.port, **options)


def _left_nothing(agent: Agent, session: rpc.RPCSession) -> None:
    """The session's process and folder are gone soon after its client is."""
    session.get_function("CloseRPCConnection")()
    until = time.monotonic() + 5
    while any((agent.folder / "sessions").iterdir()):
        assert time.monotonic() < until
        time.sleep(0.01)


# ---- values


@pytest.mark.parametrize(
    "value", [0, -(2**63), 2**63 - 1, True, False, 2.5, float("inf"), None], ids=repr
)
def test_numbers_come_back_as_they_went(remote: rpc.RPCSession, value: object) -> None:
    echoed = remote.load_module("functions.so")["echo"](value)
    assert echoed == value and type(echoed) is type(value)


def test_types_and_devices_come_back_as_they_went(remote: rpc.RPCSession) -> None:
    echo = remote.load_module("functions.so")["echo"]
    assert echo(tvm_ffi.dtype("float16x4")) == "float16x4"
    assert echo(remote.cpu(0)) == tvm.cpu(0)


@pytest.mark.parametrize("size", [0, 3, 7, 8, 1000, 100_000])
def test_strings_and_bytes_arrive_whole(remote: rpc.RPCSession, size: int) -> None:
    data = bytes(1 + i % 120 for i in range(size))
    expected = sum((i + 1) * byte for i, byte in enumerate(data))
    sum_of = remote.load_module("functions.so")["sum"]
    assert sum_of(data.decode()) == sum_of(data) == sum_of(bytearray(data)) == expected


def test_a_string_is_a_result(remote: rpc.RPCSession) -> None:
    assert remote.load_module("functions.so")["hello"]() == "hello"


@pytest.mark.parametrize("name", ["address", "object"])
def test_addresses_and_objects_are_no_results(remote: rpc.RPCSession, name: str) -> None:
    with pytest.raises(RPCError, match=f"{name} gave a result of type .* cannot leave this agent"):
        remote.load_module("functions.so")[name]()


# ---- files


def test_files_go_there_and_back_and_away(remote: rpc.RPCSession) -> None:
    data = bytearray(range(256)) * 4000
    remote.upload(data, "data.bin")
    assert remote.download("data.bin") == data
    remote.upload(bytearray(b"other"), "data.bin")
    assert remote.download("data.bin") == b"other"
    assert remote.listdir(".") == "functions.so,kernels.so,data.bin"
    remote.remove("data.bin")
    remote.remove("data.bin")
    assert "data.bin" not in remote.listdir("/")


@pytest.mark.parametrize(
    "name", ["../out", "/etc/passwd", "a/b", "..", ".hidden", "a\\b", "a\nb", "x" * 200]
)
def test_names_lead_nowhere(remote: rpc.RPCSession, name: str) -> None:
    with pytest.raises(RPCError, match="is no name for a file"):
        remote.upload(bytearray(b"x"), name)
    with pytest.raises(RPCError, match="there is no file"):
        remote.download(name)


def test_files_take_no_more_than_the_store(remote: rpc.RPCSession) -> None:
    with pytest.raises(RPCError, match="large is too large: files may take 8388608 bytes together"):
        remote.upload(bytearray(9 << 20), "large")


@pytest.mark.parametrize("name", ["kernels.tar", "kernels.o"])
def test_what_needs_a_linker_is_refused(remote: rpc.RPCSession, libraries: Path, name: str) -> None:
    found = next(libraries.glob("*.o")) if name.endswith("o") else tvm_kernels.FUNCTIONS
    remote.upload(bytearray(found.read_bytes()), name)
    with pytest.raises(RPCError, match="is no shared library, and there is no linker here"):
        remote.load_module(name)


def test_a_library_for_another_machine_is_refused(remote: rpc.RPCSession, tmp_path: Path) -> None:
    remote.upload(str(tvm_kernels.functions(target("linux-riscv64"), tmp_path)), "riscv.so")
    with pytest.raises(RPCError, match=r"riscv\.so cannot be opened"):
        remote.load_module("riscv.so")


def test_a_name_that_is_uploaded_again_means_the_new_library(
    remote: rpc.RPCSession, libraries: Path
) -> None:
    remote.upload(str(libraries / "functions.so"), "one.so")
    first = remote.load_module("one.so")
    remote.upload(str(libraries / "kernels.so"), "one.so")
    remote.load_module("one.so")["add"]
    assert first["hello"]() == "hello"
    with pytest.raises(AttributeError, match="no function 'hello'"):
        remote.load_module("one.so")["hello"]


def test_a_library_finds_functions_of_those_that_it_imports(remote: rpc.RPCSession) -> None:
    parent, child = remote.load_module("kernels.so"), remote.load_module("functions.so")
    parent.import_module(child)
    assert parent["hello"]() == "hello"


# ---- tensors and kernels


def test_tensors_are_copied_there_and_among_and_back(remote: rpc.RPCSession) -> None:
    for dtype in ("float32", "float16", "int8", "uint64", "bool"):
        data = tvm_kernels.random(3, 5, 7).astype(dtype)
        there = tvm.runtime.tensor(data, remote.cpu())
        other = tvm.runtime.empty(data.shape, dtype, remote.cpu())
        there.copyto(other)
        np.testing.assert_array_equal(other.numpy(), data)


def test_kernels_compute_what_they_should(remote: rpc.RPCSession) -> None:
    module, device = remote.load_module("kernels.so"), remote.cpu()
    a, b = tvm_kernels.random(1024), np.arange(1024, dtype=np.float32)
    result = tvm.runtime.empty(a.shape, "float32", device)
    module["add"](tvm.runtime.tensor(a, device), tvm.runtime.tensor(b, device), result)
    np.testing.assert_array_equal(result.numpy(), a + b)
    x = tvm_kernels.random(*tvm_kernels.SHAPE)
    y = tvm.runtime.empty(x.shape, "float32", device)
    module["exponential"](tvm.runtime.tensor(x, device), y)
    np.testing.assert_allclose(y.numpy(), np.exp(x), rtol=1e-5)
    module["mirrored"](tvm.runtime.tensor(x, device), y)
    np.testing.assert_array_equal(y.numpy(), 2 * x + 2 * x[::-1])


def test_parallel_loops_run_on_any_number_of_threads(remote: rpc.RPCSession) -> None:
    module, device = remote.load_module("kernels.so"), remote.cpu()
    x = tvm_kernels.random(*tvm_kernels.SHAPE)
    for threads in (1, 3, 2, 0):
        remote.get_function("runtime.config_threadpool")(1, threads)
        y = tvm.runtime.tensor(np.zeros_like(x), device)
        module["exponential"](tvm.runtime.tensor(x, device), y)
        np.testing.assert_allclose(y.numpy(), np.exp(x), rtol=1e-5)


def test_a_kernel_refuses_tensors_that_it_was_not_made_for(remote: rpc.RPCSession) -> None:
    module, device = remote.load_module("kernels.so"), remote.cpu()
    wrong = tvm.runtime.empty((5,), "float32", device)
    with pytest.raises(RPCError, match=r"ValueError: (?s:.*)add"):
        module["add"](wrong, wrong, wrong)
    assert remote.load_module("functions.so")["hello"]() == "hello"


def test_memory_is_given_up_to_a_limit(remote: rpc.RPCSession) -> None:
    kept = tvm.runtime.empty((40 << 20,), "uint8", remote.cpu())
    with pytest.raises(RPCError, match="more than this agent gives: 41943040 of 67108864"):
        tvm.runtime.empty((40 << 20,), "uint8", remote.cpu())
    del kept
    tvm.runtime.empty((40 << 20,), "uint8", remote.cpu())


def test_there_is_one_device(remote: rpc.RPCSession) -> None:
    assert remote.cpu().exist and not remote.cl().exist
    assert remote.cpu().total_global_memory > 1 << 20
    with pytest.raises(RPCError, match=r"this agent has cpu\(0\) only"):
        tvm.runtime.empty((4,), "float32", remote.cuda())


# ---- time


def test_the_time_evaluator_gives_as_many_figures_as_it_was_asked_for(
    remote: rpc.RPCSession,
) -> None:
    module, device = remote.load_module("kernels.so"), remote.cpu()
    x = tvm.runtime.tensor(tvm_kernels.random(*tvm_kernels.SHAPE), device)
    y = tvm.runtime.empty(tvm_kernels.SHAPE, "float32", device)
    started = time.monotonic()
    found = module.time_evaluator(
        "exponential", device, number=1, repeat=5, min_repeat_ms=20, cooldown_interval_ms=10,
        repeats_to_cooldown=2, cache_flush_bytes=1 << 20, f_preproc="cache_flush_cpu_non_first_arg",
    )(x, y)  # fmt: skip
    assert time.monotonic() - started > 5 * 0.02 + 3 * 0.01
    assert len(found.results) == 5 and all(1e-6 < s < 0.02 for s in found.results)
    np.testing.assert_allclose(y.numpy(), np.exp(x.numpy()), rtol=1e-5)


def test_a_kernel_that_fails_is_not_timed(remote: rpc.RPCSession) -> None:
    module = remote.load_module("functions.so")
    with pytest.raises(RPCError, match="ValueError: it is Tuesday"):
        module.time_evaluator("fail", remote.cpu(), number=3)()


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int8", "int32", "uint8"])
def test_tensors_are_filled_for_measuring(remote: rpc.RPCSession, dtype: str) -> None:
    fill = remote.get_function("tvm.contrib.random.random_fill_for_measure")
    there = tvm.runtime.tensor(np.zeros((17, 3), dtype), remote.cpu())
    fill(there)
    found = there.numpy().astype(np.float64)
    assert np.isfinite(found).all() and len(np.unique(found)) > 3


# ---- what goes wrong


def test_errors_are_told_and_the_session_goes_on(remote: rpc.RPCSession) -> None:
    module = remote.load_module("functions.so")
    with pytest.raises(RPCError, match="ValueError: it is Tuesday"):
        module["fail"]()
    with pytest.raises(RPCError, match="fail_silently failed without a reason"):
        module["fail_silently"]()
    with pytest.raises(AttributeError, match="no function 'missing'"):
        module["missing"]
    with pytest.raises(AttributeError):
        remote.get_function("missing")
    with pytest.raises(RPCError, match=r"there is no file missing\.so; it must be uploaded first"):
        remote.load_module("missing.so")
    assert module["hello"]() == "hello"


def test_a_crash_costs_the_session_alone(agent: Agent, libraries: Path) -> None:
    session = connect(agent)
    session.upload(str(libraries / "functions.so"))
    module = session.load_module("functions.so")
    with pytest.raises(RPCError, match="crash ended with a segmentation fault"):
        module["crash"]()
    del module, session
    _left_nothing(agent, connect(agent))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({}, RPCError, "loop took longer than this agent lets a call take"),
        (
            {"session_timeout": 1},
            RPCSessionTimeoutError,
            "session's time was over while it ran loop",
        ),
    ],
)
def test_an_endless_loop_is_ended(
    agent: Agent, libraries: Path, options: dict, error: type[Exception], words: str
) -> None:
    session = connect(agent, **options)
    session.upload(str(libraries / "functions.so"))
    with pytest.raises(error, match=words):
        session.load_module("functions.so")["loop"]()
    _left_nothing(agent, connect(agent))


def test_a_session_ends_when_its_client_said_it_would(agent: Agent) -> None:
    session = connect(agent, session_timeout=0.5)
    time.sleep(0.8)
    with pytest.raises(RPCSessionTimeoutError, match=r"the 0\.5 seconds of this session are over"):
        session.listdir(".")


def test_a_session_is_the_agents_own(agent: Agent) -> None:
    with pytest.raises(RPCError, match="sessions of its own only"):
        connect(agent, session_constructor_args=["rpc.PopenSession", "/bin/sh"])


def test_a_second_client_waits_for_the_first(agent: Agent) -> None:
    first = connect(agent, session_timeout=1)
    started = time.monotonic()
    second = connect(agent)
    assert time.monotonic() - started > 0.5
    assert second.listdir(".") == ""
    del first


def test_an_agent_with_a_key_does_not_listen_to_tvm(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("ab" * 32)
    key.chmod(0o600)
    with Agent(tmp_path / "agent", "--key", str(key)) as keyed, pytest.raises(RuntimeError):
        connect(keyed)


@pytest.mark.skipif(shutil.which(QEMU[0]) is None, reason="no emulator on this machine")
def test_kernels_for_arm_run_on_an_emulated_board(tmp_path: Path) -> None:
    board = target("linux-arm64")
    with Agent(tmp_path / "agent", chosen=board, command=QEMU) as agent:
        session = connect(agent)
        session.upload(str(tvm_kernels.kernels(board, tmp_path)))
        module, device = session.load_module("kernels.so"), session.cpu()
        x = tvm_kernels.random(*tvm_kernels.SHAPE)
        y = tvm.runtime.empty(x.shape, "float32", device)
        timed = module.time_evaluator("exponential", device, number=2, repeat=2)
        assert min(timed(tvm.runtime.tensor(x, device), y).results) > 0
        np.testing.assert_allclose(y.numpy(), np.exp(x), rtol=1e-5)
        session.upload(str(tvm_kernels.functions(board, tmp_path)))
        with pytest.raises(RPCError, match="crash ended with a segmentation fault"):
            session.load_module("functions.so")["crash"]()
