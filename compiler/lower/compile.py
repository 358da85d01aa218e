"""Groups to kernels: equal workloads once, from the cache where possible, else in parallel."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from armlet.compiler.ir import Const, Value, Var
from armlet.compiler.ir.group import Group, is_immediate
from armlet.compiler.records import Record, Records
from armlet.errors import ArmletError, InternalError
from armlet.settings import JOBS
from armlet.targets import Target

from . import cache, worker
from .kernel import Kernel

#: called with (kernels done, kernels in all, what was just done)
Progress = Callable[[int, int, str], None]

#: key, group and, if there is one, the record that says how
_Work = tuple[str, Group, Record | None]

#: kernels below which starting processes costs more than it saves
FEW = 10


def without_data(group: Group) -> Group:
    """The group with variables for its constants: the code depends on their types only."""
    stand_in: dict[Value, Var] = {
        v: Var(f"p{i}", v.type) for i, v in enumerate(group.inputs) if isinstance(v, Const)
    }

    def swap(value: Value) -> Value:
        return value if is_immediate(value) else stand_in.get(value, value)

    calls = {c: replace(c, operands=tuple(map(swap, c.operands))) for c in group.calls}
    return Group(
        tuple(calls.values()),
        None if group.anchor is None else calls[group.anchor],
        tuple(map(swap, group.inputs)),
        group.output,
        tuple(calls[c] for c in group.producers),
    )


def lower(
    groups: Iterable[Group],
    target: Target,
    progress: Progress | None = None,
    jobs: int | None = None,
    records: Records | None = None,
) -> list[Kernel]:
    """A kernel for each group, as ``records`` say where they know; equal groups share one."""
    groups = list(groups)
    best = [records.best(g.workload, target) if records else None for g in groups]
    keys = [cache.key_of(g, target, r) for g, r in zip(groups, best, strict=True)]
    made = {k: cache.load(k) for k in dict.fromkeys(keys)}
    missing = {k: (g, r) for k, g, r in zip(keys, groups, best, strict=True) if made[k] is None}
    found = len(made) - len(missing)

    def done(kernel: Kernel, source: str) -> None:
        nonlocal found
        cache.save(kernel)
        made[kernel.key] = kernel
        found += 1
        if progress:
            progress(found, len(made), source)

    if progress and found:
        progress(found, len(made), "")
    jobs = min(jobs or JOBS.value, len(missing))
    if not missing:
        pass
    elif len(missing) < FEW or jobs < 2:
        from .build import build

        for key, (group, record) in missing.items():
            done(build(without_data(group), target, key, record), group.source)
    else:
        # the longest first, so that none is left over at the end
        order = sorted(missing, key=lambda k: -missing[k][0].macs)
        _in_processes([(k, *missing[k]) for k in order], target, jobs, done)
    return [made[k] for k in keys]  # type: ignore[misc]


def _in_processes(
    work: Sequence[_Work],
    target: Target,
    jobs: int,
    done: Callable[[Kernel, str], None],
) -> None:
    """Each thread feeds one worker process; answers are handled here."""
    tasks: queue.SimpleQueue[_Work] = queue.SimpleQueue()
    answers: queue.SimpleQueue[tuple[object, str]] = queue.SimpleQueue()
    for item in work:
        tasks.put(item)
    processes = [_start() for _ in range(jobs)]
    threads = [
        threading.Thread(target=_feed, args=(p, tasks, answers, target), daemon=True)
        for p in processes
    ]
    try:
        for thread in threads:
            thread.start()
        for _ in work:
            answer, source = answers.get()
            if isinstance(answer, ArmletError):
                raise answer
            assert isinstance(answer, Kernel)
            done(answer, source)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _start() -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    command = [sys.executable, "-m", worker.__name__]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)


def _feed(
    process: subprocess.Popen[bytes],
    tasks: queue.SimpleQueue[_Work],
    answers: queue.SimpleQueue[tuple[object, str]],
    target: Target,
) -> None:
    assert process.stdin and process.stdout
    while True:
        try:
            key, group, record = tasks.get_nowait()
        except queue.Empty:
            return
        try:
            worker.send(process.stdin, (without_data(group), target, key, record))  # type: ignore[arg-type]
            answer = worker.receive(process.stdout)  # type: ignore[arg-type]
        except (OSError, EOFError):
            answer = InternalError(
                f"the process that built a kernel died\n{group.text}", where=group.source
            )
        answers.put((answer, group.source))
