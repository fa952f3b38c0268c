/* Twin of simtrial/kernels/random_intercept_criterion.py, whose head has the formulas. */
#include "kernels.h"
#include "logarithm.h"
#include "random_intercept_criterion.h"
#include "small_matrices.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void expect_sums(array *arguments) {
    static const int dimensions[] = {2, 2, 2, 2};
    for (int k = 0; k < 4; k++) {
        arguments[k].dimensions = dimensions[k];
        for (int i = 0; i < MOST_DIMENSIONS; i++) arguments[k].shape[i] = -1;
        arguments[k].loose = k == 2;
    }
}

static int sums_of(size_sums *sums, const array *arguments) {
    const Py_ssize_t *sizes = arguments[0].shape, *counts = arguments[1].shape;
    const Py_ssize_t *between = arguments[2].shape, *within = arguments[3].shape;
    Py_ssize_t q = 1;
    while (q * (q + 1) / 2 < between[1] && q < 1000) q++;
    int alike = sizes[0] == counts[0] && (sizes[1] == 1 || sizes[1] == counts[1]) && within[0] == between[1] &&
                between[0] == counts[0] * counts[1] && within[1] == counts[1];
    if (!alike || q < 2 || q * (q + 1) / 2 != between[1]) {
        PyErr_SetString(PyExc_ValueError, "sizes, counts, between and within are not of the same slots, columns and trials");
        return 0;
    }
    *sums = (size_sums){.slots = counts[0], .trials = counts[1], .packed = between[1], .regressors = (int)q - 1,
                        .shared = sizes[1] == 1 && counts[1] != 1, .sizes = arguments[0].at, .counts = arguments[1].at,
                        .between = arguments[2].at, .within = arguments[3].at,
                        .apart = arguments[2].apart};
    return 1;
}

int take_sums(size_sums *sums, array *arguments, PyObject *const *given) {
    expect_sums(arguments);
    return take_arrays(arguments, 4, given) && sums_of(sums, arguments);
}

int make_tile(tile *one, const size_sums *sums) {
    Py_ssize_t slots = sums->slots, packed = sums->packed, q = sums->regressors + 1;
    Py_ssize_t places = (packed + TOGETHER - 1) / TOGETHER * TOGETHER;
    Py_ssize_t numbers = slots * (7 + places) + 3 * places + packed + 2 * q * q + 3 * q;
    *one = (tile){.regressors = sums->regressors, .packed = (int)packed, .places = (int)places};
    one->room = room_for(numbers, LANES);
    if (one->room == NULL) return 0;
    lanes *at = (lanes *)one->room;
    one->sizes = at, at += slots;
    one->counts = at, at += slots;
    one->a = at, at += slots;
    one->a2 = at, at += slots;
    one->a3 = at, at += slots;
    one->shrink = at, at += slots;
    one->between = at, at += slots * places;
    one->within = at, at += packed;
    one->total = at, at += places;
    one->first = at, at += places;
    one->second = at, at += places;
    one->matrix = at, at += q * q;
    one->change = at, at += q * q;
    one->row = at, at += q;
    one->column = at, at += q;
    one->pivots = at, at += q;
    one->slot = (Py_ssize_t *)at;
    return 1;
}

void free_tile(tile *one) { free(one->room); }

/* The sums of one slot, of the trials of a tile; of those past its end the last. */
INLINE void load_slot(lanes *restrict to, const size_sums *sums, Py_ssize_t slot, Py_ssize_t from, int filled) {
    const double *own[LANES];
    EACH(l) {
        Py_ssize_t trial = from + (l < filled ? l : filled - 1);
        own[l] = PART(sums->between, (trial * sums->slots + slot) * sums->apart, sums->packed);
    }
    for (Py_ssize_t k = 0; k < sums->packed; k++) to[k] = (lanes){own[0][k], own[1][k], own[2][k], own[3][k]};
}

void load_tile(tile *one, const size_sums *sums, Py_ssize_t from, int filled) {
    Py_ssize_t trials = sums->trials, used = 0;
    for (Py_ssize_t s = 0; s < sums->slots; s++) {
        one->counts[used] = load(PART(sums->counts, s * trials + from, filled), filled);
        if (!any_of(one->counts[used] != 0.0)) continue;
        one->sizes[used] = sums->shared ? all(AT(sums->sizes, s)) : load(PART(sums->sizes, s * trials + from, filled), filled);
        one->slot[used] = s;
        one->sizes[used] = chosen(one->counts[used] == 0.0, all(0.0), one->sizes[used]);
        load_slot(one->between + used * one->places, sums, s, from, filled);
        used++;
    }
    one->slots = used;
    for (int k = 0; k < one->packed; k++) one->within[k] = load(PART(sums->within, k * trials + from, filled), filled);
}

/* M and its two derivatives by gamma, packed. */
INLINE void weighted(lanes *restrict total, lanes *restrict first, lanes *restrict second, const tile *one) {
    lanes *sums[] = {total, first, second}, *weights[] = {one->a, one->a2, one->a3};
    add_slots(sums, one, weights, 3, 0);
    for (int k = 0; k < one->packed; k++) total[k] += one->within[k], first[k] = -first[k], second[k] *= 2.0;
}

