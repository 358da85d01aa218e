package io.armlet;

/** A failed call, with the reason that the model gave. */
public class ArmletException extends RuntimeException {
    private static final long serialVersionUID = 1;

    private final int status;

    ArmletException(int status, byte[] message) {
        super(Native.text(message));
        this.status = status;
    }

    /** One of armlet.h's armlet_status. */
    public int status() {
        return status;
    }
}
