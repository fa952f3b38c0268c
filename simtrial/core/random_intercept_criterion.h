/* Tiles of the sums that simtrial/kernels/random_intercept_criterion.py describes, and the criterion on them. */
#ifndef SIMTRIAL_RANDOM_INTERCEPT_CRITERION_H
#define SIMTRIAL_RANDOM_INTERCEPT_CRITERION_H

#include "small_matrices.h"

/* The arrays of SizeSums; between (trials, slots, packed), so that what a tile needs stands together. */
typedef struct {
    Py_ssize_t slots, trials, packed, apart; /* apart: numbers from the sums of one slot to those of the next */
    int regressors;
    int shared; /* sizes are the same in every trial: (slots, 1) */
    const double *sizes, *counts, *between, *within;
} size_sums;

/* Some trials of them. Slots that none of these has are left out; one that a trial lacks has size 0 there. */
typedef struct {
    Py_ssize_t slots;
    int regressors, packed;
    lanes *sizes, *counts, *between, *within; /* (slots), (slots), (slots, places), (packed) */
    int places;                               /* packed, up to a multiple of TOGETHER */
    Py_ssize_t *slot;                         /* (slots), which slots of the sums these are */
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

/* Sums of `between` over slots by so many sets of weights, packed, from some entry onwards; TOGETHER entries at a time
   stay in registers. */
#define TOGETHER 4
INLINE void add_slots(lanes *const *out, const tile *one, lanes *const *weights, int sets, int first) {
    for (int k = first / TOGETHER * TOGETHER; k < one->places; k += TOGETHER) {
        lanes sums[3][TOGETHER] = {{{0}}};
        for (Py_ssize_t s = 0; s < one->slots; s++)
            for (int m = 0; m < sets; m++)
                for (int e = 0; e < TOGETHER; e++) sums[m][e] += weights[m][s] * one->between[s * one->places + k + e];
        for (int m = 0; m < sets; m++)
            for (int e = 0; e < TOGETHER; e++) out[m][k + e] = sums[m][e];
    }
}

/* M at a gamma whose a = n / (1 + n gamma) are in the tile, packed, from some entry onwards. */
INLINE void total_tile(tile *one, int first) {
    add_slots(&one->total, one, &one->a, 1, first);
    for (int k = first; k < one->packed; k++) one->total[k] += one->within[k];
}

/* What `evaluate` returns, as far as the search needs it; the matrix of the tile holds C^-1 and the coefficients. */
typedef struct {
    lanes value, slope, curvature, rss, rss1, rss2, log_determinant, trace1, trace2, squares;
} evaluation;

/* All but the value, which takes many logarithms and is wanted where a search ends; and the value then. */
void derivatives_tile(tile *one, const lanes *gamma, const lanes *nu, int reml, evaluation *at);
void add_value(const tile *one, const lanes *nu, int reml, evaluation *at);

#define EVALUATED 13
#define EVALUATION                                                                                                      \
    OUT("inverse", FLOATS), OUT("first", FLOATS), OUT("coefficients", FLOATS), OUT("value", FLOATS),                    \
        OUT("slope", FLOATS), OUT("curvature", FLOATS), OUT("rss", FLOATS), OUT("rss1", FLOATS), OUT("rss2", FLOATS),   \
        OUT("log_determinant", FLOATS), OUT("trace1", FLOATS), OUT("trace2", FLOATS), OUT("squares", FLOATS)

/* Takes the arrays that an evaluation fills, and fills them for the trials of a tile. */
int take_evaluation(array *out, const size_sums *sums, PyObject *const *given);
void store_evaluation(const tile *one, const evaluation *at, const array *out, Py_ssize_t trials, Py_ssize_t from, int filled);

/* A grid of gamma common to all trials. */
typedef struct {
    Py_ssize_t points, slots;
    const double *gamma;
    double *of_sizes; /* (points, 2, slots): a and log(1 + n gamma), where sizes are those of all trials; else NULL */
    double *of_x;     /* (tiles, points, kept_of_x, LANES): what X alone decides; NULL: it is not kept */
    int is_known;     /* whether it is there already */
} gammas;

/* Numbers kept of X at each point: multipliers of its elimination, 1 over its pivots, and both terms beside q. */
INLINE Py_ssize_t kept_of_x(int regressors) { return regressors * (regressors + 1) / 2 + 2; }

/* 0 with an exception set where there is no room. */
int make_gammas(gammas *grid, const array *gamma, const size_sums *sums);

/* q, sum log(1 + n gamma) and log|C| at one point of the grid, by elimination, of the tile that begins at a trial. */
void grid_parts_tile(tile *one, const gammas *grid, Py_ssize_t point, Py_ssize_t from, lanes *rss, lanes *logs,
                     lanes *log_determinant);

#endif
