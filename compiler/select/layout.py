"""Selection: the form of every call, chosen for a target, and the transforms between layouts.

    %y = conv2d(%x, $w) {pads=[1,1,1,1]}
    ->
    %x@c16 = pack_channels(%x) {block=16}
    %y@c16 = conv2d_blocked(%x@c16, $w@packed) {pads=[1,1,1,1], in_channels=64, …}
    %y     = unpack_channels(%y@c16) {channels=64}

``choose.py`` decides; this file writes the function. A value is made in each layout that
someone reads it in, at first need, so transforms remain only where layouts meet. Constants
are transformed here, at compile time.
"""

from __future__ import annotations

from collections.abc import Mapping

from armlet.compiler.ir import Builder, Call, Const, Function, Value, remove_dead
from armlet.compiler.ops import Op
from armlet.compiler.ops.blocked import PackChannels, UnpackChannels, pack_array
from armlet.compiler.ops.shape import Reshape, Slice
from armlet.compiler.records import Records
from armlet.targets import Target

from .choose import choose
from .form import Form, four_axes, is_scalar
from .layouts import ROW_MAJOR, blocked_name, channels_of, in_layout, same_bytes
from .transposed import expand


def select(function: Function, target: Target, records: Records | None = None) -> Function:
    """The function with a form for every call; parameters and results stay row-major."""
    function = expand(function, target)
    return in_forms(function, choose(function, target, records or Records()))


def in_forms(function: Function, forms: Mapping[Call, Form]) -> Function:
    """The function with every call in its form; parameters and results stay row-major."""
    return _Writer(function, forms).write()


class _Writer:
    """The new function while it is made."""

    def __init__(self, function: Function, forms: Mapping[Call, Form]) -> None:
        self.old, self.forms = function, forms
        kept: list[Value] = [*function.params, *function.constants]
        self.b = Builder(v.name for v in kept)
        self.made: dict[tuple[Value, int], Value] = {(p, ROW_MAJOR): p for p in function.params}

    def write(self) -> Function:
        for call in self.old.bindings:
            self._call(call, self.forms[call])
        results = [self._in_layout(v, ROW_MAJOR) for v in self.old.results]
        return remove_dead(self.b.function(self.old.params, results, self.old.name))

    def _call(self, call: Call, form: Form) -> None:
        self.b.source = call.source
        operands = [self._in_layout(v, layout) for v, layout in zip(call.operands, form.operands)]
        if isinstance(form.op, Slice) and form.op.sizes == operands[0].type.shape:
            # only lanes beyond the channels were dropped, and nobody reads those
            self.made[call.output, form.result] = operands[0]
            return
        operands += [self.b.const(c.make(), c.name) for c in form.constants]
        names = [blocked_name(v.name, form.result) for v in call.outputs]
        outputs = self.b.multi(form.op, *operands, names=names)
        for old, new in zip(call.outputs, outputs):
            self.made[old, form.result] = new

    def _in_layout(self, value: Value, layout: int) -> Value:
        """The value in a layout, transformed from another one at first need."""
        if isinstance(value, Const):
            return self._constant(value, layout)
        if (value, layout) not in self.made:
            if layout == ROW_MAJOR:
                self.made[value, layout] = self._unpack(value)
            else:
                self.made[value, layout] = self._pack(value, layout)
        return self.made[value, layout]

    def _constant(self, value: Const, layout: int) -> Value:
        if layout == ROW_MAJOR or is_scalar(value):
            return value
        if (value, layout) not in self.made:
            packed = pack_array(value.data.reshape(four_axes(value.type)), layout)
            self.made[value, layout] = self.b.const(packed, blocked_name(value.name, layout))
        return self.made[value, layout]

    def _pack(self, value: Value, layout: int) -> Value:
        op: Op = PackChannels(layout)
        if same_bytes(value.type, layout):
            op = Reshape(in_layout(value.type, layout).shape)
        plain = self._in_layout(value, ROW_MAJOR)
        return self.b.call(op, plain, name=blocked_name(value.name, layout))

    def _unpack(self, value: Value) -> Value:
        layout = next(layout for v, layout in self.made if v is value)
        op: Op = UnpackChannels(channels_of(value.type))
        if same_bytes(value.type, layout):
            op = Reshape(value.type.shape)
        return self.b.call(op, self.made[value, layout], name=value.name)
