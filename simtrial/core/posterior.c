/* Twin of `conditional` in simtrial/kernels/posterior.py: the fit at one gamma for each trial. */
#include "kernels.h"
#include "random_intercept_criterion.h"
#include "small_matrices.h"

VECTORISED static void conditional_tile(tile *one, const lanes *gamma) {
    int q = one->regressors + 1;
    for (Py_ssize_t s = 0; s < one->slots; s++)
        one->a[s] = one->sizes[s] / (1.0 + one->sizes[s] * *gamma);
    total_tile(one, 0);
    unpack(one->matrix, one->total, q);
    sweep(one->matrix, one->row, one->column, one->regressors, q, one->pivots, MULTIPLYING);
    cholesky(one->change, one->matrix, one->regressors, q);
}

static void conditional_all(tile *one, const size_sums *sums, const double *gammas, double *root, double *coefficients,
                            double *rss) {
    Py_ssize_t trials = sums->trials;
    int p = sums->regressors, q = p + 1;
    for (Py_ssize_t from = 0; from < trials; from += LANES) {
        int filled = trials - from < LANES ? (int)(trials - from) : LANES;
        lanes gamma = load(PART(gammas, from, filled), filled);
        load_tile(one, sums, from, filled);
        conditional_tile(one, &gamma);
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
