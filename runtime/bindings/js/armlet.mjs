/* armlet for JavaScript: runs a model that was compiled for wasm32, in a browser or in Node.
 *
 *     import { load } from "./armlet.mjs";
 *     const model = await load("model.wasm");
 *     const { scores } = await model.run({ image: pixels });
 *
 * Outputs (and what `input` returns) are views of the module's memory, without a copy: the next
 * run overwrites them, and `dispose` ends them. Types are in armlet.d.ts. */

const KINDS = [
    null,
    ["float16", globalThis.Float16Array ?? Uint16Array],
    ["float32", Float32Array], ["float64", Float64Array],
    ["int8", Int8Array], ["int16", Int16Array], ["int32", Int32Array], ["int64", BigInt64Array],
    ["uint8", Uint8Array], ["uint16", Uint16Array], ["uint32", Uint32Array],
    ["uint64", BigUint64Array], ["bool", Uint8Array],
];

/* Sizes of armlet.h's structs where pointers have 32 bits. */
const TENSOR_INFO = 24, OPTIONS = 28, PROFILE_ENTRY = 40, SELFTEST_REPORT = 64, MESSAGE = 256;
const OK = 0, SELFTEST_FAILED = 8;

export class ArmletError extends Error {
    name = "ArmletError";
}

/* What a module may ask for: C's functions of <math.h> are Math's, and those with an f at the end
 * round to float32 by their type. */
function environment(module) {
    const own = { now: () => performance.now(), fmod: (a, b) => a % b };
    const env = {};
    for (const { name } of WebAssembly.Module.imports(module)) {
        const plain = name.replace(/f$/, "");
        env[name] = own[name] ?? own[plain] ?? Math[name] ?? Math[plain];
    }
    return { env };
}

async function fetched(address) {
    const response = address instanceof Response ? address : await fetch(address);
    if (!response.ok)
        throw new ArmletError(`${response.url}: the server answers ${response.status}`);
    // only this type may be compiled while it arrives
    if (response.headers.get("Content-Type")?.startsWith("application/wasm"))
        return WebAssembly.compileStreaming(response);
    return WebAssembly.compile(await response.arrayBuffer());
}

/* Node's fetch reads no files. */
async function compiled(source) {
    if (source instanceof WebAssembly.Module) return source;
    if (source instanceof ArrayBuffer || ArrayBuffer.isView(source))
        return WebAssembly.compile(source);
    const isFile = globalThis.process?.versions?.node && !/^(https?|data|blob):/.test(source.url ?? source);
    if (!isFile) return fetched(source);
    const { readFile } = await import("node:fs/promises");
    return WebAssembly.compile(await readFile(/^file:/.test(source) ? new URL(source) : source));
}

/* Loads a model from a URL, a Response, bytes, a path (Node) or a WebAssembly.Module, which several
 * models may share. */
export async function load(source) {
    let module, instance;
    try {
        module = await compiled(source);
        instance = await WebAssembly.instantiate(module, environment(module));
    } catch (error) {
        if (error instanceof ArmletError) throw error;
        const cause = error instanceof WebAssembly.CompileError
            ? "this is no WebAssembly that the engine knows" : "the model cannot be loaded";
        throw new ArmletError(`${cause}: ${error.message}`, { cause: error });
    }
    if (!instance.exports.armlet_create)
        throw new ArmletError("the module was not made by armlet");
    return new Model(module, instance.exports);
}

export class Model {
    #exports;
    #handle = 0;
    #buffers = [];
    #observer = 0;

