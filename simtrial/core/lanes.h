/* Trials side by side: every number of a kernel is an array of LANES, one entry for each trial of a tile. */
#ifndef SIMTRIAL_LANES_H
#define SIMTRIAL_LANES_H

#include "arrays.h"

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

#endif
