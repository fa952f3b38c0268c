/* Tiles of the sums that simtrial/kernels/random_intercept_criterion.py describes, and the criterion on them. */
#ifndef SIMTRIAL_RANDOM_INTERCEPT_CRITERION_H
#define SIMTRIAL_RANDOM_INTERCEPT_CRITERION_H

#include "small_matrices.h"

/* The arrays of SizeSums. */
typedef struct {
    Py_ssize_t slots, trials, packed, apart; /* apart: numbers from one slot of between to the next */
    int regressors;
    int shared; /* sizes are the same in every trial: (slots, 1) */
    const double *sizes, *counts, *between, *within;
} size_sums;

/* Some trials of them. Slots that none of these has are left out; one that a trial lacks has size 0 there. */
typedef struct {
    Py_ssize_t slots, most; /* most: room for so many slots */
    int regressors, packed;
    lanes *sizes, *counts, *between, *within; /* (slots), (slots), (packed, most), (packed) */
    lanes *a, *a2, *a3, *shrink, *pivots, *matrix, *total, *first, *second, *row, *column, *change;
    double *room;
} tile;

/* Arguments sizes, counts, between, within at the head of a kernel's list. */
#define SIZE_SUMS                                                                                                       \
    IN("sizes", FLOATS), IN("counts", FLOATS), IN("between", FLOATS), IN("within", FLOATS)

/* Takes these four arguments; 0 with an exception set where they are not sums. */
int take_sums(size_sums *sums, array *arguments, PyObject *const *given);

int make_tile(tile *one, const size_sums *sums);
void free_tile(tile *one);
void load_tile(tile *one, const size_sums *sums, Py_ssize_t from, int filled);

/* M at a gamma whose a = n / (1 + n gamma) are in the tile, packed. */
INLINE void total_tile(tile *one) {
    for (int k = 0; k < one->packed; k++) {
        add_slots(one->total[k], one->between + k * one->most, one->a, one->slots);
        EACH(l) one->total[k][l] += one->within[k][l];
    }
}

/* What `evaluate` returns, as far as the search needs it; the matrix of the tile holds C^-1 and the coefficients. */
typedef struct {
    lanes value, slope, curvature, rss, rss1, rss2, log_determinant, trace1, trace2, squares;
} evaluation;

/* All but the value, which takes many logarithms and is wanted where a search ends; and the value of one trial then. */
void derivatives_tile(tile *one, const double *gamma, const double *nu, int reml, evaluation *at);
void add_value(const tile *one, int l, const double *nu, int reml, evaluation *at);

/* q, sum log(1 + n gamma) and log|C| at one gamma for all, by elimination. */
void grid_parts_tile(tile *one, double gamma, double *rss, double *logs, double *log_determinant);

#endif
