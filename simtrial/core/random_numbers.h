/* Numbers of numpy's generator SFC64 (Doty-Humphrey's small fast counter, of 64 bits), the same to the last bit. */
#ifndef SIMTRIAL_RANDOM_NUMBERS_H
#define SIMTRIAL_RANDOM_NUMBERS_H

#include "arrays.h"

/* Three words that are mixed, and a counter. */
typedef struct {
    uint64_t a, b, c, counter;
} state;

/* The argument of a kernel that draws: four words, which it moves on. */
#define STATE_OF_GENERATOR {.name = "state", .kind = INTS, .writable = 1, .dimensions = 1, .shape = {4}}

INLINE state begin(const uint64_t *words) { return (state){words[0], words[1], words[2], words[3]}; }

INLINE void end(const state *s, uint64_t *words) { words[0] = s->a, words[1] = s->b, words[2] = s->c, words[3] = s->counter; }

INLINE uint64_t next_word(state *s) {
    uint64_t word = s->a + s->b + s->counter++;
    s->a = s->b ^ (s->b >> 11);
    s->b = s->c + (s->c << 3);
    s->c = ((s->c << 24) | (s->c >> 40)) + word;
    return word;
}

/* From 0 to below 1, in steps of 2^-53. */
INLINE double next_uniform(state *s) { return (double)(next_word(s) >> 11) * 0x1p-53; }

#endif
