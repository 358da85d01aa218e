package io.armlet;

/** Types of elements, in the order of armlet.h's armlet_dtype. */
public enum DType {
    FLOAT16(2),
    FLOAT32(4),
    FLOAT64(8),
    INT8(1),
    INT16(2),
    INT32(4),
    INT64(8),
    UINT8(1),
    UINT16(2),
    UINT32(4),
    UINT64(8),
    BOOL(1);

    /** Bytes of an element. */
    public final int bytes;

    DType(int bytes) {
        this.bytes = bytes;
    }

    static DType of(int code) {
        return values()[code - 1];
    }
}
