/* Runs an artifact so that an estimator of cycles sees its tasks apart.
 *
 *     arm_driver MODEL.so FIRST COUNT
 *
 * The system call 9901 begins a lap and 9902 ends the last one; neither exists, so that a real
 * kernel shrugs. One lap is a whole run, to warm up. If COUNT is 0, the next is another run; else
 * it ends at task FIRST, and the COUNT tasks from there on are a lap each. Prints every task. */
#include <armlet.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void *library;
static int first, count;

#define CALL(name) ((__typeof__(&name))(dlsym(library, #name)))

static void begin_lap(void) { syscall(9901); }
static void end_laps(void) { syscall(9902); }

static void after_task(void *context, const armlet_value *value) {
    (void)context;
    int next = value->task + 1;
    if (next == first + count) end_laps();
    else if (next >= first && next < first + count) begin_lap();
}

int main(int argc, char **argv) {
    armlet_instance *model;
    armlet_options options = {.struct_size = sizeof options, .threads = 1};
    if (argc < 4 || !(library = dlopen(argv[1], RTLD_NOW))) return puts(dlerror()), 1;
    first = atoi(argv[2]), count = atoi(argv[3]);
    if (CALL(armlet_create)(&options, &model) != ARMLET_OK) return 2;
    armlet_tensor_info info = {.struct_size = sizeof info};
    for (int i = 0; i < CALL(armlet_input_count)(); i++) {
        CALL(armlet_input_info)(i, &info);
        void *data = calloc(1, info.bytes + 64);
        CALL(armlet_set_input)(model, i, (char *)data + (64 - (size_t)data % 64), info.bytes);
    }
    armlet_status (*run)(armlet_instance *) = CALL(armlet_run);
    begin_lap();
    if (run(model) != ARMLET_OK) return 3;
    if (count) CALL(armlet_observe)(model, after_task, NULL);
    if (count == 0 || first == 0) begin_lap();
    if (run(model) != ARMLET_OK) return 4;
    end_laps();
    for (int i = 0; i < CALL(armlet_task_count)(); i++) {
        armlet_profile_entry e = {.struct_size = sizeof e};
        CALL(armlet_profile)(model, i, &e);
        printf("%s\t%s\t%s\n", e.template_name, e.source, e.value);
    }
    return 0;
}
