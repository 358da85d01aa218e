/* Runs any artifact and prints the five largest elements of its first output.
 *
 *     cc -I../../runtime/include top5.c ./model.so -o top5 && ./top5 [input.f32]
 *
 * input.f32: the first input as raw bytes; zeros without it. Other inputs are zeros. */
#include <armlet.h>
#include <stdio.h>
#include <stdlib.h>

static int fail(const char *what, const char *why) {
    return fprintf(stderr, "%s: %s\n", what, why), 1;
}

int main(int argc, char **argv) {
    char why[256];
    armlet_options options = {
        .struct_size = sizeof options, .message = why, .message_size = sizeof why};
    armlet_instance *model;
    if (armlet_create(&options, &model) != ARMLET_OK) return fail("open", why);

    armlet_tensor_info info = {.struct_size = sizeof info};
    for (int i = 0; i < armlet_input_count(); i++) {
        armlet_input_info(i, &info);
        void *data = calloc(1, info.bytes);
        FILE *file = i == 0 && argc > 1 ? fopen(argv[1], "rb") : NULL;
        if (i == 0 && argc > 1 && (!file || fread(data, 1, info.bytes, file) != info.bytes))
            return fail(argv[1], "does not hold the model's first input");
        armlet_set_input(model, i, data, info.bytes);
    }
    if (armlet_run(model) != ARMLET_OK) return fail("run", armlet_error(model));

    armlet_output_info(0, &info);
    if (info.dtype != ARMLET_FLOAT32) return fail(info.name, "is not float32");
    float *scores = armlet_output(model, 0);
    for (size_t rank = 0, count = info.bytes / sizeof *scores; rank < 5 && rank < count; rank++) {
        size_t best = 0;
        for (size_t i = 1; i < count; i++)
            if (scores[i] > scores[best]) best = i;
        printf("%zu. %s[%zu] = %g\n", rank + 1, info.name, best, scores[best]);
        scores[best] = -1e38f; /* the instance's own buffer: the next run writes it anew */
    }
    armlet_destroy(model);
    return 0;
}
