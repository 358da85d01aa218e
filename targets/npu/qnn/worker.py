"""A QDQ model to a QNN context binary, in a process of its own: ``worker.py MODEL.onnx ARCH OUT``.

ONNX Runtime's plug-in for QNN builds the graph, and Qualcomm's library prepares it for a version of
Hexagon. What a shim must know besides (the graph's name, its tensors' numbers) is read back by
``QnnSystemContext_getBinaryInfo``. The structs are declared as the public API reference of Qualcomm
AI Engine Direct (QNN 2.x) describes them. Writes OUT.blob and OUT.json.
"""

from __future__ import annotations

import ctypes
import json
import sys
from ctypes import POINTER, Structure, c_char, c_char_p, c_uint32, c_uint64, c_void_p
from pathlib import Path
from typing import Any

#: bytes of a Qnn_Tensor_t, which has room for its second version
TENSOR_BYTES = 144
#: versions of the interfaces that are declared here
CORE_MAJOR, SYSTEM_MAJOR, INFO_VERSION = 2, 1, 3


class _Version(Structure):
    _fields_ = [("major", c_uint32), ("minor", c_uint32), ("patch", c_uint32)]


class _Tensor(Structure):
    _fields_ = [
        ("version", c_uint32), ("pad", c_uint32), ("id", c_uint32), ("name", c_char_p),
        ("rest", c_char * (TENSOR_BYTES - 24)),
    ]  # fmt: skip


class _Graph(Structure):
    """QnnSystemContext_GraphInfo_t, as far as all its versions are alike."""

    _fields_ = [
        ("version", c_uint32), ("pad", c_uint32), ("name", c_char_p),
        ("input_count", c_uint32), ("inputs", POINTER(_Tensor)),
        ("output_count", c_uint32), ("outputs", POINTER(_Tensor)),
    ]  # fmt: skip


class _Info(Structure):
    """QnnSystemContext_BinaryInfo_t with a QnnSystemContext_BinaryInfoV3_t."""

    _fields_ = [
        ("version", c_uint32), ("pad", c_uint32), ("backend", c_uint32), ("build", c_char_p),
        ("core", _Version), ("backend_api", _Version), ("soc", c_char_p), ("blob", _Version),
        ("blob_bytes", c_uint64), ("tensor_count", c_uint32), ("tensors", c_void_p),
        ("graph_count", c_uint32), ("graphs", POINTER(_Graph)),
    ]  # fmt: skip


class _Interface(Structure):
    """QnnSystemInterface_t with the first functions of its version 1."""

    _fields_ = [
        ("backend", c_uint32), ("name", c_char_p), ("version", _Version), ("create", c_void_p),
        ("get_binary_info", c_void_p), ("get_metadata", c_void_p), ("free", c_void_p),
    ]  # fmt: skip


def prepare(model: str, arch: str, out: Path) -> bytes:
    """The context binary. Fails unless the whole graph is the NPU's."""
    import onnxruntime as ort
    import onnxruntime_qnn as qnn

    ort.register_execution_provider_library(qnn.get_ep_name(), qnn.get_library_path())
    options = ort.SessionOptions()
    for key, value in {
        "session.disable_cpu_ep_fallback": "1",
        "ep.context_enable": "1",
        "ep.context_file_path": f"{out}.onnx",
        "ep.context_embed_mode": "0",
    }.items():
        options.add_session_config_entry(key, value)
    devices = [d for d in ort.get_ep_devices() if d.ep_name == qnn.get_ep_name()][:1]
    chip = {"backend_path": qnn.get_qnn_htp_path(), "htp_arch": arch}
    options.add_provider_for_devices(devices, chip)
    ort.InferenceSession(model, sess_options=options)
    (binary,) = out.parent.glob(f"{out.name}*.bin")
    return binary.read_bytes()


def describe(binary: bytes) -> dict[str, Any]:
    """The names and numbers by which a shim finds the graph and its tensors."""
    import onnxruntime_qnn as qnn

    library = ctypes.CDLL(str(Path(qnn.get_qnn_htp_path()).parent / "libQnnSystem.so"))
    providers, count = POINTER(POINTER(_Interface))(), c_uint32()
    library.QnnSystemInterface_getProviders(ctypes.byref(providers), ctypes.byref(count))
    found = [providers[i].contents for i in range(count.value)]
    interface = next(i for i in found if i.version.major == SYSTEM_MAJOR)
    create = ctypes.CFUNCTYPE(c_uint64, POINTER(c_void_p))(interface.create)
    get = ctypes.CFUNCTYPE(
        c_uint64, c_void_p, c_void_p, c_uint64, POINTER(POINTER(_Info)), POINTER(c_uint64)
    )(interface.get_binary_info)
    system, info, size = c_void_p(), POINTER(_Info)(), c_uint64()
    data = ctypes.create_string_buffer(binary, len(binary))
    if create(system) or get(system, data, len(binary), info, size):
        raise RuntimeError("QNN cannot read its own context binary")
    said = info.contents
    if (said.version, said.core.major, said.graph_count) != (INFO_VERSION, CORE_MAJOR, 1):
        raise RuntimeError(f"QNN's binary is of version {said.version}, {said.core.major}.x")
    graph = said.graphs[0]
    return {
        "graph": graph.name.decode(),
        "core": [said.core.major, said.core.minor, said.core.patch],
        "inputs": {graph.inputs[i].name.decode(): graph.inputs[i].id
                   for i in range(graph.input_count)},
        "outputs": {graph.outputs[i].name.decode(): graph.outputs[i].id
                    for i in range(graph.output_count)},
    }  # fmt: skip


def main(model: str, arch: str, out: Path) -> None:
    binary = prepare(model, arch, out)
    Path(f"{out}.json").write_text(json.dumps(describe(binary)))
    Path(f"{out}.blob").write_bytes(binary)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
