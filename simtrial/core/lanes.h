/* Trials side by side: every number of a kernel is a vector of LANES, one entry for each trial of a tile.

   Vectors of GNU C (gcc, clang): arithmetic on them is that of every lane, and l[2] is one of them. Left to loops over
   lanes, compilers turn most of these into single numbers. A compiler that does not know them builds no extension.
   Only functions that are INLINE take or return lanes; others take pointers to them, since the two builds of a function
   that is VECTORISED would pass lanes in different places. */
#ifndef SIMTRIAL_LANES_H
#define SIMTRIAL_LANES_H

#include "arrays.h"

#include <math.h>
#include <string.h>

#define LANES 4
#define EACH(l) for (int l = 0; l < LANES; l++)

typedef double lanes __attribute__((vector_size(8 * LANES), aligned(8)));

typedef int64_t choice __attribute__((vector_size(8 * LANES), aligned(8))); /* what comparisons give: -1 where true */

/* The same number in every lane. */
INLINE lanes all(double value) { return value - (lanes){0.0}; }

INLINE lanes chosen(choice where, lanes one, lanes other) {
    return (lanes)(((choice)one & where) | ((choice)other & ~where));
}

INLINE int any_of(choice where) {
    int64_t found = 0;
    EACH(l) found |= where[l];
    return found != 0;
}

INLINE lanes size_of(lanes values) { return (lanes)((choice)values & INT64_MAX); }

INLINE lanes square_root(lanes values) {
    EACH(l) values[l] = sqrt(values[l]);
    return values;
}

/* LANES numbers that stand together. */
INLINE lanes together(const double *from) {
    lanes out;
    memcpy(&out, from, sizeof out);
    return out;
}

/* Of those that follow each other as many as there are; in the other lanes 0. */
INLINE lanes load_some(const double *from, Py_ssize_t filled) {
    if (filled >= LANES) return together(from);
    lanes out = {0};
    for (int l = 0; l < filled; l++) out[l] = from[l];
    return out;
}

#define AHEAD (2 * LANES) /* where the tile after the next begins: rows of an array are far apart in memory */

#define TRIAL_AHEAD 48 /* where the clusters of the next trial are, or nearly: columns of clusters are far apart as well */

/* LANES numbers from an array whose last axis is trials; those past its end repeat the last, and are not written back. */
INLINE lanes load(const double *from, int filled) {
    __builtin_prefetch(from + AHEAD);
    if (filled == LANES) return together(from);
    lanes out;
    EACH(l) out[l] = from[l < filled ? l : filled - 1];
    return out;
}

INLINE void store_all(double *to, lanes values) { memcpy(to, &values, sizeof values); }

INLINE void store(double *to, lanes values, int filled) {
    __builtin_prefetch(to + AHEAD, 1);
    if (filled == LANES) store_all(to, values);
    else
        for (int l = 0; l < filled; l++) to[l] = values[l];
}

/* Numbers of LANES clusters or fewer, which follow each other; past the end they are 0. */
INLINE void load_clusters(lanes *restrict to, const double *restrict from, int numbers, int filled) {
    EACH(l) for (int i = 0; i < numbers; i++) to[i][l] = l < filled ? from[l * numbers + i] : 0.0;
}

#endif
