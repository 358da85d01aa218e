/* What cannot be read is left out: systems differ in what they show to whom. */
#define _GNU_SOURCE
#include "facts.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "clock.h"
#include "clusters.h"
#include "cpu.h"
#include "json.h"

#ifndef AGENT_VERSION
#define AGENT_VERSION "0"
#endif

#if defined(__ANDROID__)
#include <sys/system_properties.h>
#define SYSTEM "android"
#else
#define SYSTEM "linux"
#endif

#if defined(__aarch64__)
#define ARCHITECTURE "arm64"
#elif defined(__arm__)
#define ARCHITECTURE "armv7"
#elif defined(__riscv)
#define ARCHITECTURE "riscv64"
#else
#define ARCHITECTURE "x86_64"
#endif

enum { MOST_ZONES = 64, READ_ZONES = 8 };

/* Whatever a target may ask of a processor (targets/), by the names of /proc/cpuinfo. */
static const char *const FEATURES[] = {
    "fp", "asimd", "aes", "pmull", "sha1", "sha2", "crc32", "atomics", "fphp", "asimdhp", "asimdrdm",
    "jscvt", "fcma", "lrcpc", "dcpop", "asimddp", "asimdfhm", "asimdbf16", "sve", "sve2", "i8mm", "bf16",
    "sme", "neon", "vfpv3", "vfpv4", "idiva", "idivt", "sse2", "pni", "ssse3", "fma", "cx16", "sse4_1",
    "sse4_2", "movbe", "popcnt", "avx", "f16c", "lahf_lm", "abm", "bmi1", "avx2", "bmi2", "avx512f",
    "avx512dq", "avx512ifma", "avx512cd", "avx512bw", "avx512vl", "avx512vbmi", "avx512_vbmi2",
    "avx512_vnni", "avx512_bitalg", "avx512_vpopcntdq", "avx512_fp16", "avx512_bf16", "avx_vnni", "v",
    "zvl256b", "zvl512b",
};

size_t read_text(char *text, size_t size, const char *format, ...) {
    char path[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(path, sizeof path, format, arguments);
    va_end(arguments);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = file < 0 ? 0 : read(file, text, size - 1);
    if (file >= 0) close(file);
    text[got > 0 ? got : 0] = 0;
    text[strcspn(text, "\n")] = 0;
    return strlen(text);
}

/* A figure of /proc/meminfo, in bytes. */
static uint64_t memory(const char *name) {
    char text[2048];
    int file = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    ssize_t size = read(file, text, sizeof text - 1);
    close(file);
    text[size > 0 ? size : 0] = 0;
    const char *found = strstr(text, name);
    return found ? strtoull(found + strlen(name), NULL, 10) << 10 : 0;
}

static void model_name(char *text, size_t size) {
#if defined(__ANDROID__)
    char value[PROP_VALUE_MAX];
    snprintf(text, size, "%s", __system_property_get("ro.product.model", value) > 0 ? value : "");
#else
    if (!read_text(text, size, "/proc/device-tree/model"))
        read_text(text, size, "/sys/devices/virtual/dmi/id/product_name");
#endif
}

static void name_text(writer *w, const char *name, const char *value) {
    if (!value[0]) return;
    json_raw(w, ", ");
    json_string(w, name);
    json_raw(w, ": ");
    json_string(w, value);
}

static void name_number(writer *w, const char *name, uint64_t value) {
    json_raw(w, ", ");
    json_string(w, name);
    json_raw(w, ": ");
    json_number(w, (long long)value);
}

static void features(writer *w) {
    const char *before = ", \"features\": [";
    for (size_t i = 0; i < sizeof FEATURES / sizeof *FEATURES; i++)
        if (cpu_has(FEATURES[i])) {
            json_raw(w, before);
            json_string(w, FEATURES[i]);
            before = ", ";
        }
    json_raw(w, before[2] ? ", \"features\": []" : "]");
}

static void write_clusters(writer *w) {
    const cluster *found;
    int count = clusters(&found);
    json_raw(w, ", \"clusters\": [");
    for (int i = 0; i < count; i++) {
        json_raw(w, i ? ", {\"cpus\": [" : "{\"cpus\": [");
        for (int c = 0; c < found[i].cpu_count; c++) {
            json_raw(w, c ? ", " : "");
            json_number(w, found[i].cpus[c]);
        }
        json_raw(w, "]");
        name_text(w, "part", found[i].part);
        name_text(w, "governor", found[i].governor);
        if (found[i].khz_min) name_number(w, "khz_min", found[i].khz_min);
        if (found[i].khz_max) name_number(w, "khz_max", found[i].khz_max);
        if (found[i].capacity) name_number(w, "capacity", found[i].capacity);
        json_raw(w, "}");
    }
    json_raw(w, "]");
}

void facts_text(const session *s, char *text, size_t size) {
    char value[128];
    writer w = {.start = (uint8_t *)text, .at = (uint8_t *)text, .end = (uint8_t *)text + size - 1};
    json_raw(&w, "{\"agent\": \"" AGENT_VERSION "\"");
    name_text(&w, "system", SYSTEM);
    name_text(&w, "architecture", ARCHITECTURE);
    model_name(value, sizeof value);
    name_text(&w, "model", value);
    read_text(value, sizeof value, "/proc/sys/kernel/osrelease");
    name_text(&w, "kernel", value);
    features(&w);
    write_clusters(&w);
    name_number(&w, "memory_bytes", memory("MemTotal:"));
    name_number(&w, "message_bytes", MESSAGE_BYTES);
    name_number(&w, "deadline_ms", s->settings->deadline_ms);
    name_number(&w, "idle_ms", s->settings->idle_ms);
    name_number(&w, "memory_limit_bytes", s->settings->memory_bytes);
    json_raw(&w, "}");
    *w.at = 0;
}

/* Whether a thermal zone, by its type, tells of processors. */
static bool is_processor(const char *type) {
    static const char *const parts[] = {"cpu", "CPU", "soc", "SOC", "x86_pkg", "big", "little", "mid"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strstr(type, parts[i])) return true;
    return false;
}

/* The hottest of the processors' zones, which are looked for once. */
static double temperature(void) {
    static int zones[READ_ZONES], count = -1;
    char text[64];
    double hottest = __builtin_nan("");
    if (count < 0) {
        count = 0;
        for (int i = 0; i < MOST_ZONES && count < READ_ZONES; i++)
            if (read_text(text, sizeof text, "/sys/class/thermal/thermal_zone%d/type", i) &&
                is_processor(text))
                zones[count++] = i;
    }
    for (int i = 0; i < count; i++) {
        if (!read_text(text, sizeof text, "/sys/class/thermal/thermal_zone%d/temp", zones[i])) continue;
        double degrees = (double)strtoll(text, NULL, 10) / 1000;
        /* zones that are asleep tell nonsense */
        if (degrees > 0 && degrees < 150 && !(hottest >= degrees)) hottest = degrees;
    }
    return hottest;
}

void facts_state(writer *w) {
    const cluster *found;
    int count = clusters(&found);
    write_f64(w, (double)steady_ns() * 1e-9);
    write_f64(w, temperature());
    write_u64(w, memory("MemAvailable:"));
    write_u32(w, (uint32_t)count);
    for (int i = 0; i < count; i++) {
        char text[32];
        read_text(text, sizeof text, CPUS "/cpu%d/cpufreq/scaling_cur_freq", found[i].cpus[0]);
        write_u32(w, (uint32_t)strtoull(text, NULL, 10));
    }
}
