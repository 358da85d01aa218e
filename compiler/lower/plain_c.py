"""A PrimFunc as a plain C function, without any call into a runtime.

    void symbol(T0 *p0, …, Tn *pn, int32_t begin, int32_t end, void *scratch)

The passes are TVM's up to ``LowerIntrin``, without those that make packed functions (and
without those on blocks and on
buffers of several dimensions: only ``schedules/cpu/generic.py`` has any, and lowers them). Then
the parallel loop runs from ``begin`` to ``end`` (only then, so that simplification has seen
its true range), and buffers of scope "global" move into the scratch arena; "local" ones
stay with LLVM, which keeps register tiles in registers. What a template marked as ``outlined``
becomes a function of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, tirx

from armlet.compiler.ops import vector_math
from armlet.compiler.ops.quantize import MAGIC, MAGIC_BITS
from armlet.schedules.emit import OUTLINED, ROLLED

#: more steps than LLVM unrolls
LARGE = 1 << 16
#: of every buffer in the scratch arena
ALIGNMENT = 64


@dataclass(frozen=True)
class PlainFunction:
    func: Any
    #: extent of the parallel axis; 1 where there is none
    extent: int
    scratch: int
    #: functions that ``func`` calls, by symbol
    parts: dict[str, Any] = field(default_factory=dict)


@lru_cache(maxsize=4)
def _passes(extremes: bool) -> Any:
    """TVM's lowering of loops; the order matters."""
    s, t = s_tir.transform, tirx.transform
    return tvm.ir.transform.Sequential(
        [
            t.NarrowDataType(32), t.VectorizeLoop(True), t.StorageRewrite(), t.StmtSimplify(),
            s.RewriteUnsafeSelect(), t.CommonSubexprElim(), *[_extremes()] * extremes,
            vector_math.expand(), t.LowerIntrin(),
        ]
    )  # fmt: skip


def _extremes() -> Any:
    """The pass that makes one instruction of what Arm has one for: ``max`` and ``min``, rounding.

    TVM's are a comparison and a choice, which Arm does in two; LLVM's hold NaN as NumPy does.
    """

    def replaced(name: str) -> Any:
        def replace(node: Any) -> Any:
            dtype = str(node.expr_ty())
            if not dtype.startswith(("float32", "float16")):
                return node
            return tirx.call_llvm_pure_intrin(dtype, name, node.a, node.b)

        return replace

    def rounded(node: Any, mutator: Any) -> Any:
        """The sum that rounds (``compiler/ops/quantize.py``), by FCVTNS, which saturates."""
        if node.op.name == "tirx.reinterpret":
            held, dtype = _rounded_by_magic(node.args[0]), str(node.expr_ty())
            if held is not None:
                value = mutator.mutate(held)
                whole = tirx.call_llvm_pure_intrin(dtype, "llvm.aarch64.neon.fcvtns", value)
                # what is taken off again
                return whole + tirx.const(MAGIC_BITS, "int32")
        return mutator.default_mutate(node)

    pairs = ((tirx.Max, replaced("llvm.maximum")), (tirx.Min, replaced("llvm.minimum")))

    def transform(func: Any, _module: Any, _context: Any) -> Any:
        body = tvm_ffi.structural_mutate(func.body, [(tvm.ir.Call, rounded)])
        return func.with_body(tvm_ffi.structural_map(body, pairs))

    return tirx.transform.prim_func_pass(transform, opt_level=0, name="armlet.Extremes")


def _rounded_by_magic(total: Any) -> Any:
    """The number that a sum with ``MAGIC`` rounds, without its bounds; None of other sums."""
    if not isinstance(total, tirx.Add):
        return None
    magic = total.b.value if isinstance(total.b, tirx.Broadcast) else total.b
    known = isinstance(magic, tirx.FloatImm) and magic.value == MAGIC
    return total.a.a.a if known and isinstance(total.a, tirx.Max) else None


