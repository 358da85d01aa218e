"""One global choice of forms, by dynamic programming over layouts.

Going forwards, ``reach[v][layout]`` is the least cost of having value v in a layout: of its
producer's forms and of what leads to their operands. Where a value has several readers each
bears its share, so that costs add up along any path; on a tree this is exact, elsewhere it
is the usual approximation. Going backwards each call then takes the form that is cheapest
for the layouts its readers took.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from armlet.compiler.ir import Call, Const, Function, Value
from armlet.compiler.records import Records
from armlet.targets import Target

from .cost import Costs
from .form import Form
from .forms import forms
from .layouts import ROW_MAJOR


@dataclass(frozen=True)
class _Option:
    """A call's best form of those with one result layout, and the cost of getting there."""

    form: Form
    total: float


def choose(function: Function, target: Target, records: Records) -> dict[Call, Form]:
    return _Choice(function, target, records).run()


class _Choice:
    def __init__(self, function: Function, target: Target, records: Records) -> None:
        self.function = function
        self.forms = {call: forms(call, target) for call in function.bindings}
        every = ((call, form) for call, found in self.forms.items() for form in found)
        self.costs = Costs(target, records, every)
        self.options: dict[Call, dict[int, _Option]] = {}
        self.reach: dict[Value, dict[int, float]] = {p: {ROW_MAJOR: 0.0} for p in function.params}

    def run(self) -> dict[Call, Form]:
        for call in self.function.bindings:
            self._price(call)
        wanted: dict[Value, set[int]] = defaultdict(set)
        for result in self.function.results:
            wanted[result].add(ROW_MAJOR)
        chosen: dict[Call, Form] = {}
        for call in reversed(self.function.bindings):
            form = chosen[call] = self._cheapest(call, wanted)
            for value, layout in zip(call.operands, form.operands):
                wanted[value].add(layout)
        return chosen

    def _price(self, call: Call) -> None:
        options: dict[int, _Option] = {}
        for form in self.forms[call]:
            total = self.costs.form(call, form)
            total += sum(self._share(v, layout) for v, layout in zip(call.operands, form.operands))
            best = options.get(form.result)
            if best is None or total < best.total:
                options[form.result] = _Option(form, total)
        self.options[call] = options
        for value in call.outputs:
            self.reach[value] = {layout: o.total for layout, o in options.items()}

    def _share(self, value: Value, layout: int) -> float:
        """A reader's share of having ``value`` in ``layout``; constants are free."""
        if isinstance(value, Const):
            return 0.0
        readers = max(1, len(self.function.readers.get(value, [])))
        return min(
            cost / readers + self._transform(value, have, layout)
            for have, cost in self.reach[value].items()
        )

    def _transform(self, value: Value, have: int, want: int) -> float:
        return self.costs.transform(value.type, have, want)

    def _cheapest(self, call: Call, wanted: dict[Value, set[int]]) -> Form:
        def total(option: _Option) -> float:
            return option.total + sum(
                self._transform(value, option.form.result, layout)
                for value in call.outputs
                for layout in wanted[value]
            )

        return min(self.options[call].values(), key=total).form
