/* node node.mjs ARMLET.MJS ORT_FOLDER ARTIFACT MODEL: prints what compare finds, as JSON. */
import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";

import { compare } from "./compare.mjs";

const [binding, folder, artifact, model] = process.argv.slice(2);
const { load } = await import(pathToFileURL(binding));
const ort = await import(pathToFileURL(`${folder}/ort.wasm.mjs`));
const found = await compare({ load, ort, artifact, model: new Uint8Array(await readFile(model)) });
console.log(JSON.stringify(found));
process.exit(0);
