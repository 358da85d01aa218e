"""Random graphs that join, cut and map tensors, their plans played by NumPy."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from armlet.compiler.ir import Builder, Call, Const, TensorType
from armlet.compiler.lower.kernel import Kernel
from armlet.compiler.ops.activation import Relu
from armlet.compiler.ops.binary import Add
from armlet.compiler.ops.interpreter import evaluate
from armlet.compiler.ops.normalize import Softmax
from armlet.compiler.ops.shape import Concat, Reshape, Slice
from armlet.compiler.partition.parts import cut
from armlet.compiler.passes import form_views, separate_results
from armlet.compiler.passes.fuse import fuse
from armlet.compiler.plan.plan import Program, RegionTasks, Space
from armlet.compiler.plan.planner import plan
from armlet.compiler.plan.verifier import verify_plan


class Grower:
    """Adds random calls on tensors [1,C,3]; ``draw`` picks from a list."""

    def __init__(self, draw) -> None:
        self.draw, self.b = draw, Builder(source="s")
        self.params = [self.b.param(f"x{i}", TensorType((1, i + 2, 3))) for i in range(2)]
        self.values = [*self.params, self.b.const(np.ones((1, 2, 3), "f"))]

    def pick(self):
        return self.draw(self.values[-4:] if self.draw([0, 1]) else self.values)

    def step(self) -> None:
        x = self.pick()
        self.values.append(self.draw([self.join, self.join, self.cut, self.map, self.sum])(x))

    def join(self, x):
        parts = [x, *(self.pick() for _ in range(self.draw([1, 2])))]
        return self.b.call(Concat(1), *parts) if sum(p.type.shape[1] for p in parts) < 40 else x

    def cut(self, x):
        count = x.type.shape[1]
        first = self.draw(range(count))
        size = self.draw(range(1, count - first + 1))
        return self.b.call(Slice((0, first, 0), (1, size, 3), (1, 1, 1)), x)

    def map(self, x):
        op = self.draw([Relu(), Softmax(1), Reshape((x.type.elements,))])
        y = self.b.call(op, x)
        return y if y.type.rank == 3 else self.b.call(Reshape(x.type.shape), y)

    def sum(self, x):
        fitting = [v for v in self.values if v.type == x.type]
        return self.b.call(Add(), x, self.draw(fitting))

    def function(self):
        results = [self.pick() for _ in range(self.draw([1, 2, 3]))]
        return self.b.function(self.params, [self.values[-1], *results])


def play(made, function, items, feeds, regions=()):
    """The results, by reading and writing where the plan says; regions write all at once."""
    memory = {(Space.ARENA, 0): bytearray(made.arena_bytes)}
    memory |= {(Space.INPUT, i): bytearray(f.tobytes()) for i, f in enumerate(feeds.values())}
    memory |= {(Space.OUTPUT, i): bytearray(o.type.bytes) for i, o in enumerate(made.outputs)}
    memory[Space.CONSTANT, 0] = bytearray(made.constant_bytes)
    for offset, data in made.constants:
        memory[Space.CONSTANT, 0][offset : offset + data.nbytes] = data.tobytes()

    def at(place, type):
        held = np.frombuffer(
            memory[place.space, place.index], type.dtype, type.elements, place.offset
        )
        return held.reshape(type.static_shape)

    right = {}
    evaluate(function, feeds, right.__setitem__)
    groups = [i for i in items if not isinstance(i, Call)]
    inside = set()
    for number, (task, group) in enumerate(zip(made.tasks, groups, strict=True)):
        for region, places in zip(regions, made.regions):
            if region.first_task == number:
                inside = set(range(number, number + region.task_count))
                for value, place in zip(region.outputs, places.outputs, strict=True):
                    at(place, value.type)[...] = right[value]
                for value, place in zip(region.inputs, places.inputs, strict=True):
                    held = feeds[value.name] if value in function.params else right[value]
                    np.testing.assert_array_equal(at(place, value.type), held)
        if number in inside:
            continue
        operands = [v for call in group.calls for v in call.operands]
        values = {v: v.data for v in operands if isinstance(v, Const)}
        values |= {v: at(p, v.type).copy() for v, p in zip(group.inputs, task.arguments)}
        for call in group.calls:
            values[call.output] = call.op.evaluate(*(values[v] for v in call.operands))
        at(task.arguments[-1], group.output.type)[...] = values[group.output]
    return [
        np.frombuffer(memory[Space.OUTPUT, i], o.type.dtype).reshape(o.type.static_shape)
        for i, o in enumerate(made.outputs)
    ]


def grown(data, steps):
    grower = Grower(lambda options: data.draw(st.sampled_from(options)))
    for _ in range(steps):
        grower.step()
    return grower.function()


def planned(function, items, regions=()):
    groups = [i for i in items if not isinstance(i, Call)]
    kernels = {g: Kernel(g.key("t"), "k", b"", 1, 0, "none", 1) for g in groups}
    names = [f"y{i}" for i in range(len(function.results))]
    made = plan(function, names, items, kernels, regions)
    verify_plan(made, function, items, regions)
    return made


def feeds_of(function):
    rng = np.random.default_rng(0)
    return {p.name: rng.standard_normal(p.type.shape).astype("f") for p in function.params}


@settings(max_examples=300, deadline=None)
@given(st.data(), st.integers(2, 14))
def test_a_random_plan_computes_what_the_function_means(data, steps):
    before = grown(data, steps)
    function = form_views.run(separate_results.run(before))
    items = fuse(function)
    made, feeds = planned(function, items), feeds_of(before)
    assert not any(isinstance(r, Const) for r in function.results)
    for found, right in zip(
        play(made, function, items, feeds), evaluate(before, feeds), strict=True
    ):
        np.testing.assert_array_equal(found, right)
    assert made.arena_lower_bound <= made.arena_bytes


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(2, 14))
def test_a_region_of_a_random_plan_may_be_done_at_once(data, steps):
    before = separate_results.run(grown(data, steps))
    marks, left = [], list(before)
    while left:
        count = data.draw(st.integers(1, len(left)))
        marks.append((left[:count], data.draw(st.sampled_from([None, "npu"]))))
        left = left[count:]
    parts = cut(before, marks).apart().apply(form_views.run)
    function, items, regions = parts.function, [], []
    for part in parts.parts:
        first = sum(not isinstance(i, Call) for i in items)
        items += fuse(part.function)
        count = sum(not isinstance(i, Call) for i in items) - first
        if part.region and count:
            program = Program("none", f"region {len(regions)}", "none", (), b"")
            regions.append(RegionTasks(program, first, count, part.inputs, part.outputs))
    made, feeds = planned(function, items, regions), feeds_of(before)
    for live in (regions, []):
        found = play(made, function, items, feeds, live)
        for a, right in zip(found, evaluate(before, feeds), strict=True):
            np.testing.assert_array_equal(a, right)
