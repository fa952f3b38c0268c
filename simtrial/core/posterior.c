/* Twins of what simtrial/kernels/posterior.py is tabulated from and draws from: the criterion on a grid, and the fit at
   one gamma for each trial. */
#include "kernels.h"
#include "random_intercept_criterion.h"
#include "small_matrices.h"

static void grid_all(tile *one, const size_sums *sums, const array *grid, double *const *out) {
    Py_ssize_t trials = sums->trials, points = grid->shape[0];
    for (Py_ssize_t from = 0; from < trials; from += LANES) {
        int filled = trials - from < LANES ? (int)(trials - from) : LANES;
        load_tile(one, sums, from, filled);
        for (Py_ssize_t g = 0; g < points; g++) {
            lanes parts[3];
            grid_parts_tile(one, AT((const double *)grid->at, g), parts[0], parts[1], parts[2]);
            for (int k = 0; k < 3; k++) store(PART(out[k], g * trials + from, filled), parts[k], filled);
        }
    }
}

PyObject *core_grid_parts(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { GRID = 4, RSS, LOGS, LOG_DETERMINANT, END };
    array arguments[] = {SIZE_SUMS, IN("grid", FLOATS), OUT("rss", FLOATS), OUT("logs", FLOATS),
                         OUT("log_determinant", FLOATS)};
    size_sums sums;
    tile one = {0};
    PyObject *result = NULL;
    if (number != END) return PyErr_Format(PyExc_TypeError, "grid_parts takes %d arguments", END), NULL;
    if (!take_sums(&sums, arguments, given)) goto end;
    arguments[GRID].dimensions = 1, arguments[GRID].shape[0] = -1;
    if (!take_array(&arguments[GRID], given[GRID])) goto end;
    for (int k = RSS; k < END; k++) {
        arguments[k].dimensions = 2, arguments[k].shape[0] = arguments[GRID].shape[0], arguments[k].shape[1] = sums.trials;
        if (!take_array(&arguments[k], given[k])) goto end;
    }
    if (!make_tile(&one, &sums)) goto end;
    double *out[] = {arguments[RSS].at, arguments[LOGS].at, arguments[LOG_DETERMINANT].at};
    Py_BEGIN_ALLOW_THREADS
    grid_all(&one, &sums, &arguments[GRID], out);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free_tile(&one);
    release_arrays(arguments, END);
    return result;
}

VECTORISED static void conditional_tile(tile *one, const double *gamma) {
    int q = one->regressors + 1;
    for (Py_ssize_t s = 0; s < one->slots; s++)
        EACH(l) one->a[s][l] = one->sizes[s][l] / (1.0 + one->sizes[s][l] * gamma[l]);
    total_tile(one);
    unpack(one->matrix, one->total, q);
    sweep(one->matrix, one->row, one->column, one->regressors, one->pivots);
    cholesky(one->change, one->matrix, one->regressors, q);
}

static void conditional_all(tile *one, const size_sums *sums, const double *gammas, double *root, double *coefficients,
                            double *rss) {
    Py_ssize_t trials = sums->trials;
    int p = sums->regressors, q = p + 1;
    for (Py_ssize_t from = 0; from < trials; from += LANES) {
        int filled = trials - from < LANES ? (int)(trials - from) : LANES;
        lanes gamma;
        load_tile(one, sums, from, filled);
        load(gamma, PART(gammas, from, filled), filled);
        conditional_tile(one, gamma);
        for (int i = 0; i < p * p; i++) store(PART(root, i * trials + from, filled), one->change[i], filled);
        for (int i = 0; i < p; i++) store(PART(coefficients, i * trials + from, filled), one->matrix[i * q + p], filled);
        store(PART(rss, from, filled), one->matrix[p * q + p], filled);
    }
}

PyObject *core_conditional(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { GAMMA = 4, ROOT, COEFFICIENTS, RSS, END };
    array arguments[] = {SIZE_SUMS, IN("gamma", FLOATS), OUT("root", FLOATS), OUT("coefficients", FLOATS),
                         OUT("rss", FLOATS)};
    size_sums sums;
    tile one = {0};
    PyObject *result = NULL;
    if (number != END) return PyErr_Format(PyExc_TypeError, "conditional takes %d arguments", END), NULL;
    if (!take_sums(&sums, arguments, given)) goto end;
    for (int k = GAMMA; k < END; k++) {
        int depth = k == ROOT ? 2 : k == COEFFICIENTS ? 1 : 0;
        arguments[k].dimensions = depth + 1;
        for (int i = 0; i < depth; i++) arguments[k].shape[i] = sums.regressors;
        arguments[k].shape[depth] = sums.trials;
        if (!take_array(&arguments[k], given[k])) goto end;
    }
    if (!make_tile(&one, &sums)) goto end;
    Py_BEGIN_ALLOW_THREADS
    conditional_all(&one, &sums, arguments[GAMMA].at, arguments[ROOT].at, arguments[COEFFICIENTS].at, arguments[RSS].at);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free_tile(&one);
    release_arrays(arguments, END);
    return result;
}
