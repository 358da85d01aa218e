/* Eight threads with an instance each, all with workers; one is cancelled from outside again and
 * again, and one is run by two threads at once. Run under ThreadSanitizer. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "check.h"

enum { USERS = 8, RUNS = 200 };

static _Atomic int finished;

static void *use(void *argument) {
    int user = *(int *)argument;
    static float inputs[USERS][8 * 64];
    float *x = inputs[user];
    armlet_options options = {.struct_size = sizeof options, .threads = user % 3 + 1};
    armlet_instance *m;
    for (int i = 0; i < 8 * 64; i++) x[i] = (float)(user + 1);
    CHECK(armlet_create(&options, &m) == ARMLET_OK);
    CHECK(armlet_set_input(m, 0, x, sizeof inputs[0]) == ARMLET_OK);
    for (int run = 0; run < RUNS; run++) {
        CHECK(armlet_run(m) == ARMLET_OK);
        /* the last weight is 1 */
        CHECK(((float *)armlet_output(m, 1))[63] == x[0] * x[0] + 1);
    }
    CHECK(armlet_selftest(m, NULL) == ARMLET_OK);
    armlet_destroy(m);
    return NULL;
}

static void *cancel(void *instance) {
    while (!atomic_load(&finished)) armlet_cancel(instance);
    return NULL;
}

static void *run(void *instance) {
    for (int i = 0; i < RUNS; i++) {
        armlet_status status = armlet_run(instance);
        CHECK(status == ARMLET_OK || status == ARMLET_CANCELLED || status == ARMLET_ERROR_BUSY);
    }
    return NULL;
}

static void shared_instance(void) {
    static float x[8 * 64];
    armlet_options options = {.struct_size = sizeof options, .threads = 2};
    armlet_instance *m;
    pthread_t canceller, runner;
    CHECK(armlet_create(&options, &m) == ARMLET_OK);
    CHECK(armlet_set_input(m, 0, x, sizeof x) == ARMLET_OK);
    CHECK(pthread_create(&canceller, NULL, cancel, m) == 0);
    CHECK(pthread_create(&runner, NULL, run, m) == 0);
    run(m);
    pthread_join(runner, NULL);
    atomic_store(&finished, 1);
    pthread_join(canceller, NULL);
    CHECK(armlet_run(m) == ARMLET_OK);
    armlet_destroy(m);
}

int main(void) {
    pthread_t users[USERS];
    int numbers[USERS];
    for (int i = 0; i < USERS; i++) {
        numbers[i] = i;
        CHECK(pthread_create(&users[i], NULL, use, &numbers[i]) == 0);
    }
    for (int i = 0; i < USERS; i++) pthread_join(users[i], NULL);
    shared_instance();
    return 0;
}
