package io.armlet;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;

/** What an input or output is like; tensors are dense and row-major. */
public final class Tensor {
    private final String name;
    private final DType dtype;
    private final long[] shape;
    private final long bytes;

    Tensor(long model, boolean output, int index) {
        name = Native.text(Native.name(model, output, index));
        dtype = DType.of(Native.dtype(model, output, index));
        shape = Native.shape(model, output, index);
        bytes = Native.bytes(model, output, index);
    }

    public String name() {
        return name;
    }

    public DType dtype() {
        return dtype;
    }

    public long[] shape() {
        return shape.clone();
    }

    public long bytes() {
        return bytes;
    }

    /** A buffer that a session can use without a copy. */
    public ByteBuffer allocate() {
        return ByteBuffer.allocateDirect(Math.toIntExact(bytes)).order(ByteOrder.nativeOrder());
    }

    /** The buffer's bytes from its position to its limit, if a session can use them. */
    ByteBuffer checked(ByteBuffer buffer) {
        String problem = null;
        if (!buffer.isDirect()) {
            problem = "the buffer is not direct";
        } else if (buffer.remaining() != bytes) {
            problem = "the buffer has " + buffer.remaining() + " bytes, and " + bytes + " are needed";
        } else if (dtype.bytes > 1 && buffer.order() != ByteOrder.nativeOrder()) {
            problem = "the buffer's order is not ByteOrder.nativeOrder()";
        }
        if (problem != null) {
            throw new IllegalArgumentException(name + ": " + problem + " (Tensor.allocate makes one)");
        }
        return buffer.slice();
    }

    @Override
    public String toString() {
        return name + ": " + dtype + Arrays.toString(shape);
    }
}
