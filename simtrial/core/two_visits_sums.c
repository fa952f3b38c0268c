/* Sums of `VisitSums` in simtrial/kernels/two_visits_criterion.py, taken from Python, and those of one trial. */
#include "two_visits_criterion.h"

#include <stdlib.h>

int take_visit_sums(visit_sums *sums, array *a, PyObject *const *given) {
    static const int dimensions[] = {3, 4, 4, 2};
    for (int k = 0; k < VISIT_SUMS_END; k++) {
        a[k].dimensions = dimensions[k];
        for (int i = 0; i < MOST_DIMENSIONS; i++) a[k].shape[i] = -1;
    }
    a[COUNTS].shape[1] = 3, a[SUMS].shape[1] = 4, a[PRODUCTS].shape[1] = 5;
    if (!take_array(&a[COUNTS], given[COUNTS])) return 0;
    Py_ssize_t trials = a[COUNTS].shape[0];
    a[SUMS].shape[0] = a[PRODUCTS].shape[0] = a[DROPPED].shape[0] = trials;
    a[SUMS].shape[2] = a[COUNTS].shape[2];
    if (!take_array(&a[SUMS], given[SUMS])) return 0;
    Py_ssize_t q = a[SUMS].shape[3];
    if (q < 2 || q > 1000) {
        PyErr_SetString(PyExc_ValueError, "sums: a regressor and the response are wanted, and at most 1000 columns");
        return 0;
    }
    a[PRODUCTS].shape[2] = a[PRODUCTS].shape[3] = q, a[DROPPED].shape[1] = q - 1;
    if (!take_arrays(a + PRODUCTS, 2, given + PRODUCTS)) return 0;
    *sums = (visit_sums){.trials = trials, .positions = a[COUNTS].shape[2], .regressors = (int)q - 1,
                         .counts = a[COUNTS].at, .sums = a[SUMS].at, .products = a[PRODUCTS].at, .dropped = a[DROPPED].at};
    return 1;
}

int make_visits(visits *one, const visit_sums *sums) {
    Py_ssize_t q = sums->regressors + 1, width = filled_up(q), n = filled_up(sums->positions);
    *one = (visits){.practices = n, .positions = sums->positions, .width = width, .regressors = sums->regressors};
    one->room = room_for(17 + 8 * width, n + 2 * q); /* more than enough */
    if (one->room == NULL) return 0;
    double *at = one->room;
    one->counts = at, at += 3 * n;
    one->sums = at, at += 4 * n * width;
    one->products = at, at += 5 * q * width;
    one->s = at, at += 3 * n;
    one->k = at, at += 3 * n;
    one->residual = at, at += 8 * n;
    one->c = at, at += 2 * n * width;
    one->f = at, at += 2 * n * width;
    one->gram = at, at += q * width;
    one->psi = at, at += q * width;
    one->row = at, at += width;
    one->column = at;
    return 1;
}

void free_visits(visits *one) { free(one->room); }

void load_visits(visits *one, const visit_sums *sums, Py_ssize_t trial) {
    Py_ssize_t q = one->regressors + 1, n = one->positions;
    for (int m = 0; m < 3; m++) {
        const double *counts = PART(sums->counts, (trial * 3 + m) * n, n);
        one->total[m] = 0.0;
        for (Py_ssize_t j = 0; j < n; j++) one->counts[m * one->practices + j] = counts[j], one->total[m] += counts[j];
    }
    for (Py_ssize_t m = 0; m < 4; m++)
        for (Py_ssize_t j = 0; j < n; j++)
            memcpy(one->sums + (m * one->practices + j) * one->width, PART(sums->sums, ((trial * 4 + m) * n + j) * q, q),
                   sizeof(double) * (size_t)q);
    for (Py_ssize_t i = 0; i < 5 * q; i++)
        memcpy(one->products + i * one->width, PART(sums->products, (trial * 5 * q + i) * q, q), sizeof(double) * (size_t)q);
    one->dropped = PART(sums->dropped, trial * (q - 1), q - 1);
}
