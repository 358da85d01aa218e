/* Finds OpenCL's library, the first GPU that it has, and what that GPU can do. */
#include "opencl_driver.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "opencl_program.h"
#include "system.h"

/* Names an application's loader may know, then the vendors' places: Qualcomm and most others, Arm's
 * library of everything, Imagination; boards; macOS. */
#if defined(__LP64__)
#define LIB "lib64"
#else
#define LIB "lib"
#endif
static const char *const libraries[] = {
    "libOpenCL.so",
    "libOpenCL.so.1",
    "/vendor/" LIB "/libOpenCL.so",
    "/system/vendor/" LIB "/libOpenCL.so",
    "/vendor/" LIB "/egl/libGLES_mali.so",
    "/system/vendor/" LIB "/egl/libGLES_mali.so",
    "/vendor/" LIB "/libPVROCL.so",
    "/system/vendor/" LIB "/libPVROCL.so",
    "libOpenCL-pixel.so",
    "libOpenCL-car.so",
    "libmali.so",
    "libmali.so.1",
    "/System/Library/Frameworks/OpenCL.framework/OpenCL",
};

/* Another library in place of these. Its devices need not be GPUs: it is how tests run on a CPU. */
static const char OVERRIDE[] = "ARMLET_OPENCL_LIBRARY";

static opencl_device shared;
static int32_t users;
static _Atomic uint32_t lock;

bool opencl_fail(opencl_message message, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (message.text && message.bytes) vsnprintf(message.text, message.bytes, format, arguments);
    va_end(arguments);
    return false;
}

const char *opencl_error(cl_int status) {
    switch (status) {
    case -1: return "CL_DEVICE_NOT_FOUND";
    case -2: return "CL_DEVICE_NOT_AVAILABLE";
    case -3: return "CL_COMPILER_NOT_AVAILABLE";
    case -4: return "CL_MEM_OBJECT_ALLOCATION_FAILURE";
    case -5: return "CL_OUT_OF_RESOURCES";
    case -6: return "CL_OUT_OF_HOST_MEMORY";
    case -10: return "CL_IMAGE_FORMAT_NOT_SUPPORTED";
    case -11: return "CL_BUILD_PROGRAM_FAILURE";
    case -14: return "CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST";
    case -36: return "CL_INVALID_COMMAND_QUEUE";
    case -40: return "CL_INVALID_IMAGE_SIZE";
    case -46: return "CL_INVALID_KERNEL_NAME";
    case -54: return "CL_INVALID_WORK_GROUP_SIZE";
    case -61: return "CL_INVALID_BUFFER_SIZE";
    default: return "an error";
    }
}

static bool find_functions(void *library, opencl_api *cl) {
    void *(*find)(const char *) = NULL;
    /* Pixel's library gives its functions away by a function of its own, once it is told to. */
    void (*enable)(void) = NULL;
    *(void **)&enable = dlsym(library, "enableOpenCL");
    *(void **)&find = dlsym(library, "loadOpenCLPointer");
    if (enable && find) enable();
#define FIND(returns, name, parameters) \
    *(void **)&cl->name = find ? find(#name) : dlsym(library, #name); \
    if (!cl->name) return false;
    OPENCL_FUNCTIONS(FIND)
#undef FIND
    return true;
}

/* Libraries stay open for good: drivers have threads and exit handlers that outlive a close. */
static bool open_library(opencl_api *cl, const char *override, opencl_message message) {
    size_t count = override ? 1 : sizeof libraries / sizeof *libraries;
    bool found = false;
    for (size_t i = 0; i < count; i++) {
        void *library = dlopen(override ? override : libraries[i], RTLD_NOW | RTLD_LOCAL);
        if (library && find_functions(library, cl)) return true;
        found = found || library;
    }
    if (override) return opencl_fail(message, "%s names no OpenCL driver: %.160s", OVERRIDE, override);
    return opencl_fail(message, found ? "the OpenCL driver is older than version 1.2"
                                      : "there is no OpenCL driver");
}

static bool choose_device(opencl_device *d, cl_bitfield type, opencl_message message) {
    enum { MOST_PLATFORMS = 8 };
    cl_platform_id platforms[MOST_PLATFORMS];
    cl_uint count = 0, devices = 0;
    cl_int status = d->cl.clGetPlatformIDs(MOST_PLATFORMS, platforms, &count);
    if (status != CL_SUCCESS) count = 0;
    for (cl_uint i = 0; i < count && i < MOST_PLATFORMS; i++) {
        status = d->cl.clGetDeviceIDs(platforms[i], type, 1, &d->device, &devices);
        if (status == CL_SUCCESS && devices) {
            char version[128] = "";
            d->cl.clGetPlatformInfo(platforms[i], CL_PLATFORM_VERSION, sizeof version - 1, version, NULL);
            d->identity = hash_more(d->identity, version, sizeof version);
            return true;
        }
    }
    return opencl_fail(message, "the OpenCL driver has no GPU");
}

/* A text that the device tells of itself, into identity, too; the caller frees. NULL: no memory. */
static char *device_text(opencl_device *d, cl_uint what) {
    size_t bytes = 0;
    if (d->cl.clGetDeviceInfo(d->device, what, 0, NULL, &bytes) != CL_SUCCESS) bytes = 0;
    char *text = calloc(bytes + 1, 1);
    if (text && bytes) d->cl.clGetDeviceInfo(d->device, what, bytes, text, NULL);
    if (text) d->identity = hash_more(d->identity, text, strlen(text) + 1);
    return text;
}

/* A number of at most 8 bytes; 0 if the device does not tell it. */
static uint64_t device_number(const opencl_device *d, cl_uint what) {
    unsigned char bytes[8] = {0};
    uint64_t number = 0;
    if (d->cl.clGetDeviceInfo(d->device, what, sizeof bytes, bytes, NULL) != CL_SUCCESS) return 0;
    memcpy(&number, bytes, sizeof number);
    return number;
}

static uint32_t features_of(const char *extensions, bool images) {
    static const struct {
        const char *extension;
        uint32_t feature;
    } known[] = {
        {"cl_khr_fp16", NEEDS_FP16},
        {"cl_khr_subgroups", NEEDS_SUBGROUPS},
        {"cl_intel_subgroups", NEEDS_SUBGROUPS},
        {"cl_khr_integer_dot_product", NEEDS_DOT8},
        {"cl_arm_integer_dot_product_int8", NEEDS_DOT8},
        {"cl_qcom_dot_product8", NEEDS_DOT8},
    };
    uint32_t features = images ? NEEDS_IMAGES : 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strstr(extensions, known[i].extension)) features |= known[i].feature;
    return features;
}

