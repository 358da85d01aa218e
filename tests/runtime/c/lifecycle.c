/* Makes, runs, misuses and destroys instances; run under AddressSanitizer and UBSan. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "check.h"

static float x[8 * 64], z[8 * 64 + 1];

static armlet_instance *make(int32_t threads) {
    armlet_options options = {.struct_size = sizeof options, .threads = threads};
    armlet_instance *m = NULL;
    CHECK(armlet_create(&options, &m) == ARMLET_OK);
    return m;
}

static void create_run_destroy(void) {
    for (int i = 0; i < 50; i++) {
        armlet_instance *m = make(i % 4 + 1);
        CHECK(armlet_thread_count(m) == i % 4 + 1);
        CHECK(armlet_set_input(m, 0, x, sizeof x) == ARMLET_OK);
        for (int k = 0; k < i % 5; k++) CHECK(armlet_run(m) == ARMLET_OK);
        armlet_destroy(m);
    }
    armlet_destroy(NULL);
}

static void wrong_options(void) {
    char text[128] = "";
    armlet_instance *m = (armlet_instance *)text;
    armlet_options o = {.struct_size = 0, .message = text, .message_size = sizeof text};
    CHECK(armlet_create(NULL, NULL) == ARMLET_ERROR_ARGUMENT);
    CHECK(armlet_create(&o, &m) == ARMLET_ERROR_ARGUMENT && m == NULL);
    o.struct_size = 1 << 20;
    CHECK(armlet_create(&o, &m) == ARMLET_ERROR_ARGUMENT);
    o.struct_size = sizeof o;
    o.threads = -1;
    CHECK(armlet_create(&o, &m) == ARMLET_ERROR_ARGUMENT && strstr(text, "threads is -1"));
    o.threads = 0, o.cpu_count = 2;
    CHECK(armlet_create(&o, &m) == ARMLET_ERROR_ARGUMENT && strstr(text, "cpu_count"));
    int32_t nowhere[] = {0, 1023};
    o.threads = 2, o.cpus = nowhere;
    CHECK(armlet_create(&o, &m) == ARMLET_ERROR_THREADS && strstr(text, "pinned"));
    o.message_size = 5;
    CHECK(armlet_create(&o, &m) == ARMLET_ERROR_THREADS && strlen(text) == 4);
}

/* Callers built with an older and with a newer header. */
static void other_struct_sizes(void) {
    struct { size_t struct_size; int32_t threads; } older = {sizeof older, 2};
    struct { armlet_options known; int64_t unknown; } newer = {{0}, 0};
    armlet_instance *m = NULL;
    CHECK(armlet_create((armlet_options *)(void *)&older, &m) == ARMLET_OK);
    CHECK(armlet_thread_count(m) == 2);
    armlet_destroy(m);
    newer.known.struct_size = sizeof newer;
    CHECK(armlet_create(&newer.known, &m) == ARMLET_OK);
    armlet_destroy(m);
    newer.unknown = 1;
    CHECK(armlet_create(&newer.known, &m) == ARMLET_ERROR_ARGUMENT);
    struct { size_t struct_size; const char *name; char guard[8]; } info = {16, NULL, "guard"};
    CHECK(armlet_input_info(0, (armlet_tensor_info *)(void *)&info) == ARMLET_OK);
    CHECK(strcmp(info.name, "x") == 0 && strcmp(info.guard, "guard") == 0);
}

