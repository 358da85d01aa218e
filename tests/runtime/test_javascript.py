"""The JavaScript binding, in Node."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from armlet.compiler.link import check, formats, runtime, wasm
from armlet.compiler.link.format import FormatError
from armlet.compiler.link.seal import check_seal
from armlet.errors import InternalError, ToolchainError
from armlet.targets import target

from . import tiny

NODE = shutil.which("node")
BINDING = Path(runtime.HEADER).parents[1] / "bindings" / "js" / "armlet.mjs"
TARGET = target("wasm32")

pytestmark = pytest.mark.skipif(NODE is None, reason="Node is not installed")


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return tiny.artifact_for(TARGET, tmp_path_factory.mktemp("tiny") / "m.wasm")


@pytest.fixture
def node(path):
    """What a script says that is given ``model``, as JSON."""

    def run(script: str):
        text = f"""
            import {{ load, ArmletError }} from {json.dumps(BINDING.as_uri())};
            const path = {json.dumps(str(path))};
            const model = await load(path);
            const say = x => console.log(JSON.stringify(x));
            const caught = async f => {{
                try {{ await f(); }} catch (e) {{
                    if (e instanceof ArmletError) return e.message; throw e;
                }}
            }};
            {script}"""
        command = [str(NODE), "--input-type=module", "-e", text]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_answers_are_right(node):
    x = np.random.default_rng(0).standard_normal((tiny.ROWS, tiny.COLUMNS)).astype(np.float32)
    found = node(f"""
        const out = model.run({{ x: new Float32Array({x.ravel().tolist()}) }});
        say({{ y: Array.from(out.y), z: Array.from(out.z) }});""")
    right = tiny.evaluate(x)
    for name in "yz":
        np.testing.assert_allclose(found[name], right[name].ravel(), rtol=1e-5)


def test_it_tells_what_it_is(node):
    found = node("say([model.inputs, model.outputs, model.manifest])")
    inputs, outputs, manifest = found
    shape = [tiny.ROWS, tiny.COLUMNS]
    assert inputs == [{"name": "x", "dtype": "float32", "shape": shape, "bytes": 2048}]
    assert [o["name"] for o in outputs] == ["y", "z"]
    assert manifest == {"model": "tiny ☃"}


def test_inputs_and_outputs_are_views(node):
    found = node("""
        const x = model.input("x").fill(1), first = model.run().y;
        x.fill(0);
        const second = model.run({ x }).y;
        say([first === second, first.byteOffset === second.byteOffset, Array.from(second)]);""")
    assert found == [False, True, [0] * tiny.ROWS]


def test_the_self_test_passes(node):
    assert node("say(model.selftest())")["passed"]


def test_tasks_are_timed_and_observed(node):
    found = node("""
        const seen = [];
        model.observe(v => seen.push([v.name, v.source, v.dtype, v.shape, v.data.length]));
        model.run();
        model.observe(null);
        model.run();
        say([seen, model.profile(3)]);""")
    seen, tasks = found
    whole = [tiny.ROWS, tiny.COLUMNS]
    assert seen[0] == ["a", "net/scale", "float32", whole, tiny.ROWS * tiny.COLUMNS]
    assert [s[0] for s in seen] == [t["value"] for t in tasks] == ["a", "b", "y", "z"]
    assert all(t["seconds"] >= 0 and t["template"] for t in tasks)


def test_models_share_a_module_and_nothing_else(node):
    found = node("""
        const other = await load(model.module);
        model.input("x").fill(1);
        other.input("x").fill(0);
        const sums = [model.run().y[0] > 0, other.run().y[0]];
        other.dispose();
        say([...sums, model.run().y[0] > 0]);""")
    assert found == [True, 0, True]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("model.run({ z: new Float32Array(1) })", "no input 'z': it has 'x'"),
        ("model.run({ x: new Float64Array(512) })", "Float64Array, and Float32Array is expected"),
        ("model.run({ x: [1] })", "Array, and Float32Array is expected"),
        ("model.run({ x: new Float32Array(2) })", "2 elements, and 512 are expected (8x64)"),
        ("load(new Uint8Array(8))", "no WebAssembly"),
        ("load('absent.wasm')", "absent.wasm"),
        ("(model.dispose(), model.run())", "disposed"),
        ("load(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]))", "not made by armlet"),
    ],
)
def test_mistakes_are_told(node, code, words):
    assert words in node(f"say(await caught(async () => {code}))")


# -- the file -------------------------------------------------------------------------------------


def test_a_module_needs_the_clock_alone(path):
    data = path.read_bytes()
    assert wasm.imports(data) == ["now"]
    assert set(runtime.exports()) < set(wasm.exports(data))


def test_functions_of_math_are_javascripts(tmp_path):
    """As a kernel calls them that no polynomial replaces."""
    source = tiny.SOURCES["increment"].replace("x[i] + 1", "powf(fmodf(x[i], 3), 2)")
    path = tiny.artifact_for(TARGET, tmp_path / "m.wasm", "float powf(float, float);"
                             "float fmodf(float, float);" + source)  # fmt: skip
    script = f"""
        import {{ load }} from {json.dumps(BINDING.as_uri())};
        const model = await load({json.dumps(str(path))});
        console.log(model.run({{ x: new Float32Array(512).fill(-2) }}).z[0]);"""
    command = [str(NODE), "--input-type=module", "-e", script]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    b = 4 * tiny.weights()[0] ** 2
    assert float(found.stdout) == pytest.approx((b % 3) ** 2)


def test_a_function_that_javascript_lacks_is_told(tmp_path):
    source = tiny.SOURCES["increment"].replace("x[i] + 1", "erff(x[i])")
    with pytest.raises(ToolchainError, match="erff"):
        tiny.artifact_for(TARGET, tmp_path / "m.wasm", "float erff(float);" + source)


def test_a_surplus_export_is_refused(path, monkeypatch):
    fewer = runtime.exports()[1:]
    monkeypatch.setattr(check.runtime, "exports", lambda: fewer)
    with pytest.raises(InternalError, match="armlet_abi_version"):
        check.check_artifact(path, TARGET)


def test_the_seal_finds_damage_outside_the_weights(path):
    data = bytearray(path.read_bytes())
    check_seal(memoryview(data))
    weights = formats.of_file(data).parts(memoryview(data))["weights"]
    assert weights.size == tiny.plan().constant_bytes
    for at in (20, weights.offset - 1, len(data) - 30):
        damaged = bytearray(data)
        damaged[at] ^= 1
        with pytest.raises(FormatError):
            check_seal(memoryview(damaged))
    with pytest.raises(FormatError):
        check_seal(memoryview(data[:-1]))
