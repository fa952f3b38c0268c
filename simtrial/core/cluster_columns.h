/* Columns of clusters as kernels of sums take them: means, products of deviations, and which trial a cluster is of. */
#ifndef SIMTRIAL_CLUSTER_COLUMNS_H
#define SIMTRIAL_CLUSTER_COLUMNS_H

#include "rows.h"

enum { SIDE_BY_SIDE = 2 * LANES }; /* trials whose sums are written together: a line of the cache */

typedef struct {
    Py_ssize_t columns, clusters, first, varying; /* columns before `first` are old: their sums are left alone */
    const double *means, *within;                 /* (columns, clusters), (varying, varying, clusters) */
    const int64_t *place, *trial;                 /* of each column in within, or -1; of each cluster */
} cluster_columns;

/* What these kernels take first; GROUP is one more array of clusters. */
enum { MEANS, WITHIN, PLACE, GROUP, TRIAL, SHARED };

int take_columns(array *a, PyObject *const *given, PyObject *first, cluster_columns *of);

/* Whether the columns are what they must be, trials in order and below the number there are. */
int are_columns(const array *a, const cluster_columns *of, Py_ssize_t trials);

/* The largest number of clusters in a trial. */
Py_ssize_t most_clusters(const cluster_columns *of);

/* The first cluster of the trial after the one of cluster c. */
INLINE Py_ssize_t next_trial(const cluster_columns *of, Py_ssize_t c) {
    int64_t trial = of->trial[c];
    while (c < of->clusters && of->trial[c] == trial) c++;
    return c;
}

/* Sum of the products of deviations of two columns over some clusters, in their order. */
INLINE double inside_clusters(const cluster_columns *of, Py_ssize_t j, Py_ssize_t i, Py_ssize_t from, Py_ssize_t to) {
    int64_t one = AT(of->place, j), other = AT(of->place, i);
    double sum = 0.0;
    if (one < 0 || other < 0) return sum;
    const double *within = PART(of->within, (one * of->varying + other) * of->clusters + from, to - from);
    for (Py_ssize_t c = 0; c < to - from; c++) sum += within[c];
    return sum;
}

/* Numbers of some trials, `apart` from one to the next, put where they stand together. */
INLINE void put(const double *from, Py_ssize_t apart, Py_ssize_t some, double *to) {
    if (some == SIDE_BY_SIDE)
        for (int l = 0; l < SIDE_BY_SIDE; l++) to[l] = from[l * apart];
    else
        for (Py_ssize_t l = 0; l < some; l++) to[l] = from[l * apart];
}

#endif
