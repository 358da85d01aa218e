/* The toy chip in software. It takes the time that the chip would; with TOY_NPU_TIME_ONLY set it
 * computes nothing besides, to see what the chip's speed would do for a model. */
#define _POSIX_C_SOURCE 200809L
#include "toy_device.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CONV, ADD, RELU };

typedef struct {
    int32_t opcode, out, x, y, weights, bias;
    int32_t n, c, h, w, o, oh, ow, kh, kw, sh, sw, top, left;
} instruction;

struct toy_program {
    int32_t tensors, instructions, inputs, outputs, weight_count;
    const int32_t *sizes, *results; /* of tensors in elements; which ones are outputs */
    const instruction *code;
    const float *weights;
    float **memory; /* of each tensor */
    double ns;      /* that a run takes */
};

int toy_version(void) { return TOY_VERSION; }

/* Reads the blob's parts into place, and refuses one that is too short for what it says. */
static int parse(toy_program *p, const unsigned char *blob, uint64_t bytes) {
    const int32_t *words = (const int32_t *)(blob + 4);
    if (bytes < 24 || memcmp(blob, "TOY1", 4) != 0) return TOY_DAMAGED;
    memcpy(&p->tensors, words, 5 * sizeof *words);
    if (p->tensors < 0 || p->instructions < 0 || p->inputs < 0 || p->outputs < 0 || p->weight_count < 0)
        return TOY_DAMAGED;
    uint64_t fixed = 24 + 4 * ((uint64_t)p->tensors + (uint64_t)p->outputs);
    uint64_t code = sizeof(instruction) * (uint64_t)p->instructions;
    if (bytes != fixed + code + 4 * (uint64_t)p->weight_count) return TOY_DAMAGED;
    p->sizes = words + 5;
    p->results = p->sizes + p->tensors;
    p->code = (const instruction *)(p->results + p->outputs);
    p->weights = (const float *)(p->code + p->instructions);
    return 0;
}

static void add_costs(toy_program *p) {
    double moved = 0;
    for (int32_t i = 0; i < p->inputs; i++) moved += 4.0 * p->sizes[i];
    for (int32_t i = 0; i < p->outputs; i++) moved += 4.0 * p->sizes[p->results[i]];
    p->ns = TOY_LAUNCH + TOY_BYTE * moved;
    for (int32_t i = 0; i < p->instructions; i++) {
        const instruction *s = &p->code[i];
        double made = p->sizes[s->out];
        p->ns += TOY_ELEMENT * made;
        if (s->opcode == CONV) p->ns += TOY_MAC * made * s->c * s->kh * s->kw;
    }
}

void toy_free(toy_program *p) {
    for (int32_t i = 0; p->memory && i < p->tensors; i++) free(p->memory[i]);
    free(p->memory);
    free(p);
}

int toy_load(const void *blob, uint64_t bytes, toy_program **program) {
    toy_program *p = calloc(1, sizeof *p);
    if (!p) return TOY_MEMORY;
    int status = parse(p, blob, bytes);
    if (status == 0 && !(p->memory = calloc((size_t)p->tensors + 1, sizeof *p->memory)))
        status = TOY_MEMORY;
    for (int32_t i = 0; status == 0 && i < p->tensors; i++)
        if (!(p->memory[i] = malloc(4 * (size_t)p->sizes[i] + 1))) status = TOY_MEMORY;
    if (status == 0) {
        add_costs(p);
        *program = p;
    } else {
        toy_free(p);
    }
    return status;
}

static float convolved(const instruction *s, const float *x, const float *w, int32_t row, int32_t column) {
    float sum = 0;
    for (int32_t k = 0; k < s->c; k++)
        for (int32_t r = 0; r < s->kh; r++)
            for (int32_t q = 0; q < s->kw; q++) {
                int32_t i = row * s->sh + r - s->top, j = column * s->sw + q - s->left;
                if (i >= 0 && i < s->h && j >= 0 && j < s->w)
                    sum += x[(k * s->h + i) * s->w + j] * w[(k * s->kh + r) * s->kw + q];
            }
    return sum;
}

static void convolve(const toy_program *p, const instruction *s) {
    const float *w = p->weights + s->weights, *x = p->memory[s->x];
    float *y = p->memory[s->out];
    for (int32_t n = 0; n < s->n; n++, x += s->c * s->h * s->w)
        for (int32_t o = 0; o < s->o; o++)
            for (int32_t i = 0; i < s->oh; i++)
                for (int32_t j = 0; j < s->ow; j++)
                    *y++ = convolved(s, x, w + o * s->c * s->kh * s->kw, i, j) +
                           (s->bias < 0 ? 0 : p->weights[s->bias + o]);
}

static void execute(const toy_program *p, const instruction *s) {
    float *out = p->memory[s->out];
    const float *x = p->memory[s->x];
    int32_t size = p->sizes[s->out];
    if (s->opcode == CONV) convolve(p, s);
    if (s->opcode == ADD)
        for (int32_t i = 0; i < size; i++) out[i] = x[i] + p->memory[s->y][i];
    if (s->opcode == RELU)
        for (int32_t i = 0; i < size; i++) out[i] = x[i] > 0 ? x[i] : 0;
}

int toy_run(toy_program *p, const float *const *inputs, float *const *outputs) {
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    int64_t ns = end.tv_nsec + (int64_t)p->ns;
    end.tv_sec += (time_t)(ns / 1000000000);
    end.tv_nsec = (long)(ns % 1000000000);
    for (int32_t i = 0; i < p->inputs; i++) memcpy(p->memory[i], inputs[i], 4 * (size_t)p->sizes[i]);
    if (!getenv("TOY_NPU_TIME_ONLY"))
        for (int32_t i = 0; i < p->instructions; i++) execute(p, &p->code[i]);
    for (int32_t i = 0; i < p->outputs; i++)
        memcpy(outputs[i], p->memory[p->results[i]], 4 * (size_t)p->sizes[p->results[i]]);
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL);
    return 0;
}
