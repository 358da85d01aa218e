import io.armlet.Accelerators;
import io.armlet.ArmletException;
import io.armlet.DType;
import io.armlet.Model;
import io.armlet.Session;
import io.armlet.Tensor;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;

/** Every part of io.armlet on the tiny model: x[8,64] -> y[8], z[8,64]. Prints y. */
public class Exercise {
    static void check(boolean condition, String what) {
        if (!condition) {
            throw new AssertionError(what);
        }
    }

    static String failure(Class<? extends Exception> type, Runnable act) {
        try {
            act.run();
        } catch (Exception e) {
            check(type.isInstance(e), type + " expected, not " + e);
            return e.getMessage();
        }
        throw new AssertionError("nothing thrown");
    }

    static void describe(Model model) {
        Tensor x = model.inputs().get(0);
        check(x.name().equals("x") && x.dtype() == DType.FLOAT32, x.toString());
        check(x.shape()[0] == 8 && x.shape()[1] == 64 && x.bytes() == 8 * 64 * 4, x.toString());
        check(model.outputs().toString().equals("[y: FLOAT32[8], z: FLOAT32[8, 64]]"), "outputs");
        check(model.manifest().contains("tiny \u2603"), model.manifest());
    }

    static void failWell(Model model) {
        try (Session empty = model.session()) {
            ArmletException e = null;
            try {
                empty.run();
            } catch (ArmletException thrown) {
                e = thrown;
            }
            check(e != null && e.status() == 5 && e.getMessage().contains("x"), "input not set");
            ByteBuffer heap = ByteBuffer.allocate(8 * 64 * 4);
            ByteBuffer swapped = ByteBuffer.allocateDirect(8 * 64 * 4);
            ByteBuffer small = ByteBuffer.allocateDirect(3);
            Class<IllegalArgumentException> argument = IllegalArgumentException.class;
            check(failure(argument, () -> empty.setInput(0, heap)).contains("direct"), "heap");
            check(failure(argument, () -> empty.setInput(0, swapped)).contains("order"), "order");
            check(failure(argument, () -> empty.setInput(0, small)).contains("3 bytes"), "size");
            check(failure(argument, () -> empty.output("q")).contains("no q"), "name");
        }
        String threads = failure(ArmletException.class, () -> model.session(-1));
        check(threads.contains("threads is -1"), threads);
        try (Session use = model.session(Accelerators.require().cache("/tmp").maxKernelMillis(4), 1)) {
            check(use.regions().isEmpty(), "regions");
        }
        String absent = failure(ArmletException.class, () -> Model.open("/absent.so"));
        check(absent.contains("absent.so"), absent);
    }

    public static void main(String[] arguments) throws Exception {
        Model model = Model.open(arguments[0]);
        describe(model);
        failWell(model);
        Session session = model.session(2, 0, 0);
        model.close();
        model.close();
        check(failure(IllegalStateException.class, () -> model.session()).contains("closed"), "model");
        FloatBuffer x = session.input("x").asFloatBuffer();
        for (int i = 0; i < x.capacity(); i++) {
            x.put(i, i % 7 - 3);
        }
        ByteBuffer z = model.outputs().get(1).allocate();
        session.setOutput("z", z);
        System.gc();
        session.run();
        check(z.getFloat(0) >= 1 && session.output(1).getFloat(0) == z.getFloat(0), "z");
        check(session.threads() == 2, "threads");
        session.selftest();
        Thread other = new Thread(session::cancel);
        other.start();
        other.join();
        session.run();
        FloatBuffer y = session.output("y").asFloatBuffer();
        session.close();
        session.close();
        session.cancel();
        check(failure(IllegalStateException.class, session::run).contains("closed"), "session");
        while (y.hasRemaining()) {
            System.out.println(y.get());
        }
    }
}
