/* Runs a model whose region the toy chip does, and says what came of it; y is 2 max(x, 0).
 * DEVICES is an armlet_devices, THREADS how many instances run at the same time. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"

enum { SIZE = 8 * 64, RUNS = 3 };

static int number(const char *name) {
    const char *text = getenv(name);
    return text ? atoi(text) : 0;
}

static void run(armlet_instance *m, const float *x) {
    armlet_status status = armlet_run(m);
    if (status != ARMLET_OK) {
        printf("run: %d %s\n", status, armlet_error(m));
        return;
    }
    const float *y = armlet_output(m, 0);
    for (int i = 0; i < SIZE; i++) CHECK(y[i] == (x[i] > 0 ? 2 * x[i] : 0));
    puts("run: right");
}

static void *use(void *unused) {
    (void)unused;
    char message[256] = "";
    armlet_options o = {.struct_size = sizeof o, .threads = 1, .devices = number("DEVICES"),
                        .message = message, .message_size = sizeof message};
    armlet_instance *m;
    armlet_status status = armlet_create(&o, &m);
    if (status != ARMLET_OK) {
        CHECK(!m);
        printf("create: %d %s\n", status, message);
        return NULL;
    }
    float x[SIZE];
    for (int i = 0; i < SIZE; i++) x[i] = (float)(i * 37 % 101 - 50);
    CHECK(armlet_set_input(m, 0, x, sizeof x) == ARMLET_OK);
    for (int i = 0; i < RUNS; i++) run(m, x);
    armlet_region_info info = {.struct_size = sizeof info};
    CHECK(armlet_region_count() == 1 && armlet_region(m, 0, &info) == ARMLET_OK);
    CHECK(armlet_region(m, 1, &info) == ARMLET_ERROR_ARGUMENT);
    printf("region: %s\n", info.live ? "live" : info.reason);
    armlet_destroy(m);
    return NULL;
}

int main(void) {
    pthread_t threads[8];
    int count = number("THREADS");
    for (int i = 0; i < count; i++) CHECK(pthread_create(&threads[i], NULL, use, NULL) == 0);
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
    if (!count) use(NULL);
    return 0;
}
