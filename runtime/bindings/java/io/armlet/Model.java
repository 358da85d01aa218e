package io.armlet;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/**
 * A compiled model. Any thread may use it; each makes its own {@link Session}, and all sessions
 * share the weights.
 *
 * <pre>{@code
 * try (Model model = Model.load("mobilenet"); Session session = model.session()) {
 *     session.input(0).asFloatBuffer().put(pixels);
 *     session.run();
 *     session.output(0).asFloatBuffer().get(scores);
 * }
 * }</pre>
 */
public final class Model implements AutoCloseable {
    private final byte[] path;
    private final List<Tensor> inputs;
    private final List<Tensor> outputs;
    private final String manifest;
    private long handle;

    private Model(String library) {
        path = Native.bytes(library);
        handle = Native.open(path);
        inputs = tensors(handle, false);
        outputs = tensors(handle, true);
        manifest = Native.text(Native.manifest(handle));
    }

    /** The model NAME, in the application's own library libNAME.so. */
    public static Model load(String name) {
        return new Model(System.mapLibraryName(name));
    }

    /** The model in the file at {@code path}. */
    public static Model open(String path) {
        return new Model(path);
    }

    private static List<Tensor> tensors(long handle, boolean outputs) {
        List<Tensor> found = new ArrayList<>();
        for (int i = 0; i < Native.count(handle, outputs); i++) {
            found.add(new Tensor(handle, outputs, i));
        }
        return Collections.unmodifiableList(found);
    }

    public List<Tensor> inputs() {
        return inputs;
    }

    public List<Tensor> outputs() {
        return outputs;
    }

    /** What the model is made of and for, as JSON. */
    public String manifest() {
        return manifest;
    }

    /** A session with as many threads as the model can use. */
    public Session session() {
        return session(0);
    }

    /**
     * A session of that many threads, the caller's included; 0: all that are of use. {@code cpus}
     * places them, one number a thread.
     */
    public Session session(int threads, int... cpus) {
        return session(Accelerators.use(), threads, cpus);
    }

    /** The same, with what accelerators may do. */
    public synchronized Session session(Accelerators accelerators, int threads, int... cpus) {
        if (handle == 0) {
            throw new IllegalStateException("the model is closed");
        }
        return new Session(this, Native.open(path), accelerators, threads, cpus);
    }

    /** Sessions go on: each holds the library until it is closed itself. */
    @Override
    public synchronized void close() {
        if (handle != 0) {
            Native.close(handle);
            handle = 0;
        }
    }
}
