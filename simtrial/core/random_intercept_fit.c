/* Twins of `expected_information` and `small_sample` in simtrial/kernels/random_intercept_fit.py: both need the same sums,
   of which the second keeps what one contrast asks for. */
#include "kernels.h"
#include "random_intercept_criterion.h"
#include "small_matrices.h"

#include <stdlib.h>

enum { P_TAU, P_SIGMA, Q_TT, Q_TS, Q_SS, MATRICES };
enum { DROPPED = 4, GAMMA, INNER, OUTPUTS, INFORMATION = OUTPUTS + MATRICES, END };

/* Weights of the slots for each matrix, the matrices packed, C^-1, and its products with the first two; for a contrast g
   P_i g, C^-1 P_i g and Q_ij g. */
typedef struct {
    lanes *weights[MATRICES], *packed[MATRICES], *phi, *h[2], *contrast, *moved[2], *turned[2], *by_second;
    double *room;
} workplace;

static int make_workplace(workplace *w, const size_sums *sums) {
    Py_ssize_t p = sums->regressors, places = sums->packed + TOGETHER;
    *w = (workplace){.room = room_for(MATRICES * (sums->slots + places) + 3 * p * p + 6 * p, LANES)};
    if (w->room == NULL) return 0;
    lanes *at = (lanes *)w->room;
    for (int k = 0; k < MATRICES; k++) w->weights[k] = at, at += sums->slots;
    for (int k = 0; k < MATRICES; k++) w->packed[k] = at, at += places;
    w->phi = at, at += p * p;
    for (int k = 0; k < 2; k++) w->h[k] = at, at += p * p;
    for (int k = 0; k < 2; k++) w->moved[k] = at, w->turned[k] = at + p, at += 2 * p;
    w->contrast = at, w->by_second = at + p;
    return 1;
}

/* tr AB of a full and a packed matrix, and of two full ones. */
INLINE lanes trace_packed(const lanes *restrict full, const lanes *restrict packed, int p) {
    lanes sum = {0};
    for (int i = 0; i < p; i++)
        for (int j = 0; j < p; j++) sum += full[i * p + j] * packed[place(i, j)];
    return sum;
}

INLINE lanes trace_full(const lanes *restrict one, const lanes *restrict other, int p) {
    lanes sum = {0};
    for (int i = 0; i < p; i++)
        for (int j = 0; j < p; j++) sum += one[i * p + j] * other[j * p + i];
    return sum;
}

/* Information of (tau2, tau2), (tau2, sigma2) and (sigma2, sigma2), in units sigma2 = 1. */
VECTORISED
static void inform(const tile *one, workplace *w, const lanes *gamma, const lanes *dropped, int reml, lanes *information) {
    int p = one->regressors;
    lanes tt = {0}, ts = {0}, ss = {0};
    for (Py_ssize_t s = 0; s < one->slots; s++) {
        lanes b = 1.0 / (1.0 + one->sizes[s] * *gamma), a = one->sizes[s] * b, counts = one->counts[s];
        w->weights[P_TAU][s] = a * a, w->weights[P_SIGMA][s] = a * b;
        w->weights[Q_TT][s] = a * a * a, w->weights[Q_TS][s] = a * a * b, w->weights[Q_SS][s] = a * b * b;
        tt += counts * a * a, ts += counts * a * b, ss += counts * (one->sizes[s] - 1.0 + b * b);
    }
    add_slots(w->packed, one, w->weights, 3, 0);
    add_slots(w->packed + 3, one, w->weights + 3, MATRICES - 3, 0);
    for (int j = 0, k = 0; j < p; j++)
        for (int i = 0; i <= j; i++, k++) {
            lanes within = one->within[k] - (i == j ? dropped[i] : all(0.0));
            w->packed[P_SIGMA][k] += within, w->packed[Q_SS][k] += within;
        }
    if (reml) {
        lanes *sums[] = {&tt, &ts, &ss};
        for (int m = 0; m < 2; m++) multiply(w->h[m], w->phi, w->packed[m], p, p);
        for (int m = 0; m < 3; m++)
            *sums[m] += trace_full(w->h[m == 2], w->h[m > 0], p) - 2.0 * trace_packed(w->phi, w->packed[Q_TT + m], p);
    }
    information[0] = 0.5 * tt, information[1] = 0.5 * ts, information[2] = 0.5 * ss;
}

