package io.armlet;

/** A part of a model that an accelerator may do in one step, as a session has it. */
public final class Region {
    private final String name;
    private final String backEnd;
    private final String reason;
    private final boolean live;

    Region(byte[] name, byte[] backEnd, byte[] reason, boolean live) {
        this.name = Native.text(name);
        this.backEnd = Native.text(backEnd);
        this.reason = Native.text(reason);
        this.live = live;
    }

    /** The layers at its ends. */
    public String name() {
        return name;
    }

    /** The accelerator that the model has a program for. */
    public String backEnd() {
        return backEnd;
    }

    /** Whether the accelerator does it. */
    public boolean live() {
        return live;
    }

    /** Why the CPU does it; of a live one, what makes it slower than it could be, or "". */
    public String reason() {
        return reason;
    }

    @Override
    public String toString() {
        return name + " on " + (live ? backEnd : "the CPU: " + reason);
    }
}
