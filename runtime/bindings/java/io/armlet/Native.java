package io.armlet;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/** The functions of armlet_jni.c. */
final class Native {
    static {
        System.loadLibrary("armlet_jni");
    }

    private Native() {}

    static String text(byte[] utf8) {
        return new String(utf8, StandardCharsets.UTF_8);
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static native long open(byte[] path);

    static native void close(long model);

    static native byte[] manifest(long model);

    static native int count(long model, boolean outputs);

    static native byte[] name(long model, boolean outputs, int index);

    static native long[] shape(long model, boolean outputs, int index);

    static native int dtype(long model, boolean outputs, int index);

    static native long bytes(long model, boolean outputs, int index);

    static native long create(
            long model, int threads, int[] cpus, int devices, byte[] cache, int maxKernelMillis);

    static native void destroy(long model, long session);

    static native int threads(long model, long session);

    static native int regions(long model);

    static native Region region(long model, long session, int index);

    static native void bind(
            long model, long session, boolean output, int index, ByteBuffer buffer, long bytes);

    static native void run(long model, long session);

    static native void cancel(long model, long session);

    static native void selftest(long model, long session);
}
