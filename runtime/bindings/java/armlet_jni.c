/* The native side of io.armlet: opens artifacts and calls armlet.h in them. One library for any
 * number of models. Handles are addresses; io/armlet/Model.java and Session.java take care that none
 * is used after its end. Text goes as UTF-8 in byte arrays, which Java's own strings are not. */
#include <armlet.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "jni_table.h"

#define FUNCTIONS(DO) \
    DO(status_text) DO(manifest) DO(input_count) DO(output_count) DO(input_info) \
    DO(output_info) DO(create) DO(destroy) DO(thread_count) DO(set_input) DO(set_output) \
    DO(run) DO(cancel) DO(error) DO(selftest)

/* Those that artifacts of version 2 lack: NULL there. */
#define NEWER_FUNCTIONS(DO) DO(region_count) DO(region)

typedef struct {
    void *handle;
#define MEMBER(name) __typeof__(&armlet_##name) name;
    FUNCTIONS(MEMBER)
    NEWER_FUNCTIONS(MEMBER)
} model;

#define NATIVE(result, name, ...) \
    JNIEXPORT result Java_io_armlet_Native_##name(JNIEnv *env, jclass type, __VA_ARGS__); \
    JNIEXPORT result Java_io_armlet_Native_##name(JNIEnv *env, jclass type, __VA_ARGS__)

static model *model_at(jlong handle) { return (model *)(uintptr_t)handle; }
static armlet_instance *instance_at(jlong handle) { return (armlet_instance *)(uintptr_t)handle; }

/* The text in a byte array; NULL: out of memory, or there is none. The caller frees. */
static char *text_of(JNIEnv *env, jbyteArray bytes) {
    jsize length = bytes ? GetArrayLength(env, bytes) : 0;
    char *text = bytes ? calloc((size_t)length + 1, 1) : NULL;
    if (text) GetByteArrayRegion(env, bytes, 0, length, (jbyte *)text);
    return text;
}

static jbyteArray bytes_of(JNIEnv *env, const char *text) {
    jsize length = (jsize)strlen(text);
    jbyteArray made = NewByteArray(env, length);
    if (made) SetByteArrayRegion(env, made, 0, length, (const jbyte *)text);
    return made;
}

/* Throws ArmletException(status, message). */
static void fail(JNIEnv *env, armlet_status status, const char *message) {
    jclass type = FindClass(env, "io/armlet/ArmletException");
    jmethodID constructor = type ? GetMethodID(env, type, "<init>", "(I[B)V") : NULL;
    jbyteArray text = constructor ? bytes_of(env, message) : NULL;
    jthrowable thrown = text ? NewObject(env, type, constructor, (jint)status, text) : NULL;
    if (thrown) Throw(env, thrown);
}

static void check(JNIEnv *env, const model *m, const armlet_instance *instance,
                  armlet_status status) {
    if (status == ARMLET_OK) return;
    const char *reason = m->error(instance);
    fail(env, status, *reason ? reason : m->status_text(status));
}

/* ---- Models ---------------------------------------------------------------------------------- */

