#if defined(__aarch64__)
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/sysctl.h>

#include "cpu.h"

/* Linux's names, and Apple's, which are Arm's (since macOS 12 and iOS 15); NULL: every such
 * processor has it. */
static const struct {
    const char *name, *key;
} features[] = {
    {"fp", NULL},
    {"asimd", NULL},
    {"atomics", "hw.optional.arm.FEAT_LSE"},
    {"asimdrdm", "hw.optional.arm.FEAT_RDM"},
    {"dcpop", "hw.optional.arm.FEAT_DPB"},
    {"fphp", "hw.optional.arm.FEAT_FP16"},
    {"asimdhp", "hw.optional.arm.FEAT_FP16"},
    {"asimddp", "hw.optional.arm.FEAT_DotProd"},
    {"asimdfhm", "hw.optional.arm.FEAT_FHM"},
    {"i8mm", "hw.optional.arm.FEAT_I8MM"},
    {"bf16", "hw.optional.arm.FEAT_BF16"},
};

bool cpu_has(const char *name) {
    for (size_t i = 0; i < sizeof features / sizeof *features; i++)
        if (strcmp(features[i].name, name) == 0) {
            int32_t value = 0;
            size_t size = sizeof value;
            const char *key = features[i].key;
            return !key || (sysctlbyname(key, &value, &size, NULL, 0) == 0 && value != 0);
        }
    return false;
}
#endif
