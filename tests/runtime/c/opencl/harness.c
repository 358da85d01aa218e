/* Drives the OpenCL back end on the driver that stands in for libOpenCL: `harness SCENARIO PROGRAM
 * [FOLDER]`. The program computes y = 2 x + w of 256 floats, where w[i] = i. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "armlet_npu.h"
#include "fake_opencl.h"
#include "inflate.h"

extern const armlet_npu_api armlet_opencl;

enum { ELEMENTS = 256 };

static fake_driver *fake;
static armlet_npu_blob blob = {.struct_size = sizeof blob};
static char error[256];
static unsigned char *bytes;

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "%s:%d: %s: '%s'\n", __FILE__, __LINE__, #condition, error); \
            exit(1); \
        } \
    } while (0)

static void read_program(const char *path) {
    FILE *file = fopen(path, "rb");
    CHECK(file && fseek(file, 0, SEEK_END) == 0);
    blob.bytes = (uint64_t)ftell(file);
    CHECK(posix_memalign((void **)&bytes, 64, (size_t)blob.bytes) == 0);
    rewind(file);
    CHECK(fread(bytes, 1, (size_t)blob.bytes, file) == blob.bytes);
    fclose(file);
    blob.data = bytes;
}

static void *create(armlet_status expected) {
    void *region = NULL;
    error[0] = 0;
    CHECK(armlet_opencl.create(&blob, &region, error, sizeof error) == expected);
    CHECK(!region == (expected != ARMLET_OK) && (region || error[0]));
    return region;
}

static armlet_status run(void *region) {
    float x[ELEMENTS], y[ELEMENTS];
    const void *inputs[] = {x};
    void *outputs[] = {y};
    for (int i = 0; i < ELEMENTS; i++) x[i] = (float)(i % 7), y[i] = -1;
    error[0] = 0;
    armlet_status status = armlet_opencl.run(region, inputs, outputs, error, sizeof error);
    for (int i = 0; i < ELEMENTS && status == ARMLET_OK; i++) CHECK(y[i] == 2 * x[i] + (float)i);
    CHECK(status == ARMLET_OK || (status == ARMLET_UNAVAILABLE && error[0]));
    return status;
}

static void destroy(void *region) {
    armlet_opencl.destroy(region);
    CHECK(fake->live == 0);
}

/* One open that works, with two runs; returns what the driver compiled for it. */
static long open_and_run(void) {
    long before = fake->compiled;
    void *region = create(ARMLET_OK);
    CHECK(run(region) == ARMLET_OK && run(region) == ARMLET_OK);
    destroy(region);
    return fake->compiled - before;
}

static void refused(const char *reason) {
    create(ARMLET_UNAVAILABLE);
    CHECK(strstr(error, reason) && fake->live == 0);
}

static void answers(void) {
    CHECK(open_and_run() == 2 && fake->mapped == 4);
    fake->unified = 0;
    open_and_run();
    CHECK(fake->mapped == 4);
    fake->alignment = 1 << 20; /* too coarse for the arena */
    open_and_run();
    void *first = create(ARMLET_OK), *second = create(ARMLET_OK);
    CHECK(run(first) == ARMLET_OK && run(second) == ARMLET_OK);
    armlet_opencl.destroy(first);
    CHECK(run(second) == ARMLET_OK);
    destroy(second);
}

/* Every call fails once, with and without a cache, a limit of time, and profiling. */
static void faults(void) {
    const char *folder = blob.cache_dir;
    for (int variant = 0; variant < 8; variant++) {
        blob.cache_dir = variant & 1 ? folder : NULL;
        blob.max_kernel_ms = variant & 2 ? 2 : 0;
        fake->unified = (variant & 4) != 0;
        fake->fail_at = 0;
        fake->calls = 0;
        open_and_run();
        long end = fake->calls;
        CHECK(end > 40);
        for (long at = 1; at <= end; at++) {
            void *region = NULL;
            fake->calls = 0;
            fake->fail_at = at;
            armlet_status status = armlet_opencl.create(&blob, &region, error, sizeof error);
            CHECK(status == ARMLET_OK || (status == ARMLET_UNAVAILABLE && error[0]));
            if (region) {
                armlet_opencl.set_profiling(region, 1);
                if (run(region) != ARMLET_OK) CHECK(run(region) == ARMLET_UNAVAILABLE);
            }
            destroy(region);
        }
    }
}

static void limits(void) {
    fake->group_items = 16;
    open_and_run();
    fake->group_items = 8; /* the variant's */
    open_and_run();
    fake->group_items = 4;
    refused("at most 4 work items");
    fake->group_items = 256;
    fake->fp16 = 0;
    refused("lacks fp16");
    fake->fp16 = 1;
    fake->build_fails = 1;
    refused("error: no such type");
}

static void lost(void) {
    for (long at = 1; at < 7; at++) {
        fake->lost_at = 0;
        void *region = create(ARMLET_OK);
        CHECK(run(region) == ARMLET_OK);
        fake->lost_at = fake->enqueues + at;
        armlet_status status = run(region);
        CHECK(status == ARMLET_UNAVAILABLE && strstr(error, "failed at"));
        CHECK(run(region) == ARMLET_UNAVAILABLE);
        destroy(region);
    }
}

static void split(void) {
    long before = fake->launches;
    blob.max_kernel_ms = 2; /* launches are expected to take 10 ms, and then seem to take 4 */
    void *region = create(ARMLET_OK);
    CHECK(run(region) == ARMLET_OK && fake->launches - before == 6 + 6);
    before = fake->launches;
    CHECK(run(region) == ARMLET_OK && fake->launches - before == 3 + 3);
    destroy(region);
}