VECTORISED
void derivatives_tile(tile *one, const lanes *gamma, const lanes *nu, int reml, evaluation *at) {
    int p = one->regressors, q = p + 1;
    lanes ones = {0}, squares = {0}, *inverse = one->matrix;
    for (Py_ssize_t s = 0; s < one->slots; s++) {
        one->shrink[s] = 1.0 / (1.0 + one->sizes[s] * *gamma);
        lanes a = one->sizes[s] * one->shrink[s];
        one->a[s] = a, one->a2[s] = a * a, one->a3[s] = a * a * a;
        ones += one->counts[s] * a, squares += one->counts[s] * (a * a);
    }
    at->squares = squares;
    weighted(one->total, one->first, one->second, one);
    unpack(one->matrix, one->total, q);
    sweep(one->matrix, one->row, one->column, p, q, one->pivots, MULTIPLYING);
    at->rss = inverse[p * q + p];
    lanes *v = one->row, *moved = one->column; /* v = (-beta, 1), and dM v */
    for (int i = 0; i < p; i++) v[i] = -inverse[i * q + p];
    v[p] = all(1.0);
    apply(moved, one->first, v, q);
    lanes along = {0};
    for (int i = 0; i < q; i++) along += v[i] * moved[i];
    at->rss1 = along, at->rss2 = quadratic(one->second, v, q) - 2.0 * bilinear(inverse, moved, p, q);
    multiply(one->change, inverse, one->first, p, q);
    traces(&at->trace1, &at->trace2, one->change, inverse, one->second, p, q);
    lanes relative = at->rss1 / at->rss;
    at->slope = 0.5 * (*nu * at->rss1 / at->rss + ones + (reml ? at->trace1 : all(0.0)));
    at->curvature = 0.5 * (*nu * (at->rss2 / at->rss - relative * relative) - at->squares + (reml ? at->trace2 : all(0.0)));
}

VECTORISED
void add_value(const tile *one, const lanes *nu, int reml, evaluation *at) {
    lanes logs = {0}, determinant = {0};
    for (Py_ssize_t s = 0; s < one->slots; s++) logs -= one->counts[s] * logarithm(one->shrink[s]);
    for (int k = 0; k < one->regressors; k++) determinant += logarithm(one->pivots[k]);
    at->log_determinant = determinant;
    at->value = 0.5 * (*nu * logarithm(at->rss) + logs + (reml ? determinant : all(0.0)));
}

void store_evaluation(const tile *one, const evaluation *at, const array *out, Py_ssize_t trials, Py_ssize_t from, int filled) {
    int p = one->regressors, q = p + 1;
    double *inverse = out[0].at, *first = out[1].at, *coefficients = out[2].at;
    for (int i = 0; i < p; i++) {
        store(PART(coefficients, i * trials + from, filled), one->matrix[i * q + p], filled);
        for (int j = 0; j < p; j++) {
            store(PART(inverse, (i * p + j) * trials + from, filled), one->matrix[i * q + j], filled);
            store(PART(first, (i * p + j) * trials + from, filled), one->first[place(i, j)], filled);
        }
    }
    const lanes *values[] = {&at->value, &at->slope, &at->curvature, &at->rss, &at->rss1, &at->rss2,
                             &at->log_determinant, &at->trace1, &at->trace2, &at->squares};
    for (int k = 0; k < 10; k++) store(PART((double *)out[3 + k].at, from, filled), *values[k], filled);
}

int take_evaluation(array *out, const size_sums *sums, PyObject *const *given) {
    for (int k = 0; k < EVALUATED; k++) {
        int depth = k < 2 ? 2 : k == 2;
        out[k].dimensions = depth + 1;
        for (int i = 0; i < depth; i++) out[k].shape[i] = sums->regressors;
        out[k].shape[depth] = sums->trials;
    }
    return take_arrays(out, EVALUATED, given);
}

static void evaluate_all(tile *one, const size_sums *sums, const array *arguments, int reml) {
    Py_ssize_t trials = sums->trials;
    for (Py_ssize_t from = 0; from < trials; from += LANES) {
        int filled = trials - from < LANES ? (int)(trials - from) : LANES;
        lanes gamma = load(PART((const double *)arguments[4].at, from, filled), filled);
        lanes nu = load(PART((const double *)arguments[5].at, from, filled), filled);
        evaluation at;
        load_tile(one, sums, from, filled);
        derivatives_tile(one, &gamma, &nu, reml, &at);
        add_value(one, &nu, reml, &at);
        store_evaluation(one, &at, arguments + 6, trials, from, filled);
    }
}

PyObject *core_evaluate(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { GAMMA = 4, NU, OUTPUTS, END = OUTPUTS + EVALUATED }; /* reml stands before the outputs */
    array arguments[] = {SIZE_SUMS, IN("gamma", FLOATS), IN("nu", FLOATS), EVALUATION};
    size_sums sums;
    tile one = {0};
    PyObject *result = NULL;
    if (number != END + 1) return PyErr_Format(PyExc_TypeError, "evaluate takes %d arguments", END + 1), NULL;
    int reml = PyObject_IsTrue(given[OUTPUTS]);
    if (reml < 0) return NULL;
    if (!take_sums(&sums, arguments, given)) goto end;
    for (int k = GAMMA; k < OUTPUTS; k++) arguments[k].dimensions = 1, arguments[k].shape[0] = sums.trials;
    if (!take_arrays(arguments + GAMMA, 2, given + GAMMA)) goto end;
    if (!take_evaluation(arguments + OUTPUTS, &sums, given + OUTPUTS + 1) || !make_tile(&one, &sums)) goto end;
    Py_BEGIN_ALLOW_THREADS
    evaluate_all(&one, &sums, arguments, reml);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free_tile(&one);
    release_arrays(arguments, END);
    return result;
}
