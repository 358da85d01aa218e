/* Runs an artifact once in a process of its own, as guest.c does.
 *
 *     node guest.mjs MODEL.wasm INPUTS OUTPUTS [VALUES]
 *     node guest.mjs --describe MODEL.wasm FILE
 *
 * The latter writes what the model says of itself, as JSON. */
import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";

import { load } from "../bindings/js/armlet.mjs";

const CODES = [
    "", "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16",
    "uint32", "uint64", "bool",
];

const bytesOf = array => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

async function describe(path, file) {
    const model = await load(readFileSync(path));
    const { inputs, outputs, manifest } = model;
    writeFileSync(file, JSON.stringify({ inputs, outputs, manifest, tasks: model.profile(1) }));
}

async function run(path, inputs, outputs, values) {
    const model = await load(readFileSync(path));
    const feeds = readFileSync(inputs);
    let at = 0;
    for (const { name, bytes } of model.inputs) {
        bytesOf(model.input(name)).set(feeds.subarray(at, at + bytes));
        at += bytes;
    }
    const seen = values && openSync(values, "w");
    if (values)
        model.observe(({ name, dtype, data }) => {
            writeSync(seen, `${data.byteLength} ${CODES.indexOf(dtype)} ${name}\n`);
            writeSync(seen, bytesOf(data));
        });
    const file = openSync(outputs, "w");
    for (const data of Object.values(model.run())) writeSync(file, bytesOf(data));
    closeSync(file);
    if (values) closeSync(seen);
}

const [first, ...rest] = process.argv.slice(2);
await (first === "--describe" ? describe(...rest) : run(first, ...rest)).catch(error => {
    console.error(`${error.name}: ${error.message}`);
    process.exit(1);
});
