/* What a core can do at most: multiply-adds in registers, and bytes moved through a cache.
 * LANES and SUMS are given by roofline.py. */

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4)));

/* 2 * SUMS * LANES * times operations */
float armlet_multiply_add(long times, float factor, float term)
{
    vec sums[SUMS], f = factor - (vec){0}, t = term - (vec){0};
    for (int i = 0; i < SUMS; i++)
        sums[i] = t * (float)i;
    while (times--)
#pragma clang loop unroll(full)
        for (int i = 0; i < SUMS; i++)
            sums[i] = sums[i] * f + t;
    vec all = sums[0];
    for (int i = 1; i < SUMS; i++)
        all += sums[i];
    float total = 0;
    for (int i = 0; i < LANES; i++)
        total += all[i];
    return total;
}

/* 8 * LANES * vectors * times bytes: each vector is read from one place and stored to another */
void armlet_move(vec *to, const vec *from, long vectors, long times)
{
    while (times--)
        for (long i = 0; i < vectors; i++)
            to[i] = from[i] * 0.5f;
}