static bool describe_device(opencl_device *d, opencl_message message) {
    char *extensions = device_text(d, CL_DEVICE_EXTENSIONS);
    char *name = device_text(d, CL_DEVICE_NAME);
    char *version = device_text(d, CL_DEVICE_VERSION), *driver = device_text(d, CL_DRIVER_VERSION);
    bool known = extensions && name && version && driver;
    if (known) {
        d->features = features_of(extensions, device_number(d, CL_DEVICE_IMAGE_SUPPORT) & 1);
        snprintf(d->name, sizeof d->name, "%.100s", name);
    }
    free(extensions);
    free(name);
    free(version);
    free(driver);
    if (!known) return opencl_fail(message, "out of memory");
    d->memory = device_number(d, CL_DEVICE_GLOBAL_MEM_SIZE);
    d->unified = device_number(d, CL_DEVICE_HOST_UNIFIED_MEMORY) & 1;
    uint64_t bits = device_number(d, CL_DEVICE_MEM_BASE_ADDR_ALIGN) & UINT32_MAX;
    d->buffer_alignment = bits >= 8 ? (size_t)bits / 8 : 1;
    size_t most[16] = {0};
    d->cl.clGetDeviceInfo(d->device, CL_DEVICE_MAX_WORK_ITEM_SIZES, sizeof most, most, NULL);
    for (int i = 0; i < 3; i++) d->work_items[i] = most[i] ? most[i] : SIZE_MAX;
    return true;
}

static bool open_device(opencl_device *d, opencl_message message) {
    const char *override = getenv(OVERRIDE);
    if (override && !*override) override = NULL;
    memset(d, 0, sizeof *d);
    d->identity = HASH_START;
    if (!open_library(&d->cl, override, message) ||
        !choose_device(d, override ? CL_DEVICE_TYPE_ALL : CL_DEVICE_TYPE_GPU, message) ||
        !describe_device(d, message))
        return false;
    cl_int status = CL_SUCCESS;
    d->context = d->cl.clCreateContext(NULL, 1, &d->device, NULL, NULL, &status);
    if (d->context) return true;
    return opencl_fail(message, "the GPU %s cannot be used: %s (%d)", d->name, opencl_error(status), status);
}

static void enter(void) {
    while (atomic_exchange(&lock, 1)) system_sleep(&lock, 1);
}

static void leave(void) {
    atomic_store(&lock, 0);
    system_wake(&lock);
}

const opencl_device *opencl_acquire(opencl_message message) {
    enter();
    bool open = users || open_device(&shared, message);
    users += open;
    leave();
    return open ? &shared : NULL;
}

void opencl_release(void) {
    enter();
    if (!--users) shared.cl.clReleaseContext(shared.context);
    leave();
}
