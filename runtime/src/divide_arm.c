/* Integer division on processors without it: LLVM calls for it by these names in kernels, and by
 * those of Arm's run-time ABI (__aeabi_idiv) here, which the compiler's helpers have. */
#if defined(__arm__)

#include <stdint.h>

int32_t __divsi3(int32_t a, int32_t b);
uint32_t __udivsi3(uint32_t a, uint32_t b);

int32_t __divsi3(int32_t a, int32_t b) { return a / b; }
uint32_t __udivsi3(uint32_t a, uint32_t b) { return a / b; }
#endif
