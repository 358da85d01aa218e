/* Runs an artifact once in a process of its own, as under an emulator of its machine.
 *
 *     guest MODEL.so INPUTS OUTPUTS [VALUES]
 *
 * INPUTS holds the bytes of all inputs, in order, and OUTPUTS receives those of all outputs.
 * VALUES receives every value that a task computes: a line "bytes dtype name", then its bytes. */
#include <armlet.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

static void *library;

static int fail(const char *what, const char *why) {
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static FILE *file(const char *path, const char *mode) {
    FILE *opened = fopen(path, mode);
    if (!opened) fail(path, "cannot be opened");
    return opened;
}

#define CALL(name) ((__typeof__(&name))(dlsym(library, #name)))

static void keep(void *context, const armlet_value *value) {
    fprintf(context, "%zu %d %s\n", value->bytes, (int)value->dtype, value->name);
    fwrite(value->data, 1, value->bytes, context);
}

static void give_inputs(armlet_instance *model, FILE *from) {
    armlet_tensor_info info = {.struct_size = sizeof info};
    for (int i = 0; i < CALL(armlet_input_count)(); i++) {
        CALL(armlet_input_info)(i, &info);
        void *data = malloc(info.bytes + 1);
        if (fread(data, 1, info.bytes, from) != info.bytes) fail(info.name, "has too few bytes");
        CALL(armlet_set_input)(model, i, data, info.bytes);
    }
}

static void take_outputs(armlet_instance *model, FILE *to) {
    armlet_tensor_info info = {.struct_size = sizeof info};
    for (int i = 0; i < CALL(armlet_output_count)(); i++) {
        CALL(armlet_output_info)(i, &info);
        fwrite(CALL(armlet_output)(model, i), 1, info.bytes, to);
    }
    if (fclose(to)) fail("outputs", "cannot be written");
}

int main(int argc, char **argv) {
    char why[256] = "";
    armlet_instance *model;
    armlet_options options = {
        .struct_size = sizeof options, .threads = 2, .message = why, .message_size = sizeof why};
    if (argc < 4) fail(argv[0], "MODEL.so INPUTS OUTPUTS [VALUES]");
    if (!(library = dlopen(argv[1], RTLD_NOW))) fail("open", dlerror());
    if (CALL(armlet_create)(&options, &model) != ARMLET_OK) fail("create", why);
    give_inputs(model, file(argv[2], "rb"));
    FILE *values = argc > 4 ? file(argv[4], "wb") : NULL;
    if (values) CALL(armlet_observe)(model, keep, values);
    if (CALL(armlet_run)(model) != ARMLET_OK) fail("run", CALL(armlet_error)(model));
    if (values && fclose(values)) fail("values", "cannot be written");
    take_outputs(model, file(argv[3], "wb"));
    CALL(armlet_destroy)(model);
    return 0;
}
