/* armlet and onnxruntime-web in turns, on one model, with one thread; in Node or in a page. */

const median = times => times.toSorted((a, b) => a - b)[times.length >> 1];

/* The same numbers for both, in [-1, 1). */
function example(length) {
    let state = 1;
    return Float32Array.from({ length }, () => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return state / 2 ** 31 - 1;
    });
}

async function timed(run, ms) {
    const times = [], end = performance.now() + ms;
    while (times.length < 3 || performance.now() < end) {
        const begun = performance.now();
        await run();
        times.push(performance.now() - begun);
    }
    return times;
}

/* `artifact` is what `load` takes, `model` what onnxruntime-web does. */
export async function compare({ load, ort, artifact, model, rounds = 5, ms = 400 }) {
    ort.env.wasm.numThreads = 1;
    const compiled = await load(artifact);
    const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
    const info = compiled.inputs[0];
    const data = example(info.shape.reduce((a, b) => a * b, 1));
    const feeds = { [info.name]: new ort.Tensor("float32", data, info.shape) };
    const name = compiled.outputs[0].name;
    const right = (await session.run(feeds))[name].data;
    const found = compiled.run({ [info.name]: data })[name];
    const range = right.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    const error = right.reduce((a, b, i) => Math.max(a, Math.abs(b - found[i])), 0) / range;
    if (!(error < 1e-4)) throw new Error(`the answers differ by ${error} of their range`);
    const runs = { armlet: () => compiled.run(), "onnxruntime-web": () => session.run(feeds) };
    const times = Object.fromEntries(Object.keys(runs).map(key => [key, []]));
    for (const run of Object.values(runs)) await timed(run, ms); // engines compile hot code anew
    for (let round = 0; round < rounds; round++)
        for (const [key, run] of Object.entries(runs)) times[key].push(...await timed(run, ms / 2));
    const best = Object.fromEntries(Object.entries(times).map(([k, t]) => [k, Math.min(...t)]));
    const middle = Object.fromEntries(Object.entries(times).map(([k, t]) => [k, median(t)]));
    return { error, median: middle, best };
}