static void wrong_arguments(void) {
    armlet_instance *m = make(1);
    armlet_tensor_info info = {.struct_size = sizeof info};
    CHECK(armlet_input_info(0, &info) == ARMLET_OK && info.bytes == sizeof x && info.rank == 2);
    CHECK(armlet_input_info(1, &info) == ARMLET_ERROR_ARGUMENT);
    CHECK(armlet_output_info(-1, &info) == ARMLET_ERROR_ARGUMENT);
    CHECK(armlet_output_info(0, NULL) == ARMLET_ERROR_ARGUMENT);
    CHECK(armlet_run(NULL) == ARMLET_ERROR_ARGUMENT);
    CHECK(armlet_run(m) == ARMLET_ERROR_INPUT && strstr(armlet_error(m), "'x' is not set"));
    CHECK(armlet_set_input(NULL, 0, x, sizeof x) == ARMLET_ERROR_ARGUMENT);
    CHECK(armlet_set_input(m, 0, NULL, sizeof x) == ARMLET_ERROR_ARGUMENT);
    CHECK(armlet_set_input(m, 1, x, sizeof x) == ARMLET_ERROR_ARGUMENT);
    CHECK(armlet_set_input(m, 0, x, sizeof x - 4) == ARMLET_ERROR_INPUT);
    CHECK(strstr(armlet_error(m), "has 2048 bytes, but 2044 were given"));
    CHECK(armlet_set_input(m, 0, (char *)x + 1, sizeof x) == ARMLET_ERROR_INPUT);
    CHECK(strstr(armlet_error(m), "aligned"));
    CHECK(armlet_set_output(m, 2, z, 4) == ARMLET_ERROR_ARGUMENT);
    CHECK(armlet_output(m, 2) == NULL && armlet_output(NULL, 0) == NULL);
    CHECK(armlet_profile(m, 4, NULL) == ARMLET_ERROR_ARGUMENT);
    CHECK(armlet_profile(m, 0, NULL) == ARMLET_ERROR_ARGUMENT);
    CHECK(armlet_observe(NULL, NULL, NULL) == ARMLET_ERROR_ARGUMENT);
    CHECK(armlet_selftest(NULL, NULL) == ARMLET_ERROR_ARGUMENT);
    CHECK(strcmp(armlet_status_text((armlet_status)99), "unknown status") == 0);
    armlet_destroy(m);
}

/* The caller's output is written, at natural alignment only; then the instance's own again. */
static void buffers(void) {
    armlet_instance *m = make(2);
    for (int i = 0; i < 8 * 64; i++) x[i] = (float)(i % 7);
    CHECK(armlet_set_input(m, 0, x, sizeof x) == ARMLET_OK);
    CHECK(armlet_set_output(m, 1, z + 1, sizeof z - 4) == ARMLET_OK);
    CHECK(armlet_output(m, 1) == z + 1);
    CHECK(armlet_run(m) == ARMLET_OK && z[1] == 1.0f && z[2] > 1.0f);
    z[2] = 0;
    CHECK(armlet_set_output(m, 1, NULL, 0) == ARMLET_OK);
    CHECK(armlet_run(m) == ARMLET_OK && z[2] == 0 && ((float *)armlet_output(m, 1))[1] > 1.0f);
    armlet_destroy(m);
}

static void count(void *context, const armlet_value *value) {
    int *seen = context;
    CHECK(value->task == *seen && value->data && value->shape[0] == 8);
    ++*seen;
}

static void stop(void *context, const armlet_value *value) {
    CHECK(armlet_current_task(context) == value->task);
    if (value->task == 1) armlet_cancel(context);
}

static void insight(void) {
    armlet_instance *m = make(2);
    armlet_profile_entry e = {.struct_size = sizeof e};
    int seen = 0;
    CHECK(armlet_set_input(m, 0, x, sizeof x) == ARMLET_OK);
    CHECK(armlet_set_profiling(m, 1) == ARMLET_OK);
    CHECK(armlet_observe(m, count, &seen) == ARMLET_OK);
    CHECK(armlet_run(m) == ARMLET_OK && seen == armlet_task_count());
    CHECK(armlet_profile(m, 0, &e) == ARMLET_OK && e.calls == 1 && e.seconds > 0 && e.threads == 2);
    CHECK(armlet_set_profiling(m, 0) == ARMLET_OK);
    CHECK(armlet_observe(m, stop, m) == ARMLET_OK);
    CHECK(armlet_run(m) == ARMLET_CANCELLED && strstr(armlet_error(m), "cancelled"));
    CHECK(armlet_observe(m, NULL, NULL) == ARMLET_OK && armlet_run(m) == ARMLET_OK);
    CHECK(armlet_profile(m, 0, &e) == ARMLET_OK && e.calls == 0);
    CHECK(armlet_current_task(m) == -1 && armlet_current_task(NULL) == -1);
    armlet_destroy(m);
}

static void selftest(void) {
    armlet_instance *m = make(3);
    armlet_selftest_report r = {.struct_size = sizeof r};
    CHECK(armlet_selftest(m, &r) == ARMLET_OK && r.compared > 100 && r.wrong == 0);
    CHECK(armlet_selftest(m, NULL) == ARMLET_OK);
    r.struct_size = 3;
    CHECK(armlet_selftest(m, &r) == ARMLET_ERROR_ARGUMENT);
    armlet_destroy(m);
}

int main(void) {
    create_run_destroy();
    wrong_options();
    other_struct_sizes();
    wrong_arguments();
    buffers();
    insight();
    selftest();
    return 0;
}
