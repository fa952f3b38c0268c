/* Columns of clusters in bases of their own, as `InBases` of simtrial/kernels/cluster_basis.py holds them where one column
   at most varies within clusters: the row of means, and the row along the one direction inside. */
#ifndef SIMTRIAL_IN_BASES_H
#define SIMTRIAL_IN_BASES_H

#include "lanes.h"

typedef struct {
    Py_ssize_t clusters;
    const double *means, *sizes, *along; /* (columns, clusters), (clusters,), (columns with such a part, clusters) */
} in_bases;

/* The roots of sizes, by which the row of means stands in the bases. */
INLINE lanes root_of_sizes(const in_bases *b, Py_ssize_t first, int filled) {
    return square_root(load_some(PART(b->sizes, first, filled), filled));
}

INLINE lanes load_column(const in_bases *b, int column, Py_ssize_t first, int filled) {
    const double *from = PART(b->means, column * b->clusters + first, filled);
    __builtin_prefetch(from + TRIAL_AHEAD);
    return load_some(from, filled);
}

/* The part along the direction, of one of the columns that have one. */
INLINE lanes load_along(const in_bases *b, int column, Py_ssize_t first, int filled) {
    return load_some(PART(b->along, column * b->clusters + first, filled), filled);
}

/* Clusters of a trial follow each other; so many there are of the one that begins at a cluster. */
INLINE Py_ssize_t clusters_of(const int64_t *trial, Py_ssize_t all_clusters, Py_ssize_t first, int64_t which) {
    Py_ssize_t last = first;
    while (last < all_clusters && AT(trial, last) == which) last++;
    return last - first;
}

/* Whether clusters stand in order of their trials, no more than so many in each. */
int are_clusters(const array *trial, Py_ssize_t trials, Py_ssize_t most);

#define IN_BASES IN("means", FLOATS), IN("sizes", FLOATS), IN("along", FLOATS)

#endif
