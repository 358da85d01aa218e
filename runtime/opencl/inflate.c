/* DEFLATE as RFC 1951 has it; the sections in comments are its own. Small before fast: an artifact
 * holds some hundred kilobytes of sources. */
#include "inflate.h"

#include <stdint.h>
#include <string.h>

enum { MOST_BITS = 15, LITERALS = 288, DISTANCES = 32, END_OF_BLOCK = 256 };

typedef struct {
    const unsigned char *in, *in_end;
    unsigned char *start, *out, *out_end;
    uint32_t bits, bit_count;
    bool failed;
} stream;

/* How many codes have each length, and the symbols in the order of their codes (3.2.2). */
typedef struct {
    uint16_t count[MOST_BITS + 1];
    uint16_t symbols[LITERALS];
} huffman;

static uint32_t take_bits(stream *s, uint32_t count) {
    while (s->bit_count < count) {
        if (s->in == s->in_end) {
            s->failed = true;
            return 0;
        }
        s->bits |= (uint32_t)*s->in++ << s->bit_count;
        s->bit_count += 8;
    }
    uint32_t value = s->bits & ((1u << count) - 1);
    s->bits >>= count;
    s->bit_count -= count;
    return value;
}

/* False if more codes of some length are asked for than there are. */
static bool make_codes(huffman *h, const unsigned char *lengths, uint32_t symbols) {
    uint16_t next[MOST_BITS + 1];
    int32_t left = 1;
    memset(h->count, 0, sizeof h->count);
    for (uint32_t i = 0; i < symbols; i++) h->count[lengths[i]]++;
    h->count[0] = 0;
    next[0] = next[1] = 0;
    for (uint32_t length = 1; length <= MOST_BITS; length++) {
        left = left * 2 - h->count[length];
        if (left < 0) return false;
        if (length < MOST_BITS) next[length + 1] = (uint16_t)(next[length] + h->count[length]);
    }
    for (uint32_t i = 0; i < symbols; i++)
        if (lengths[i]) h->symbols[next[lengths[i]]++] = (uint16_t)i;
    return true;
}

/* Codes of a length are consecutive, and follow those of the length before. */
static uint32_t take_symbol(stream *s, const huffman *h) {
    uint32_t code = 0, first = 0, index = 0;
    for (uint32_t length = 1; length <= MOST_BITS; length++) {
        code |= take_bits(s, 1);
        uint32_t count = h->count[length];
        if (s->failed) return END_OF_BLOCK;
        if (code - first < count) return h->symbols[index + code - first];
        index += count;
        first = (first + count) << 1;
        code <<= 1;
    }
    s->failed = true;
    return END_OF_BLOCK;
}

static void copy_back(stream *s, uint32_t distance, uint32_t length) {
    if (distance > (size_t)(s->out - s->start) || length > (size_t)(s->out_end - s->out)) {
        s->failed = true;
        return;
    }
    for (; length; length--, s->out++) *s->out = s->out[-(ptrdiff_t)distance];
}