static void profile(void) {
    const char *layer;
    int64_t ns;
    void *region = create(ARMLET_OK);
    CHECK(armlet_opencl.set_profiling(region, 1) == ARMLET_OK && run(region) == ARMLET_OK);
    CHECK(armlet_opencl.step_count(region) == 4);
    CHECK(armlet_opencl.step(region, 0, &layer, &ns) == ARMLET_OK && !strcmp(layer, "to Fake GPU") && ns > 0);
    CHECK(armlet_opencl.step(region, 1, &layer, &ns) == ARMLET_OK && !strcmp(layer, "double") && ns == 4000000);
    CHECK(armlet_opencl.step(region, 3, &layer, &ns) == ARMLET_OK && !strcmp(layer, "from Fake GPU") && ns > 0);
    CHECK(armlet_opencl.step(region, 4, &layer, &ns) == ARMLET_ERROR_ARGUMENT);
    CHECK(armlet_opencl.set_profiling(region, 0) == ARMLET_OK && run(region) == ARMLET_OK);
    destroy(region);
}

/* The one file of the cache. */
static const char *cache_file(void) {
    static char path[1024];
    for (int slot = 0; slot < 64; slot++) {
        snprintf(path, sizeof path, "%s/armlet-gpu-%02d", blob.cache_dir, slot);
        if (access(path, F_OK) == 0) return path;
    }
    CHECK(!"there is no file in the cache");
    return NULL;
}

static void damage(long at) {
    FILE *file = fopen(cache_file(), "r+b");
    CHECK(file && fseek(file, at, SEEK_SET) == 0);
    int byte = fgetc(file);
    CHECK(fseek(file, at, SEEK_SET) == 0 && fputc(byte ^ 0x40, file) >= 0);
    fclose(file);
}

static void cache(void) {
    CHECK(open_and_run() == 2 && open_and_run() == 0 && !error[0]);
    for (long at = 0; at < 100; at++) {
        if (at / 8 == 1) continue; /* the program's hash: it would be another program's file */
        damage(at);
        CHECK(open_and_run() == 2 && open_and_run() == 0);
    }
    CHECK(truncate(cache_file(), 90) == 0);
    void *region = create(ARMLET_OK);
    CHECK(strstr(error, "damaged"));
    destroy(region);
    fake->driver = "2";
    region = create(ARMLET_OK);
    CHECK(strstr(error, "another driver"));
    destroy(region);
    CHECK(open_and_run() == 0);
    fake->binary_refused = 1;
    region = create(ARMLET_OK);
    CHECK(strstr(error, "refused"));
    destroy(region);
    blob.cache_dir = "/proc/no/such/folder";
    region = create(ARMLET_OK);
    CHECK(strstr(error, "cannot be written"));
    destroy(region);
}

static void no_driver(void) {
    setenv("ARMLET_OPENCL_LIBRARY", "/no/such/library.so", 1);
    refused("names no OpenCL driver");
    setenv("ARMLET_OPENCL_LIBRARY", "", 1);
    void *region = NULL;
    /* This machine may have one. */
    if (armlet_opencl.create(&blob, &region, error, sizeof error) != ARMLET_OK) CHECK(error[0]);
    armlet_opencl.destroy(region);
}

static uint64_t state = 88172645463325252u;

static uint32_t draw(uint32_t below) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (uint32_t)(state >> 32) % below;
}

/* Damaged programs are refused or do what they say; DEFLATE streams stay within their buffers. */
static void fuzz(void) {
    static const uint32_t edges[] = {0, 1, 2, 0x7F, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF};
    size_t size = (size_t)blob.bytes;
    unsigned char *whole = malloc(size), *mutant, out[512];
    memcpy(whole, bytes, size);
    for (int i = 0; i < 20000; i++) {
        size_t length = draw(8) ? size : draw((uint32_t)size + 1);
        CHECK(posix_memalign((void **)&mutant, 64, length + 1) == 0);
        memcpy(mutant, whole, length);
        for (uint32_t n = draw(4); n && length >= 4; n--) {
            size_t at = draw(2) ? draw((uint32_t)length / 4) * 4 : draw(24) * 4;
            if (at + 4 <= length) memcpy(mutant + at, &edges[draw(9)], 4);
        }
        if (length >= 16 && draw(2)) memcpy(mutant + 8, &(uint64_t){length}, 8);
        blob.data = mutant;
        blob.bytes = length;
        void *region = NULL;
        armlet_status status = armlet_opencl.create(&blob, &region, error, sizeof error);
        CHECK(status == ARMLET_OK || (status == ARMLET_UNAVAILABLE && error[0]));
        destroy(region);
        free(mutant);
        for (size_t k = 0; k < 64; k++) out[k] = (unsigned char)draw(256);
        out[0] = (unsigned char)(out[0] & ~7u) | (unsigned char)(draw(3) << 1 | draw(2));
        inflate(out, draw(64), out + 64, draw(400));
    }
    free(whole);
}

int main(int count, char **arguments) {
    static const struct {
        const char *name;
        void (*run)(void);
    } scenarios[] = {{"answers", answers}, {"faults", faults}, {"limits", limits},
                     {"lost", lost},       {"split", split},   {"profile", profile},
                     {"cache", cache},     {"fuzz", fuzz},     {"no_driver", no_driver}};
    void *library = dlopen(getenv("ARMLET_OPENCL_LIBRARY"), RTLD_NOW | RTLD_LOCAL);
    CHECK(count >= 3 && library && (fake = dlsym(library, "fake")));
    read_program(arguments[2]);
    blob.cache_dir = count > 3 ? arguments[3] : NULL;
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++)
        if (!strcmp(arguments[1], scenarios[i].name)) {
            scenarios[i].run();
            free(bytes);
            return 0;
        }
    return 2;
}