class _Edit:
    """Turns the lowered body into one that knows ``begin``, ``end`` and ``scratch``."""

    def __init__(self, symbol: str, begin: Any = None) -> None:
        self.symbol = symbol
        self.parts: dict[str, Any] = {}
        self.begin = tirx.Var("begin", "int32") if begin is None else begin
        self.end = tirx.Var("end", "int32")
        self.scratch = pointer("scratch", "uint8")
        self.extent: int | None = None
        self.used = 0

    def __call__(self, stmt: Any) -> Any:
        if isinstance(stmt, tirx.SeqStmt):
            return tirx.SeqStmt([self(s) for s in stmt.seq])
        if isinstance(stmt, tirx.For):
            return self._loop(stmt, self(stmt.body))
        if isinstance(stmt, tirx.AttrStmt) and stmt.attr_key == OUTLINED:
            return self._outlined(self(stmt.body))
        if isinstance(stmt, tirx.AttrStmt):
            return tirx.AttrStmt(stmt.node, stmt.attr_key, stmt.value, self(stmt.body))
        if isinstance(stmt, tirx.IfThenElse):
            other = stmt.else_case and self(stmt.else_case)
            return tirx.IfThenElse(stmt.condition, self(stmt.then_case), other)
        if isinstance(stmt, tirx.AllocBuffer) and stmt.buffer.scope() == "global":
            return self._in_scratch(stmt.buffer)
        return stmt

    def _loop(self, stmt: Any, body: Any) -> Any:
        if stmt.kind != tirx.ForKind.PARALLEL:
            extent = stmt.extent
            if ROLLED in stmt.annotations:
                # adds nothing, as begin is never negative; but LLVM cannot know that
                extent -= (self.begin >> 31) * LARGE
            return tirx.For(stmt.loop_var, stmt.min, extent, stmt.kind, body, None, {})
        if self.extent is not None:
            raise ValueError("a kernel has one parallel loop only")
        self.extent = int(stmt.extent)
        return tirx.For(stmt.loop_var, self.begin, self.end - self.begin, tirx.ForKind.SERIAL, body)

    def _outlined(self, body: Any) -> Any:
        """A call of a new function that takes what ``body`` uses: buffers by pointer, indices.

        Register tiles are its own, though TVM may have moved their allocation out of ``body``.
        """
        name = f"{self.symbol}_{len(self.parts)}"
        free = tirx.analysis.undefined_vars(body, [])
        indices = [v for v in free if not isinstance(v.ty, tirx.BufferType)]
        used = [v for v in free if isinstance(v.ty, tirx.BufferType)]
        registers = [tirx.AllocBuffer(b) for b in used if b.scope() == "local"]
        buffers = [b for b in used if b.scope() != "local"]
        pointers, declared = _by_pointer(buffers)
        whole = tirx.SeqStmt([*declared, *registers, body])
        self.parts[name] = tirx.PrimFunc([*pointers, *indices], whole)
        passed = [*(b.data for b in buffers), *indices]
        return tirx.Evaluate(tirx.call_extern("void", name, *passed))

    def _in_scratch(self, buffer: Any) -> Any:
        dtype = tvm.DataType(buffer.dtype)
        size = math.prod(int(n) for n in buffer.shape) * dtype.bits * dtype.lanes // 8
        at, self.used = self.used, self.used + -(-size // ALIGNMENT) * ALIGNMENT
        return tirx.DeclBuffer(buffer, data=tirx.op.handle_add_byte_offset(self.scratch, at))


def pointer(name: str, dtype: str) -> Any:
    return tirx.Var(name, tvm.ir.PointerType(tvm.ir.PrimType(dtype)))


def _by_pointer(buffers: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """A pointer for each buffer, and the declarations of the buffers over them."""
    pointers = [pointer(f"{b.name}_p", str(b.ty.dtype)) for b in buffers]
    return pointers, [tirx.DeclBuffer(b, data=q) for b, q in zip(buffers, pointers, strict=True)]


def plain_c(func: Any, symbol: str, target: Any) -> PlainFunction:
    """``func`` takes buffers; the result takes pointers, as the module's head shows."""
    triple = str(target.attrs["mtriple"])
    # vectors are of the lengths that templates chose: where TVM knows of registers of any length
    # (RVV, SVE), it would make loops over parts of them
    plain = tvm.target.Target({"kind": "llvm", "mtriple": triple})
    func = func.with_attr({"global_symbol": symbol, "tirx.noalias": True, "target": plain})
    func = _passes(triple.startswith("aarch64"))(tvm.IRModule({symbol: func}))[symbol]
    func = func.with_attr("target", target)
    buffers = [p for p in func.params if not isinstance(p.ty, tvm.ir.PrimType)]
    edit = _Edit(symbol, *func.params[len(buffers) :])
    body = edit(func.body)
    if edit.extent is None:
        # nothing is cut: the whole work is step 0 of an axis of extent 1
        body = tirx.IfThenElse(edit.begin < edit.end, body, None)
    pointers, declared = _by_pointer(buffers)
    params = [*pointers, edit.begin, edit.end, edit.scratch]
    func = tirx.PrimFunc(params, tirx.SeqStmt([*declared, body]), None, func.attrs)
    parts = {
        name: part.with_attr({**func.attrs, "global_symbol": name})
        for name, part in edit.parts.items()
    }
    return PlainFunction(func, edit.extent or 1, edit.used, parts)