static const char *find_all(model *m) {
#define FIND(name) \
    if (!(m->name = (__typeof__(m->name))dlsym(m->handle, "armlet_" #name))) \
        return "it is no artifact of armlet: it has no function armlet_" #name;
    FUNCTIONS(FIND)
#define FIND_NEWER(name) m->name = (__typeof__(m->name))dlsym(m->handle, "armlet_" #name);
    NEWER_FUNCTIONS(FIND_NEWER)
    return NULL;
}

static void close_model(model *m) {
    if (m->handle) dlclose(m->handle);
    free(m);
}

NATIVE(jlong, open, jbyteArray path) {
    (void)type;
    char *name = text_of(env, path);
    model *m = calloc(1, sizeof *m);
    const char *problem = "out of memory";
    if (name && m) {
        m->handle = dlopen(name, RTLD_NOW);
        problem = m->handle ? find_all(m) : dlerror();
    }
    free(name);
    if (!problem) return (jlong)(uintptr_t)m;
    fail(env, ARMLET_ERROR_ARGUMENT, problem);
    if (m) close_model(m);
    return 0;
}

NATIVE(void, close, jlong handle) {
    (void)env, (void)type;
    close_model(model_at(handle));
}

NATIVE(jbyteArray, manifest, jlong handle) {
    (void)type;
    return bytes_of(env, model_at(handle)->manifest(NULL));
}

NATIVE(jint, count, jlong handle, jboolean outputs) {
    (void)env, (void)type;
    return outputs ? model_at(handle)->output_count() : model_at(handle)->input_count();
}

static armlet_tensor_info info_of(jlong handle, jboolean outputs, jint index) {
    armlet_tensor_info info = {.struct_size = sizeof info};
    const model *m = model_at(handle);
    (outputs ? m->output_info : m->input_info)(index, &info);
    return info;
}

NATIVE(jbyteArray, name, jlong handle, jboolean outputs, jint index) {
    (void)type;
    return bytes_of(env, info_of(handle, outputs, index).name);
}

NATIVE(jlongArray, shape, jlong handle, jboolean outputs, jint index) {
    (void)type;
    armlet_tensor_info info = info_of(handle, outputs, index);
    jlongArray made = NewLongArray(env, info.rank);
    if (made) SetLongArrayRegion(env, made, 0, info.rank, (const jlong *)info.shape);
    return made;
}

NATIVE(jint, dtype, jlong handle, jboolean outputs, jint index) {
    (void)env, (void)type;
    return info_of(handle, outputs, index).dtype;
}

NATIVE(jlong, bytes, jlong handle, jboolean outputs, jint index) {
    (void)env, (void)type;
    return (jlong)info_of(handle, outputs, index).bytes;
}

/* ---- Sessions -------------------------------------------------------------------------------- */

NATIVE(jlong, create, jlong handle, jint threads, jintArray cpus, jint devices, jbyteArray cache,
       jint max_kernel_ms) {
    (void)type;
    char why[256] = "";
    const model *m = model_at(handle);
    armlet_instance *made = NULL;
    jsize count = cpus ? GetArrayLength(env, cpus) : 0;
    int32_t *numbers = count ? calloc((size_t)count, sizeof *numbers) : NULL;
    if (count && !numbers) {
        fail(env, ARMLET_ERROR_MEMORY, m->status_text(ARMLET_ERROR_MEMORY));
        return 0;
    }
    if (count) GetIntArrayRegion(env, cpus, 0, count, numbers);
    char *folder = text_of(env, cache);
    armlet_options options = {.struct_size = sizeof options, .threads = threads, .cpus = numbers,
                              .cpu_count = (size_t)count, .message = why,
                              .message_size = sizeof why, .devices = devices,
                              .max_kernel_ms = (uint32_t)max_kernel_ms, .device_cache = folder};
    armlet_status status = m->create(&options, &made);
    free(folder);
    free(numbers);
    if (status != ARMLET_OK) fail(env, status, *why ? why : m->status_text(status));
    return (jlong)(uintptr_t)made;
}

NATIVE(void, destroy, jlong handle, jlong session) {
    (void)env, (void)type;
    model_at(handle)->destroy(instance_at(session));
}

NATIVE(jint, threads, jlong handle, jlong session) {
    (void)env, (void)type;
    return model_at(handle)->thread_count(instance_at(session));
}

NATIVE(jint, regions, jlong handle) {
    (void)env, (void)type;
    const model *m = model_at(handle);
    return m->region_count ? m->region_count() : 0;
}

NATIVE(jobject, region, jlong handle, jlong session, jint index) {
    (void)type;
    armlet_region_info info = {.struct_size = sizeof info};
    model_at(handle)->region(instance_at(session), index, &info);
    jclass made = FindClass(env, "io/armlet/Region");
    jmethodID constructor = made ? GetMethodID(env, made, "<init>", "([B[B[BZ)V") : NULL;
    jbyteArray name = constructor ? bytes_of(env, info.name) : NULL;
    jbyteArray back_end = name ? bytes_of(env, info.back_end) : NULL;
    jbyteArray reason = back_end ? bytes_of(env, info.reason) : NULL;
    return reason ? NewObject(env, made, constructor, name, back_end, reason, (jboolean)info.live)
                  : NULL;
}

NATIVE(void, bind, jlong handle, jlong session, jboolean output, jint index, jobject buffer,
       jlong bytes) {
    (void)type;
    const model *m = model_at(handle);
    armlet_instance *instance = instance_at(session);
    void *data = GetDirectBufferAddress(env, buffer);
    check(env, m, instance,
          output ? m->set_output(instance, index, data, (size_t)bytes)
                 : m->set_input(instance, index, data, (size_t)bytes));
}

NATIVE(void, run, jlong handle, jlong session) {
    (void)type;
    const model *m = model_at(handle);
    check(env, m, instance_at(session), m->run(instance_at(session)));
}

NATIVE(void, cancel, jlong handle, jlong session) {
    (void)env, (void)type;
    model_at(handle)->cancel(instance_at(session));
}

NATIVE(void, selftest, jlong handle, jlong session) {
    (void)type;
    const model *m = model_at(handle);
    check(env, m, instance_at(session), m->selftest(instance_at(session), NULL));
}