/* 3.2.5: a length or distance is a base and some extra bits. */
static void take_match(stream *s, uint32_t symbol, const huffman *distances) {
    static const uint16_t lengths[] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                       31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
    static const uint8_t more[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
                                   2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
    symbol -= END_OF_BLOCK + 1;
    if (symbol >= sizeof more) {
        s->failed = true;
        return;
    }
    uint32_t length = lengths[symbol] + take_bits(s, more[symbol]);
    uint32_t place = take_symbol(s, distances);
    if (s->failed || place >= 30) {
        s->failed = true;
        return;
    }
    uint32_t extra = place < 4 ? 0 : place / 2 - 1;
    uint32_t base = place < 4 ? place + 1 : ((2 + (place & 1)) << extra) + 1;
    copy_back(s, base + take_bits(s, extra), length);
}

static void take_block(stream *s, const huffman *literals, const huffman *distances) {
    while (!s->failed) {
        uint32_t symbol = take_symbol(s, literals);
        if (symbol == END_OF_BLOCK) return;
        if (symbol > END_OF_BLOCK)
            take_match(s, symbol, distances);
        else if (s->out == s->out_end)
            s->failed = true;
        else
            *s->out++ = (unsigned char)symbol;
    }
}

/* 3.2.4: the rest of the byte is unused; a length and its complement follow. */
static void take_stored(stream *s) {
    s->bits = s->bit_count = 0;
    if (s->in_end - s->in < 4) {
        s->failed = true;
        return;
    }
    size_t length = s->in[0] | (size_t)s->in[1] << 8;
    size_t complement = s->in[2] | (size_t)s->in[3] << 8;
    s->in += 4;
    if ((length ^ complement) != 0xFFFF || length > (size_t)(s->in_end - s->in) ||
        length > (size_t)(s->out_end - s->out)) {
        s->failed = true;
        return;
    }
    memcpy(s->out, s->in, length);
    s->in += length;
    s->out += length;
}

/* 3.2.6. */
static void take_fixed(stream *s, huffman *literals, huffman *distances) {
    unsigned char lengths[LITERALS];
    memset(lengths, 8, 144);
    memset(lengths + 144, 9, 112);
    memset(lengths + 256, 7, 24);
    memset(lengths + 280, 8, 8);
    make_codes(literals, lengths, LITERALS);
    memset(lengths, 5, DISTANCES);
    make_codes(distances, lengths, DISTANCES);
    take_block(s, literals, distances);
}

/* 3.2.7: the lengths of codes are themselves coded; 16 to 18 repeat one. */
static void take_dynamic(stream *s, huffman *literals, huffman *distances) {
    static const uint8_t order[] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    unsigned char lengths[LITERALS + DISTANCES] = {0};
    uint32_t literal_count = take_bits(s, 5) + 257, distance_count = take_bits(s, 5) + 1;
    uint32_t order_count = take_bits(s, 4) + 4, total = literal_count + distance_count;
    for (uint32_t i = 0; i < order_count; i++) lengths[order[i]] = (unsigned char)take_bits(s, 3);
    if (literal_count > 286 || !make_codes(literals, lengths, sizeof order)) s->failed = true;
    memset(lengths, 0, sizeof lengths);
    for (uint32_t i = 0; i < total && !s->failed;) {
        uint32_t symbol = take_symbol(s, literals), repeat = 1;
        unsigned char length = (unsigned char)symbol;
        if (symbol >= 16) {
            static const uint8_t base[] = {3, 3, 11}, more[] = {2, 3, 7};
            length = symbol == 16 && i ? lengths[i - 1] : 0;
            s->failed = s->failed || (symbol == 16 && !i) || symbol > 18;
            if (!s->failed) repeat = base[symbol - 16] + take_bits(s, more[symbol - 16]);
        }
        s->failed = s->failed || repeat > total - i;
        for (; repeat && !s->failed; repeat--) lengths[i++] = length;
    }
    if (s->failed || !make_codes(literals, lengths, literal_count) ||
        !make_codes(distances, lengths + literal_count, distance_count))
        s->failed = true;
    else
        take_block(s, literals, distances);
}

bool inflate(const unsigned char *in, size_t in_bytes, unsigned char *out, size_t out_bytes) {
    stream s = {.in = in, .in_end = in + in_bytes, .start = out, .out = out, .out_end = out + out_bytes};
    huffman literals, distances;
    bool last = false;
    while (!last && !s.failed) {
        last = take_bits(&s, 1);
        switch (take_bits(&s, 2)) {
        case 0: take_stored(&s); break;
        case 1: take_fixed(&s, &literals, &distances); break;
        case 2: take_dynamic(&s, &literals, &distances); break;
        default: s.failed = true;
        }
    }
    return !s.failed && s.out == s.out_end;
}
