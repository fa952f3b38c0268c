/* Twin of `who_stands_where` in simtrial/moments/analysis_set.py: the same numbers. */
#include "kernels.h"

#include <string.h>

typedef struct {
    Py_ssize_t participants, practices, trials;
    const unsigned char *seen;
    const int64_t *practice, *trial; /* of participants, of practices */
    int64_t *rows, *cluster, *cluster_trial, *position;
    double *sizes, *counts, *clusters;
    int64_t *found; /* how many rows and clusters there are */
} people;

/* How many rows there are up to the last participant of a practice is noted in `position` until it is read. */
static void find(const people *p) {
    int64_t rows = 0, before = 0, clusters = 0;
    for (Py_ssize_t j = 0; j < p->practices; j++) p->position[j] = 0;
    memset(p->counts, 0, (size_t)p->trials * sizeof(double));
    memset(p->clusters, 0, (size_t)p->trials * sizeof(double));
    for (Py_ssize_t i = 0; i < p->participants; i++) {
        AT(p->rows, rows) = i;
        rows += AT(p->seen, i) != 0;
        AT(p->position, p->practice[i]) = rows;
    }
    for (Py_ssize_t j = 0; j < p->practices; j++) {
        int64_t trial = p->trial[j], members = p->position[j] - before;
        if (members <= 0) continue; /* nobody seen, or nobody there */
        before += members;
        AT(p->cluster, clusters) = j, AT(p->cluster_trial, clusters) = trial;
        AT(p->position, clusters) = (int64_t)AT(p->clusters, trial);
        AT(p->sizes, clusters++) = (double)members;
        p->clusters[trial] += 1.0, AT(p->counts, trial) += (double)members;
    }
    p->found[0] = rows, p->found[1] = clusters;
}

static int are_sorted(const array *one) {
    const int64_t *at = one->at;
    int sorted = 1;
    for (Py_ssize_t i = 1; i < one->shape[0]; i++) sorted &= at[i] >= at[i - 1];
    if (!sorted) PyErr_Format(PyExc_ValueError, "%s: what belongs together must stand together, in order", one->name);
    return sorted;
}

PyObject *core_who_stands_where(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { SEEN, PRACTICE, TRIAL, ROWS, CLUSTER, CLUSTER_TRIAL, POSITION, SIZES, COUNTS, CLUSTERS, FOUND, END };
    array a[] = {IN("seen", BOOLS), IN("practice", INTS), IN("trial", INTS), OUT("rows", INTS), OUT("cluster", INTS),
                 OUT("cluster_trial", INTS), OUT("position", INTS), OUT("sizes", FLOATS), OUT("counts", FLOATS),
                 OUT("clusters", FLOATS), OUT("found", INTS)};
    PyObject *result = NULL;
    if (number != END) return PyErr_Format(PyExc_TypeError, "who_stands_where takes %d arguments", END), NULL;
    for (int k = 0; k < END; k++) a[k].dimensions = 1;
    a[SEEN].shape[0] = a[TRIAL].shape[0] = a[COUNTS].shape[0] = -1;
    if (!take_array(&a[SEEN], given[SEEN]) || !take_array(&a[TRIAL], given[TRIAL])) goto end;
    if (!take_array(&a[COUNTS], given[COUNTS])) goto end;
    a[PRACTICE].shape[0] = a[ROWS].shape[0] = a[SEEN].shape[0];
    a[CLUSTER].shape[0] = a[CLUSTER_TRIAL].shape[0] = a[POSITION].shape[0] = a[SIZES].shape[0] = a[TRIAL].shape[0];
    a[CLUSTERS].shape[0] = a[COUNTS].shape[0], a[FOUND].shape[0] = 2;
    if (!take_array(&a[PRACTICE], given[PRACTICE]) || !take_arrays(a + ROWS, COUNTS - ROWS, given + ROWS)) goto end;
    if (!take_arrays(a + CLUSTERS, 2, given + CLUSTERS)) goto end;
    if (!are_places(&a[PRACTICE], a[TRIAL].shape[0]) || !are_places(&a[TRIAL], a[COUNTS].shape[0])) goto end;
    if (!are_sorted(&a[PRACTICE]) || !are_sorted(&a[TRIAL])) goto end;
    people p = {.participants = a[SEEN].shape[0], .practices = a[TRIAL].shape[0], .trials = a[COUNTS].shape[0],
                .seen = a[SEEN].at, .practice = a[PRACTICE].at, .trial = a[TRIAL].at, .rows = a[ROWS].at,
                .cluster = a[CLUSTER].at, .cluster_trial = a[CLUSTER_TRIAL].at, .position = a[POSITION].at,
                .sizes = a[SIZES].at, .counts = a[COUNTS].at, .clusters = a[CLUSTERS].at, .found = a[FOUND].at};
    Py_BEGIN_ALLOW_THREADS
    find(&p);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    release_arrays(a, END);
    return result;
}
