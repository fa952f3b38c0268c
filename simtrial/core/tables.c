/* Twins of `invert`, `between_scores` and `in_random_order` in simtrial/generate/distributions/tables.py. */
#include "kernels.h"

#include <stdlib.h>

#define GUIDES 1024 /* parts of equal probability; a guide says where in the table to begin */

/* First entry of the table that reaches each part's lower end. */
static void make_guide(int64_t *guide, const double *table, Py_ssize_t entries) {
    Py_ssize_t at = 0;
    for (int part = 0; part <= GUIDES; part++) {
        while (at < entries && AT(table, at) < (double)part / GUIDES) at++;
        guide[part] = at;
    }
}

/* First entry that is not below a number; of all entries, where it is none. */
static Py_ssize_t reached(const double *table, Py_ssize_t entries, const int64_t *guide, double u) {
    Py_ssize_t at = u > 0.0 ? u < 1.0 ? guide[(int)(u * GUIDES)] : guide[GUIDES] : 0;
    if (u != u) return entries;
    while (at < entries && AT(table, at) < u) at++;
    return at;
}

PyObject *core_invert(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { TABLE, UNIFORM, VALUES, END };
    array a[] = {
        {.name = "cumulative", .dimensions = 1, .shape = {-1}},
        {.name = "uniform", .dimensions = 1, .shape = {-1}},
        {.name = "values", .writable = 1, .dimensions = 1},
    };
    PyObject *result = NULL;
    int64_t *guide = NULL;
    if (number != END) return PyErr_Format(PyExc_TypeError, "invert takes %d arguments", END), NULL;
    if (!take_arrays(a, VALUES, given)) goto end;
    a[VALUES].shape[0] = a[UNIFORM].shape[0];
    if (!take_array(&a[VALUES], given[VALUES])) goto end;
    guide = (int64_t *)room_for(GUIDES + 1, 1);
    if (guide == NULL) goto end;
    Py_BEGIN_ALLOW_THREADS
    const double *table = a[TABLE].at, *uniform = a[UNIFORM].at;
    double *values = a[VALUES].at;
    Py_ssize_t entries = a[TABLE].shape[0];
    make_guide(guide, table, entries);
    for (Py_ssize_t k = 0; k < a[UNIFORM].shape[0]; k++)
        AT(values, k) = (double)reached(table, entries, guide, AT(uniform, k)) + 1.0;
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free(guide);
    release_arrays(a, END);
    return result;
}

#define PER_SCORE 250.0 /* entries of the table */

/* Place of a score in a table of at least two, from the equal steps between them, which are rounded. */
static Py_ssize_t place_of(double score, const double *scores, Py_ssize_t last) {
    double step = (score - scores[0]) * PER_SCORE;
    Py_ssize_t at = step > 0.0 ? step < (double)last ? (Py_ssize_t)step : last : 0;
    if (at > 0 && score < scores[at]) at--;
    if (at < last && score >= scores[at + 1]) at++;
    return at;
}

PyObject *core_between_scores(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { NORMAL, SCORES, QUANTILES, FOUND, END };
    array a[] = {
        {.name = "normal", .dimensions = 1, .shape = {-1}},
        {.name = "scores", .dimensions = 1, .shape = {-1}},
        {.name = "quantiles", .dimensions = 1},
        {.name = "found", .writable = 1, .dimensions = 1},
    };
    PyObject *result = NULL;
    if (number != END) return PyErr_Format(PyExc_TypeError, "between_scores takes %d arguments", END), NULL;
    if (!take_arrays(a, QUANTILES, given)) goto end;
    a[QUANTILES].shape[0] = a[SCORES].shape[0], a[FOUND].shape[0] = a[NORMAL].shape[0];
    if (!take_arrays(a + QUANTILES, 2, given + QUANTILES)) goto end;
    if (a[SCORES].shape[0] < 2) {
        PyErr_SetString(PyExc_ValueError, "scores: at least two are wanted");
        goto end;
    }
    Py_BEGIN_ALLOW_THREADS
    const double *normal = a[NORMAL].at, *scores = a[SCORES].at, *quantiles = a[QUANTILES].at;
    double *found = a[FOUND].at;
    Py_ssize_t last = a[SCORES].shape[0] - 1;
    for (Py_ssize_t k = 0; k < a[NORMAL].shape[0]; k++) {
        double score = normal[k] < scores[0] ? scores[0] : normal[k] > scores[last] ? scores[last] : normal[k];
        Py_ssize_t at = place_of(score, scores, last);
        double slope = at == last ? 0.0 : (quantiles[at + 1] - quantiles[at]) / (scores[at + 1] - scores[at]);
        found[k] = slope * (score - scores[at]) + quantiles[at];
    }
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    release_arrays(a, END);
    return result;
}

/* How many of a trial's numbers come before one of them: those below it, and of its equals the earlier ones. */
INLINE int64_t rank_of(const double *uniform, Py_ssize_t size, Py_ssize_t k) {
    int64_t before = 0;
    for (Py_ssize_t j = 0; j < k; j++) before += uniform[j] <= uniform[k];
    for (Py_ssize_t j = k + 1; j < size; j++) before += uniform[j] < uniform[k];
    return before;
}

VECTORISED static void order(const double *uniform, const int64_t *codes, Py_ssize_t trials, Py_ssize_t size,
                             int64_t *found) {
    for (Py_ssize_t t = 0; t < trials; t++, uniform += size, found += size)
        for (Py_ssize_t k = 0; k < size; k++) found[rank_of(uniform, size, k)] = codes[k];
}

PyObject *core_in_random_order(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { CODES, UNIFORM, FOUND, END };
    array a[] = {
        {.name = "codes", .kind = INTS, .dimensions = 1, .shape = {-1}},
        {.name = "uniform", .dimensions = 2, .shape = {-1, -1}},
        {.name = "found", .kind = INTS, .writable = 1, .dimensions = 2},
    };
    PyObject *result = NULL;
    if (number != END) return PyErr_Format(PyExc_TypeError, "in_random_order takes %d arguments", END), NULL;
    if (!take_array(&a[CODES], given[CODES])) goto end;
    a[UNIFORM].shape[1] = a[FOUND].shape[1] = a[CODES].shape[0];
    if (!take_array(&a[UNIFORM], given[UNIFORM])) goto end;
    a[FOUND].shape[0] = a[UNIFORM].shape[0];
    if (!take_array(&a[FOUND], given[FOUND])) goto end;
    Py_BEGIN_ALLOW_THREADS
    order(a[UNIFORM].at, a[CODES].at, a[UNIFORM].shape[0], a[CODES].shape[0], a[FOUND].at);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    release_arrays(a, END);
    return result;
}