/* The sums of the tile that begins at a trial, and the information from them. */
INLINE void inform_tile(tile *one, workplace *w, lanes *dropped, const size_sums *sums, const array *a, int reml,
                        Py_ssize_t from, int filled, lanes *information) {
    Py_ssize_t trials = sums->trials;
    int p = sums->regressors;
    lanes gamma = load(PART((const double *)a[GAMMA].at, from, filled), filled);
    load_tile(one, sums, from, filled);
    for (int i = 0; i < p; i++) dropped[i] = load(PART((const double *)a[DROPPED].at, i * trials + from, filled), filled);
    for (int i = 0; i < p * p; i++) w->phi[i] = load(PART((const double *)a[INNER].at, i * trials + from, filled), filled);
    inform(one, w, &gamma, dropped, reml, information);
}

static void inform_all(tile *one, workplace *w, lanes *dropped, const size_sums *sums, const array *a, int reml) {
    Py_ssize_t trials = sums->trials;
    int p = sums->regressors;
    for (Py_ssize_t from = 0; from < trials; from += LANES) {
        int filled = trials - from < LANES ? (int)(trials - from) : LANES;
        lanes information[3];
        inform_tile(one, w, dropped, sums, a, reml, from, filled, information);
        for (int m = 0; m < MATRICES; m++)
            for (int i = 0; i < p * p; i++)
                store(PART((double *)a[OUTPUTS + m].at, i * trials + from, filled), w->packed[m][place(i / p, i % p)], filled);
        for (int k = 0; k < 3; k++) store(PART((double *)a[INFORMATION].at, k * trials + from, filled), information[k], filled);
    }
}

/* What a kernel of this file does with the tiles of all trials, once its arguments are taken. */
typedef void work(tile *one, workplace *w, lanes *dropped, const size_sums *sums, const array *a, int reml);

/* Takes sums, inputs up to `outputs`, reml, and outputs up to `end`, and does the work. Each array has so many axes of
   the length given, 0 for the number of regressors, before that of trials. */
static PyObject *do_by_tiles(array *a, int outputs, int end, const int *axes, const int *length, PyObject *const *given,
                             work *all_tiles) {
    size_sums sums;
    tile one = {0};
    workplace w = {0};
    lanes *dropped = NULL;
    PyObject *result = NULL;
    int reml = PyObject_IsTrue(given[outputs]);
    if (reml < 0) return NULL;
    if (!take_sums(&sums, a, given)) goto end;
    for (int k = DROPPED; k < end; k++) {
        a[k].dimensions = axes[k] + 1;
        for (int i = 0; i < axes[k]; i++) a[k].shape[i] = length[k] ? length[k] : sums.regressors;
        a[k].shape[axes[k]] = sums.trials;
    }
    if (!take_arrays(a + DROPPED, outputs - DROPPED, given + DROPPED)) goto end;
    if (!take_arrays(a + outputs, end - outputs, given + outputs + 1)) goto end;
    dropped = (lanes *)room_for(sums.regressors, LANES);
    if (dropped == NULL || !make_tile(&one, &sums) || !make_workplace(&w, &sums)) goto end;
    Py_BEGIN_ALLOW_THREADS
    all_tiles(&one, &w, dropped, &sums, a, reml);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free(dropped);
    free(w.room);
    free_tile(&one);
    release_arrays(a, end);
    return result;
}