    /* Use `load`. */
    constructor(module, exports) {
        this.module = module;
        this.#exports = exports;
        const count = kind => exports[`armlet_${kind}_count`]();
        this.inputs = Array.from({ length: count("input") }, (_, i) => this.#info("input", i));
        this.outputs = Array.from({ length: count("output") }, (_, i) => this.#info("output", i));
        const size = this.#allocate(4);
        const text = exports.armlet_manifest(size);
        this.manifest = JSON.parse(this.#decode(text, this.#memory.getUint32(size, true)));
        exports.free(size);
        this.#create();
        for (const [i, info] of this.inputs.entries()) {
            const at = this.#allocate(info.bytes);
            this.#buffers.push(at);
            this.#check(exports.armlet_set_input(this.#handle, i, at, info.bytes));
        }
    }

    /* The memory of an input, to be filled in place. */
    input(name) {
        const i = this.#find(this.inputs, "input", name);
        return this.#view(this.#buffers[i], this.inputs[i]);
    }

    /* Computes the outputs, by name. Inputs that are not given keep what they hold. */
    run(feeds = {}) {
        for (const [name, data] of Object.entries(feeds)) this.#feed(name, data);
        this.#check(this.#c.armlet_run(this.#handle));
        const views = this.outputs.map((info, i) =>
            [info.name, this.#view(this.#c.armlet_output(this.#handle, i), info)]);
        return Object.fromEntries(views);
    }

    /* Every task in order, with its mean seconds over `runs` runs after one more. */
    profile(runs = 10) {
        const tasks = [], at = this.#struct(PROFILE_ENTRY);
        this.run();
        this.#check(this.#c.armlet_set_profiling(this.#handle, 1));
        for (let i = 0; i < runs; i++) this.run();
        for (let i = 0; i < this.#c.armlet_task_count(); i++) {
            this.#check(this.#c.armlet_profile(this.#handle, i, at));
            const [value, source, template] = [4, 8, 12].map(o => this.#text(this.#pointer(at + o)));
            const seconds = runs ? this.#memory.getFloat64(at + 16, true) / runs : 0;
            tasks.push({ value, source, template, seconds });
        }
        this.#c.armlet_set_profiling(this.#handle, 0);
        this.#c.free(at);
        return tasks;
    }

    /* Compares the answers on known inputs with those of the model's source. */
    selftest() {
        const at = this.#struct(SELFTEST_REPORT);
        const status = this.#c.armlet_selftest(this.#handle, at);
        const compared = Number(this.#memory.getBigUint64(at + 8, true));
        const wrong = Number(this.#memory.getBigUint64(at + 16, true));
        this.#c.free(at);
        if (status !== SELFTEST_FAILED) this.#check(status);
        return { passed: wrong === 0, compared, wrong };
    }

    /* From now on runs call `callback({name, source, dtype, shape, data})` after every task; null
     * ends that. The data's memory is used again by later tasks. */
    observe(callback) {
        const seen = (_, at) => {
            const rank = this.#pointer(at + 8);
            const dtype = this.#pointer(at + 32);
            callback({
                name: this.#text(this.#pointer(at + 12)),
                source: this.#text(this.#pointer(at + 16)),
                dtype: KINDS[dtype][0],
                shape: this.#shape(this.#pointer(at + 20), rank),
                data: this.#array(KINDS[dtype][1], this.#pointer(at + 24), this.#pointer(at + 28)),
            });
        };
        const table = this.#c.__indirect_function_table;
        if (callback) {
            this.#observer ||= table.grow(1);
            table.set(this.#observer, exported(seen));
        }
        this.#check(this.#c.armlet_observe(this.#handle, callback ? this.#observer : 0, 0));
    }

    /* Frees the memory; the model and views of it may not be used afterwards. */
    dispose() {
        this.#exports = null;
    }

    get #c() {
        if (!this.#exports) throw new ArmletError("the model was disposed");
        return this.#exports;
    }

    // memory's buffer changes when it grows, so nothing here is kept
    get #memory() {
        return new DataView(this.#c.memory.buffer);
    }

    #pointer(at) {
        return this.#memory.getUint32(at, true);
    }

    #allocate(bytes) {
        const at = this.#c.malloc(bytes);
        if (!at) throw new ArmletError(`out of memory: ${bytes} more bytes are needed`);
        return at;
    }

    /* A zeroed struct that begins with its size. */
    #struct(bytes) {
        const at = this.#allocate(bytes);
        new Uint8Array(this.#c.memory.buffer, at, bytes).fill(0);
        this.#memory.setUint32(at, bytes, true);
        return at;
    }

    #create() {
        const options = this.#struct(OPTIONS), message = this.#struct(MESSAGE), made = this.#allocate(4);
        const view = this.#memory;
        view.setInt32(options + 4, 1, true);
        view.setUint32(options + 20, message, true);
        view.setUint32(options + 24, MESSAGE, true);
        view.setUint8(message, 0);
        const status = this.#c.armlet_create(options, made);
        this.#handle = this.#pointer(made);
        if (status !== OK) throw new ArmletError(this.#text(message) || this.#status(status));
        for (const at of [options, message, made]) this.#c.free(at);
    }

    #info(kind, index) {
        const at = this.#struct(TENSOR_INFO);
        this.#c[`armlet_${kind}_info`](index, at);
        const [name, shape, rank, dtype, bytes] = [4, 8, 12, 16, 20].map(o => this.#pointer(at + o));
        this.#c.free(at);
        return Object.freeze({
            name: this.#text(name), dtype: KINDS[dtype][0], shape: this.#shape(shape, rank), bytes,
        });
    }

    #shape(at, rank) {
        return Array.from(new BigInt64Array(this.#c.memory.buffer, at, rank), Number);
    }

    #decode(at, size) {
        return new TextDecoder().decode(new Uint8Array(this.#c.memory.buffer, at, size));
    }

    #text(at) {
        const size = new Uint8Array(this.#c.memory.buffer, at).indexOf(0);
        return this.#decode(at, size);
    }

    #array(type, at, bytes) {
        return new type(this.#c.memory.buffer, at, bytes / type.BYTES_PER_ELEMENT);
    }

    #view(at, info) {
        const [, type] = KINDS.find(kind => kind?.[0] === info.dtype);
        return this.#array(type, at, info.bytes);
    }

    #find(infos, kind, name) {
        const i = infos.findIndex(info => info.name === name);
        if (i >= 0) return i;
        const known = infos.map(info => `'${info.name}'`).join(", ");
        throw new ArmletError(`the model has no ${kind} '${name}': it has ${known || "none"}`);
    }

    #feed(name, data) {
        const view = this.input(name), { dtype, shape } = this.inputs.find(t => t.name === name);
        if (data?.constructor !== view.constructor)
            throw new ArmletError(`input '${name}' is ${data?.constructor?.name ?? data}, and ` +
                `${view.constructor.name} is expected (${dtype})`);
        if (data.length !== view.length)
            throw new ArmletError(`input '${name}' has ${data.length} elements, and ` +
                `${view.length} are expected (${shape.join("x")})`);
        if (data.buffer !== view.buffer || data.byteOffset !== view.byteOffset) view.set(data);
    }

    #status(status) {
        return this.#text(this.#c.armlet_status_text(status));
    }

    #check(status) {
        if (status === OK) return;
        throw new ArmletError(this.#text(this.#c.armlet_error(this.#handle)) || this.#status(status));
    }
}

/* A function of JavaScript as one that C may call: tables hold functions of modules only, so a
 * module that imports (i32, i32) -> () and exports it again. */
function exported(f) {
    const bytes = [
        0, 97, 115, 109, 1, 0, 0, 0, 1, 6, 1, 96, 2, 127, 127, 0, // type
        2, 7, 1, 1, 101, 1, 102, 0, 0, 7, 5, 1, 1, 102, 0, 0, // import e.f, export f
    ];
    const module = new WebAssembly.Module(new Uint8Array(bytes));
    return new WebAssembly.Instance(module, { e: { f } }).exports.f;
}
