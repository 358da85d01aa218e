package io.armlet;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;

/**
 * Memory and threads to run a model with. One belongs to one thread at a time; only {@link #cancel}
 * may be called from elsewhere.
 */
public final class Session implements AutoCloseable {
    private final Model model;
    private final long library;
    // held while the session is in use, and while it is looked at by who wants to cancel
    private final Object use = new Object();
    private final Object life = new Object();
    // the native side reads and writes them: they must not be collected
    private final ByteBuffer[] inputs;
    private final ByteBuffer[] outputs;
    private long handle;

    Session(Model model, long library, Accelerators accelerators, int threads, int[] cpus) {
        this.model = model;
        this.library = library;
        inputs = new ByteBuffer[model.inputs().size()];
        outputs = new ByteBuffer[model.outputs().size()];
        try {
            handle =
                    Native.create(
                            library,
                            threads,
                            cpus,
                            accelerators.devices,
                            accelerators.cache,
                            accelerators.maxKernelMillis);
        } finally {
            if (handle == 0) {
                Native.close(library);
            }
        }
        for (int i = 0; i < outputs.length; i++) {
            setOutput(i, model.outputs().get(i).allocate());
        }
    }

    private long handle() {
        if (handle == 0) {
            throw new IllegalStateException("the session is closed");
        }
        return handle;
    }

    /** The buffer that runs read this input from; one is made if none was set. */
    public ByteBuffer input(int index) {
        synchronized (use) {
            if (inputs[index] == null) {
                setInput(index, model.inputs().get(index).allocate());
            }
            return inputs[index].duplicate().order(ByteOrder.nativeOrder());
        }
    }

    public ByteBuffer input(String name) {
        return input(index(model.inputs(), name));
    }

    /** Lets runs read this input from a direct buffer's bytes between position and limit. */
    public void setInput(int index, ByteBuffer buffer) {
        synchronized (use) {
            ByteBuffer slice = model.inputs().get(index).checked(buffer);
            Native.bind(library, handle(), false, index, slice, slice.capacity());
            inputs[index] = slice;
        }
    }

    public void setInput(String name, ByteBuffer buffer) {
        setInput(index(model.inputs(), name), buffer);
    }

    /** The buffer that runs write this output to: the one that was set, else one made here. */
    public ByteBuffer output(int index) {
        synchronized (use) {
            return outputs[index].duplicate().order(ByteOrder.nativeOrder());
        }
    }

    public ByteBuffer output(String name) {
        return output(index(model.outputs(), name));
    }

    /** Lets runs write this output to a direct buffer's bytes between position and limit. */
    public void setOutput(int index, ByteBuffer buffer) {
        synchronized (use) {
            ByteBuffer slice = model.outputs().get(index).checked(buffer);
            Native.bind(library, handle(), true, index, slice, slice.capacity());
            outputs[index] = slice;
        }
    }

    public void setOutput(String name, ByteBuffer buffer) {
        setOutput(index(model.outputs(), name), buffer);
    }

    /** Computes the outputs. */
    public void run() {
        synchronized (use) {
            Native.run(library, handle());
        }
    }

    /** From any thread: ends the run that is going on, if there is one, after its current task. */
    public void cancel() {
        synchronized (life) {
            if (handle != 0) {
                Native.cancel(library, handle);
            }
        }
    }

    /** Compares the answers on this device with those of the source model. */
    public void selftest() {
        synchronized (use) {
            Native.selftest(library, handle());
        }
    }

    /** Threads in use, the caller's included. */
    public int threads() {
        synchronized (use) {
            return Native.threads(library, handle());
        }
    }

    /** The parts that accelerators may do, and whether they do. */
    public List<Region> regions() {
        synchronized (use) {
            List<Region> found = new ArrayList<>();
            for (int i = 0; i < Native.regions(library); i++) {
                found.add(Native.region(library, handle(), i));
            }
            return found;
        }
    }

    /** Waits for a run that is going on. Buffers stay what they are. */
    @Override
    public void close() {
        synchronized (use) {
            synchronized (life) {
                if (handle != 0) {
                    Native.destroy(library, handle);
                    Native.close(library);
                    handle = 0;
                }
            }
        }
    }

    private static int index(List<Tensor> tensors, String name) {
        for (int i = 0; i < tensors.size(); i++) {
            if (tensors.get(i).name().equals(name)) {
                return i;
            }
        }
        throw new IllegalArgumentException("there is no " + name + " among " + tensors);
    }
}
