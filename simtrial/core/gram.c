/* Twin of `gram` in simtrial/kernels/slot_sums.py: each sum of products goes over the clusters of a trial, LANES of them side
   by side, on every processor. */
#include "cluster_columns.h"
#include "kernels.h"

#include <stdlib.h>

typedef struct {
    cluster_columns of;
    Py_ssize_t trials, wide; /* room for the clusters of a trial */
    const double *sizes;
    double *gram;              /* (columns, columns, trials) */
    double *means, *weighted;  /* of one trial (columns, wide), and of one column times sizes (wide,) */
    double *sums;              /* of some trials (SIDE_BY_SIDE, added, columns) */
} products;

/* Sums of one trial, of clusters `from` to below `to`; what fills up its vectors is 0. */
INLINE void add_trial(const products *own, Py_ssize_t from, Py_ssize_t to, double *restrict sums) {
    Py_ssize_t clusters = to - from, wide = filled_up(clusters), q = own->of.columns;
    for (Py_ssize_t k = 0; k < q; k++) {
        double *restrict row = own->means + k * own->wide;
        const double *mean = PART(own->of.means, k * own->of.clusters + from, clusters);
        for (Py_ssize_t c = 0; c < wide; c += LANES) {
            __builtin_prefetch(mean + c + TRIAL_AHEAD);
            store_all(row + c, load_some(mean + c, clusters - c));
        }
    }
    for (Py_ssize_t j = own->of.first; j < q; j++, sums += q) {
        const double *mean = own->means + j * own->wide, *size = PART(own->sizes, from, clusters);
        for (Py_ssize_t c = 0; c < clusters; c++) own->weighted[c] = mean[c] * size[c];
        for (Py_ssize_t c = clusters; c < wide; c++) own->weighted[c] = 0.0;
        for (Py_ssize_t i = 0; i <= j; i++)
            sums[i] = dot(own->weighted, own->means + i * own->wide, wide) + inside_clusters(&own->of, j, i, from, to);
    }
}

VECTORISED static void add_all(const products *own) {
    Py_ssize_t q = own->of.columns, added = (q - own->of.first) * q;
    for (Py_ssize_t from = 0, c = 0, next; from < own->trials; from += SIDE_BY_SIDE) {
        Py_ssize_t some = own->trials - from < SIDE_BY_SIDE ? own->trials - from : SIDE_BY_SIDE;
        memset(own->sums, 0, (size_t)(added * SIDE_BY_SIDE) * sizeof(double));
        for (; c < own->of.clusters && own->of.trial[c] < from + some; c = next) {
            next = next_trial(&own->of, c);
            add_trial(own, c, next, own->sums + (own->of.trial[c] - from) * added);
        }
        for (Py_ssize_t j = own->of.first; j < q; j++)
            for (Py_ssize_t i = 0; i <= j; i++) {
                const double *sums = own->sums + (j - own->of.first) * q + i;
                put(sums, added, some, PART(own->gram, (j * q + i) * own->trials + from, some));
                if (i != j) put(sums, added, some, PART(own->gram, (i * q + j) * own->trials + from, some));
            }
    }
}

static int make_room(products *own) {
    Py_ssize_t q = own->of.columns, added = (q - own->of.first) * q;
    own->wide = filled_up(most_clusters(&own->of));
    own->means = room_for(own->wide + added, q + 1 + SIDE_BY_SIDE);
    if (own->means == NULL) return 0;
    own->weighted = own->means + q * own->wide, own->sums = own->weighted + own->wide;
    return 1;
}

PyObject *core_gram(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { GRAM = SHARED, END };
    array a[] = {IN("means", FLOATS), IN("within", FLOATS), IN("place", INTS), IN("sizes", FLOATS), IN("trial", INTS),
                 OUT("gram", FLOATS)};
    PyObject *result = NULL;
    products own = {.means = NULL};
    if (number != END + 1) return PyErr_Format(PyExc_TypeError, "gram takes %d arguments", END + 1), NULL;
    if (!take_columns(a, given, given[SHARED], &own.of)) goto end;
    a[GRAM].dimensions = 3, a[GRAM].shape[0] = a[GRAM].shape[1] = own.of.columns, a[GRAM].shape[2] = -1;
    if (!take_array(&a[GRAM], given[GRAM + 1])) goto end;
    own.trials = a[GRAM].shape[2], own.sizes = a[GROUP].at, own.gram = a[GRAM].at;
    if (!are_columns(a, &own.of, own.trials) || !make_room(&own)) goto end;
    Py_BEGIN_ALLOW_THREADS
    add_all(&own);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free(own.means);
    release_arrays(a, END);
    return result;
}
