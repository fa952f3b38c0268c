/* Twin of simtrial/kernels/random_intercept_criterion.py, whose head has the formulas. */
#include "kernels.h"
#include "random_intercept_criterion.h"
#include "small_matrices.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void expect_sums(array *arguments) {
    static const int dimensions[] = {2, 2, 3, 2};
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
    int alike = sizes[0] == counts[0] && (sizes[1] == 1 || sizes[1] == counts[1]) && between[0] == counts[0] &&
                between[2] == counts[1] && within[0] == between[1] && within[1] == counts[1];
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
    Py_ssize_t numbers = slots * (6 + packed) + 4 * packed + 2 * q * q + 3 * q;
    *one = (tile){.most = slots, .regressors = sums->regressors, .packed = (int)packed};
    one->room = room_for(numbers, LANES);
    if (one->room == NULL) return 0;
    lanes *at = (lanes *)one->room;
    one->sizes = at, at += slots;
    one->counts = at, at += slots;
    one->a = at, at += slots;
    one->a2 = at, at += slots;
    one->a3 = at, at += slots;
    one->shrink = at, at += slots;
    one->between = at, at += slots * packed;
    one->within = at, at += packed;
    one->total = at, at += packed;
    one->first = at, at += packed;
    one->second = at, at += packed;
    one->matrix = at, at += q * q;
    one->change = at, at += q * q;
    one->row = at, at += q;
    one->column = at, at += q;
    one->pivots = at;
    return 1;
}

void free_tile(tile *one) { free(one->room); }

void load_tile(tile *one, const size_sums *sums, Py_ssize_t from, int filled) {
    Py_ssize_t trials = sums->trials, used = 0;
    for (Py_ssize_t s = 0; s < sums->slots; s++) {
        int some = 0;
        load(one->counts[used], PART(sums->counts, s * trials + from, filled), filled);
        EACH(l) some |= one->counts[used][l] != 0.0;
        if (!some) continue;
        if (sums->shared) EACH(l) one->sizes[used][l] = AT(sums->sizes, s);
        else load(one->sizes[used], PART(sums->sizes, s * trials + from, filled), filled);
        EACH(l) if (one->counts[used][l] == 0.0) one->sizes[used][l] = 0.0;
        for (int k = 0; k < one->packed; k++)
            load(one->between[k * one->most + used], PART(sums->between, s * sums->apart + k * trials + from, filled),
                 filled);
        used++;
    }
    one->slots = used;
    for (int k = 0; k < one->packed; k++) load(one->within[k], PART(sums->within, k * trials + from, filled), filled);
}

/* M and its two derivatives by gamma, packed. */
INLINE void weighted(lanes *restrict total, lanes *restrict first, lanes *restrict second, const tile *one) {
    for (int k = 0; k < one->packed; k++) {
        const lanes *between = one->between + k * one->most;
        add_slots(total[k], between, one->a, one->slots);
        add_slots(first[k], between, one->a2, one->slots);
        add_slots(second[k], between, one->a3, one->slots);
        EACH(l) total[k][l] += one->within[k][l], first[k][l] = -first[k][l], second[k][l] *= 2.0;
    }
}

