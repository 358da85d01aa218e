package io.armlet;

/**
 * What a session does with accelerators that its model has programs for. Immutable.
 *
 * <pre>{@code
 * model.session(Accelerators.use().cache(context.getCacheDir().getPath()), 0)
 * }</pre>
 */
public final class Accelerators {
    final int devices;
    final byte[] cache;
    final int maxKernelMillis;

    private Accelerators(int devices, byte[] cache, int maxKernelMillis) {
        this.devices = devices;
        this.cache = cache;
        this.maxKernelMillis = maxKernelMillis;
    }

    /** Accelerators where they are there, else the CPU. */
    public static Accelerators use() {
        return new Accelerators(0, null, 0);
    }

    /** Accelerators, or a session that cannot be made. */
    public static Accelerators require() {
        return new Accelerators(1, null, 0);
    }

    /** The CPU alone. */
    public static Accelerators leave() {
        return new Accelerators(2, null, 0);
    }

    /** With a folder that programs may be kept in which drivers compiled. */
    public Accelerators cache(String folder) {
        return new Accelerators(devices, Native.bytes(folder), maxKernelMillis);
    }

    /** A kernel of a GPU that takes longer is run in parts, so that the screen stays smooth. */
    public Accelerators maxKernelMillis(int millis) {
        return new Accelerators(devices, cache, millis);
    }
}
