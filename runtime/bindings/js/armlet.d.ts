export type Dtype =
    | "float16" | "float32" | "float64" | "int8" | "int16" | "int32" | "int64"
    | "uint8" | "uint16" | "uint32" | "uint64" | "bool";

export type Data =
    | Float32Array | Float64Array | Int8Array | Int16Array | Int32Array | BigInt64Array
    | Uint8Array | Uint16Array | Uint32Array | BigUint64Array;

export interface TensorInfo {
    readonly name: string;
    readonly dtype: Dtype;
    readonly shape: readonly number[];
    readonly bytes: number;
}

export interface TaskTime {
    /** the value that the task computes */
    value: string;
    /** the layer's name in the source model, or "" */
    source: string;
    template: string;
    seconds: number;
}

export interface Value {
    name: string;
    source: string;
    dtype: Dtype;
    shape: number[];
    data: Data;
}

export class ArmletError extends Error {}

/** Loads a model from a URL, a Response, bytes, a path (Node) or a module of another model. */
export function load(
    source: string | URL | Response | ArrayBuffer | ArrayBufferView | WebAssembly.Module,
): Promise<Model>;

export class Model {
    private constructor();
    readonly module: WebAssembly.Module;
    readonly inputs: readonly TensorInfo[];
    readonly outputs: readonly TensorInfo[];
    /** what the artifact was made of and for */
    readonly manifest: Record<string, unknown>;
    /** The memory of an input, to be filled in place. */
    input(name: string): Data;
    /** Computes the outputs: views that the next run overwrites. */
    run(feeds?: Record<string, Data>): Record<string, Data>;
    profile(runs?: number): TaskTime[];
    selftest(): { passed: boolean; compared: number; wrong: number };
    observe(callback: ((value: Value) => void) | null): void;
    dispose(): void;
}