VECTORISED
void derivatives_tile(tile *one, const double *gamma, const double *nu, int reml, evaluation *at) {
    int p = one->regressors, q = p + 1;
    lanes ones = {0}, squares = {0}, v2v, bend, *inverse = one->matrix;
    for (Py_ssize_t s = 0; s < one->slots; s++) {
        EACH(l) one->shrink[s][l] = 1.0 / (1.0 + one->sizes[s][l] * gamma[l]);
        lanes a;
        EACH(l) a[l] = one->sizes[s][l] * one->shrink[s][l];
        EACH(l) one->a[s][l] = a[l], one->a2[s][l] = a[l] * a[l], one->a3[s][l] = a[l] * a[l] * a[l];
        EACH(l) ones[l] += one->counts[s][l] * a[l], squares[l] += one->counts[s][l] * (a[l] * a[l]);
    }
    EACH(l) at->squares[l] = squares[l];
    weighted(one->total, one->first, one->second, one);
    unpack(one->matrix, one->total, q);
    sweep(one->matrix, one->row, one->column, p, one->pivots);
    EACH(l) at->rss[l] = inverse[p * q + p][l];
    lanes *v = one->row, *moved = one->column; /* v = (-beta, 1), and dM v */
    for (int i = 0; i < p; i++) EACH(l) v[i][l] = -inverse[i * q + p][l];
    EACH(l) v[p][l] = 1.0;
    apply(moved, one->first, v, q);
    lanes along = {0};
    for (int i = 0; i < q; i++) EACH(l) along[l] += v[i][l] * moved[i][l];
    quadratic(one->second, v, q, v2v);
    bilinear(bend, inverse, moved, p, q);
    EACH(l) at->rss1[l] = along[l], at->rss2[l] = v2v[l] - 2.0 * bend[l];
    multiply(one->change, inverse, one->first, p, q);
    traces(at->trace1, at->trace2, one->change, inverse, one->second, p, q);
    EACH(l) {
        double relative = at->rss1[l] / at->rss[l];
        at->slope[l] = 0.5 * (nu[l] * at->rss1[l] / at->rss[l] + ones[l] + (reml ? at->trace1[l] : 0.0));
        at->curvature[l] = 0.5 * (nu[l] * (at->rss2[l] / at->rss[l] - relative * relative) - at->squares[l]
                                  + (reml ? at->trace2[l] : 0.0));
    }
}

void add_value(const tile *one, int l, const double *nu, int reml, evaluation *at) {
    double logs = 0.0, determinant = 0.0;
    for (Py_ssize_t s = 0; s < one->slots; s++) logs -= one->counts[s][l] * log(one->shrink[s][l]);
    for (int k = 0; k < one->regressors; k++) determinant += log(one->pivots[k][l]);
    at->log_determinant[l] = determinant;
    at->value[l] = 0.5 * (nu[l] * log(at->rss[l]) + logs + (reml ? determinant : 0.0));
}

/* The product of pivots as a number from 1 to 2 for each and a power of two: one logarithm for all of them. */
INLINE void enter_factor(double factor, double *product, int64_t *power) {
    uint64_t bits;
    memcpy(&bits, &factor, sizeof bits);
    *power += (int64_t)(bits >> 52) - 1023;
    bits = (bits & 0x000fffffffffffffULL) | 0x3ff0000000000000ULL;
    memcpy(&factor, &bits, sizeof bits);
    *product *= factor;
}

VECTORISED
void grid_parts_tile(tile *one, double gamma, double *rss, double *logs, double *log_determinant) {
    int p = one->regressors, q = p + 1;
    lanes *restrict total = one->total, *restrict m = one->matrix;
    lanes product;
    int64_t power[LANES];
    EACH(l) logs[l] = 0.0;
    for (Py_ssize_t s = 0; s < one->slots; s++) {
        lanes shrink;
        EACH(l) shrink[l] = 1.0 / (1.0 + one->sizes[s][l] * gamma);
        EACH(l) one->a[s][l] = one->sizes[s][l] * shrink[l];
        double last = 1.0, its_log = 0.0; /* lanes share the sizes that they have */
        EACH(l) {
            if (shrink[l] != last) last = shrink[l], its_log = log(last);
            logs[l] -= one->counts[s][l] * its_log;
        }
    }
    total_tile(one);
    for (int j = 0, k = 0; j < q; j++) /* row i holds the columns from i on */
        for (int i = 0; i <= j; i++, k++) EACH(l) m[i * q + j][l] = total[k][l];
    EACH(l) product[l] = 1.0, power[l] = 0;
    eliminate(m, p);
    for (int k = 0; k < p; k++) EACH(l) enter_factor(m[k * q + k][l], &product[l], &power[l]);
    EACH(l) rss[l] = m[p * q + p][l];
    EACH(l) log_determinant[l] = log(product[l]) + (double)power[l] * 0.6931471805599453;
    for (int k = 0; k < p; k++)
        EACH(l) if (!(m[k * q + k][l] > 0.0 && m[k * q + k][l] < INFINITY)) log_determinant[l] = INFINITY;
}