PyObject *core_expected_information(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    array a[] = {SIZE_SUMS, IN("dropped", FLOATS), IN("gamma", FLOATS), IN("inner", FLOATS), OUT("p_tau", FLOATS),
                 OUT("p_sigma", FLOATS), OUT("q_tt", FLOATS), OUT("q_ts", FLOATS), OUT("q_ss", FLOATS),
                 OUT("information", FLOATS)};
    static const int axes[END] = {[DROPPED] = 1, [GAMMA] = 0, [INNER] = 2, 2, 2, 2, 2, 2, [INFORMATION] = 1};
    static const int length[END] = {[INFORMATION] = 3};
    if (number != END + 1) return PyErr_Format(PyExc_TypeError, "expected_information takes %d arguments", END + 1), NULL;
    return do_by_tiles(a, OUTPUTS, END, axes, length, given, inform_all);
}

INLINE lanes inner_product(const lanes *restrict one, const lanes *restrict other, int p) {
    lanes sum = {0};
    for (int i = 0; i < p; i++) sum += one[i] * other[i];
    return sum;
}

/* g'P_i g, and g'Q_ij g - (P_i g)'C^-1 (P_j g), from the matrices of a tile. */
VECTORISED static void ask_of_contrast(const workplace *w, int p, lanes *shares, lanes *parts) {
    for (int m = 0; m < 2; m++) {
        apply(w->moved[m], w->packed[m], w->contrast, p);
        shares[m] = inner_product(w->contrast, w->moved[m], p);
        for (int i = 0; i < p; i++) w->turned[m][i] = inner_product(w->phi + i * p, w->moved[m], p);
    }
    for (int m = 0; m < 3; m++) {
        apply(w->by_second, w->packed[Q_TT + m], w->contrast, p);
        parts[m] = inner_product(w->contrast, w->by_second, p) - inner_product(w->moved[m == 2], w->turned[m > 0], p);
    }
}

enum { CONTRAST = INNER + 1, ENTRIES, SHARES, PARTS, ASKED };

static void ask_all(tile *one, workplace *w, lanes *dropped, const size_sums *sums, const array *a, int reml) {
    Py_ssize_t trials = sums->trials;
    int p = sums->regressors;
    for (Py_ssize_t from = 0; from < trials; from += LANES) {
        int filled = trials - from < LANES ? (int)(trials - from) : LANES;
        lanes information[3], shares[2], parts[3];
        inform_tile(one, w, dropped, sums, a, reml, from, filled, information);
        for (int i = 0; i < p; i++)
            w->contrast[i] = load(PART((const double *)a[CONTRAST].at, i * trials + from, filled), filled);
        ask_of_contrast(w, p, shares, parts);
        for (int k = 0; k < 3; k++) {
            store(PART((double *)a[ENTRIES].at, k * trials + from, filled), information[k], filled);
            store(PART((double *)a[PARTS].at, k * trials + from, filled), parts[k], filled);
            if (k < 2) store(PART((double *)a[SHARES].at, k * trials + from, filled), shares[k], filled);
        }
    }
}

PyObject *core_small_sample(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    array a[] = {SIZE_SUMS, IN("dropped", FLOATS), IN("gamma", FLOATS), IN("inner", FLOATS), IN("contrast", FLOATS),
                 OUT("entries", FLOATS), OUT("shares", FLOATS), OUT("parts", FLOATS)};
    static const int axes[ASKED] = {[DROPPED] = 1, [GAMMA] = 0, [INNER] = 2, [CONTRAST] = 1, 1, 1, 1};
    static const int length[ASKED] = {[ENTRIES] = 3, [SHARES] = 2, [PARTS] = 3};
    if (number != ASKED + 1) return PyErr_Format(PyExc_TypeError, "small_sample takes %d arguments", ASKED + 1), NULL;
    return do_by_tiles(a, ENTRIES, ASKED, axes, length, given, ask_all);
}
