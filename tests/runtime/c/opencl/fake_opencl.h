/* What the tests can ask of the driver that stands in for libOpenCL. */
#ifndef FAKE_OPENCL_H
#define FAKE_OPENCL_H

typedef struct {
    /* Set by tests. */
    long fail_at;       /* this call fails, counted from 1; 0: none */
    long lost_at;       /* from this enqueue on, queues fail; 0: never */
    long group_items;   /* the most work items in a group */
    long alignment;     /* of sub-buffers, in bits */
    int fp16, unified;  /* whether the device has it */
    int build_fails;    /* sources do not compile */
    int binary_refused; /* binaries are not taken */
    const char *driver; /* its version */
    /* Counted by the driver. */
    long calls, enqueues, launches, compiled, live, mapped;
} fake_driver;

/* The library's symbol: `fake_driver fake`. */
#endif