static void evaluate_all(tile *one, const size_sums *sums, const array *arguments, int reml) {
    Py_ssize_t trials = sums->trials;
    int p = sums->regressors, q = p + 1;
    double *inverse = arguments[6].at, *first = arguments[7].at, *coefficients = arguments[8].at;
    for (Py_ssize_t from = 0; from < trials; from += LANES) {
        int filled = trials - from < LANES ? (int)(trials - from) : LANES;
        lanes gamma, nu;
        evaluation at;
        load_tile(one, sums, from, filled);
        load(gamma, PART((const double *)arguments[4].at, from, filled), filled);
        load(nu, PART((const double *)arguments[5].at, from, filled), filled);
        derivatives_tile(one, gamma, nu, reml, &at);
        EACH(l) add_value(one, l, nu, reml, &at);
        for (int i = 0; i < p; i++) {
            store(PART(coefficients, i * trials + from, filled), one->matrix[i * q + p], filled);
            for (int j = 0; j < p; j++) {
                store(PART(inverse, (i * p + j) * trials + from, filled), one->matrix[i * q + j], filled);
                store(PART(first, (i * p + j) * trials + from, filled), one->first[place(i, j)], filled);
            }
        }
        const lanes *values[] = {&at.value, &at.slope, &at.curvature, &at.rss, &at.rss1, &at.rss2,
                                 &at.log_determinant, &at.trace1, &at.trace2, &at.squares};
        for (int k = 0; k < 10; k++) store(PART((double *)arguments[9 + k].at, from, filled), *values[k], filled);
    }
}

PyObject *core_evaluate(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { GAMMA = 4, NU, INVERSE, FIRST, COEFFICIENTS, VALUE, END = VALUE + 10 }; /* reml stands before INVERSE */
    array arguments[] = {SIZE_SUMS, IN("gamma", FLOATS), IN("nu", FLOATS), OUT("inverse", FLOATS), OUT("first", FLOATS),
                         OUT("coefficients", FLOATS), OUT("value", FLOATS), OUT("slope", FLOATS),
                         OUT("curvature", FLOATS), OUT("rss", FLOATS), OUT("rss1", FLOATS), OUT("rss2", FLOATS),
                         OUT("log_determinant", FLOATS), OUT("trace1", FLOATS), OUT("trace2", FLOATS),
                         OUT("squares", FLOATS)};
    size_sums sums;
    tile one = {0};
    PyObject *result = NULL;
    if (number != END + 1) return PyErr_Format(PyExc_TypeError, "evaluate takes %d arguments", END + 1), NULL;
    int reml = PyObject_IsTrue(given[INVERSE]);
    if (reml < 0) return NULL;
    if (!take_sums(&sums, arguments, given)) goto end;
    for (int k = GAMMA; k < END; k++) {
        int square = k == INVERSE || k == FIRST, depth = square ? 2 : k == COEFFICIENTS;
        arguments[k].dimensions = depth + 1;
        for (int i = 0; i < depth; i++) arguments[k].shape[i] = sums.regressors;
        arguments[k].shape[depth] = sums.trials;
    }
    if (!take_arrays(arguments + GAMMA, 2, given + GAMMA)) goto end;
    if (!take_arrays(arguments + INVERSE, END - INVERSE, given + INVERSE + 1) || !make_tile(&one, &sums)) goto end;
    Py_BEGIN_ALLOW_THREADS
    evaluate_all(&one, &sums, arguments, reml);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free_tile(&one);
    release_arrays(arguments, END);
    return result;
}
