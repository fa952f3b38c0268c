/* Trials side by side: every number of a kernel is an array of LANES, one entry for each trial of a tile. */
#ifndef SIMTRIAL_LANES_H
#define SIMTRIAL_LANES_H

#include "arrays.h"

#include <string.h>

#define LANES 8
#define EACH(l) for (int l = 0; l < LANES; l++)

typedef double lanes[LANES];

/* LANES numbers from an array whose last axis is trials; those past its end repeat the last, and are not written back. */
INLINE void load(double *restrict to, const double *restrict from, int filled) {
    if (filled == LANES) EACH(l) to[l] = from[l];
    else EACH(l) to[l] = from[l < filled ? l : filled - 1];
}

INLINE void store(double *restrict to, const double *restrict from, int filled) {
    for (int l = 0; l < filled; l++) to[l] = from[l];
}

/* FOUR lanes in a register. Compilers turn loops over lanes inside another loop into single numbers; where they know
   vectors, sums are kept in these. */
#define FOUR 4
#if defined(__GNUC__)
typedef double vector __attribute__((vector_size(8 * FOUR)));
INLINE vector all(double value) { return value - (vector){0.0}; }
INLINE vector loaded(const double *from) {
    vector out;
    memcpy(&out, from, sizeof out);
    return out;
}
INLINE void stored(double *to, vector value) { memcpy(to, &value, sizeof value); }
#define PLUS(a, b) ((a) + (b))
#define LESS(a, b) ((a) - (b))
#define TIMES(a, b) ((a) * (b))
#define OVER(a, b) ((a) / (b))
#else
typedef struct { double at[FOUR]; } vector;
INLINE vector all(double value) {
    vector out;
    for (int l = 0; l < FOUR; l++) out.at[l] = value;
    return out;
}
INLINE vector loaded(const double *from) {
    vector out;
    for (int l = 0; l < FOUR; l++) out.at[l] = from[l];
    return out;
}
INLINE void stored(double *to, vector value) { for (int l = 0; l < FOUR; l++) to[l] = value.at[l]; }
INLINE vector PLUS(vector a, vector b) {
    for (int l = 0; l < FOUR; l++) a.at[l] += b.at[l];
    return a;
}
INLINE vector LESS(vector a, vector b) {
    for (int l = 0; l < FOUR; l++) a.at[l] -= b.at[l];
    return a;
}
INLINE vector TIMES(vector a, vector b) {
    for (int l = 0; l < FOUR; l++) a.at[l] *= b.at[l];
    return a;
}
INLINE vector OVER(vector a, vector b) {
    for (int l = 0; l < FOUR; l++) a.at[l] /= b.at[l];
    return a;
}
#endif

#endif
