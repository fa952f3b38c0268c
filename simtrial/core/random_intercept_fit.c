/* Twin of `expected_information` in simtrial/kernels/random_intercept_fit.py. */
#include "kernels.h"
#include "random_intercept_criterion.h"
#include "small_matrices.h"

#include <stdlib.h>

enum { P_TAU, P_SIGMA, Q_TT, Q_TS, Q_SS, MATRICES };
enum { DROPPED = 4, GAMMA, INNER, OUTPUTS, INFORMATION = OUTPUTS + MATRICES, END };

/* Weights of the slots for each matrix, the matrices packed, C^-1, and its products with the first two. */
typedef struct {
    lanes *weights[MATRICES], *packed[MATRICES], *phi, *h[2];
    double *room;
} workplace;

static int make_workplace(workplace *w, const size_sums *sums) {
    Py_ssize_t p = sums->regressors, packed = p * (p + 1) / 2;
    *w = (workplace){.room = room_for(MATRICES * (sums->slots + packed) + 3 * p * p, LANES)};
    if (w->room == NULL) return 0;
    lanes *at = (lanes *)w->room;
    for (int k = 0; k < MATRICES; k++) w->weights[k] = at, at += sums->slots;
    for (int k = 0; k < MATRICES; k++) w->packed[k] = at, at += packed;
    w->phi = at, at += p * p;
    for (int k = 0; k < 2; k++) w->h[k] = at, at += p * p;
    return 1;
}

/* tr AB of a full and a packed matrix, and of two full ones. */
INLINE void trace_packed(double *restrict out, const lanes *restrict full, const lanes *restrict packed, int p) {
    lanes sum = {0};
    for (int i = 0; i < p; i++)
        for (int j = 0; j < p; j++) EACH(l) sum[l] += full[i * p + j][l] * packed[place(i, j)][l];
    EACH(l) out[l] = sum[l];
}

INLINE void trace_full(double *restrict out, const lanes *restrict one, const lanes *restrict other, int p) {
    lanes sum = {0};
    for (int i = 0; i < p; i++)
        for (int j = 0; j < p; j++) EACH(l) sum[l] += one[i * p + j][l] * other[j * p + i][l];
    EACH(l) out[l] = sum[l];
}

/* Information of (tau2, tau2), (tau2, sigma2) and (sigma2, sigma2), in units sigma2 = 1. */
VECTORISED
static void inform(const tile *one, workplace *w, const double *gamma, const lanes *dropped, int reml, lanes *information) {
    int p = one->regressors;
    lanes tt = {0}, ts = {0}, ss = {0};
    for (Py_ssize_t s = 0; s < one->slots; s++) {
        lanes a, b;
        EACH(l) b[l] = 1.0 / (1.0 + one->sizes[s][l] * gamma[l]), a[l] = one->sizes[s][l] * b[l];
        EACH(l) w->weights[P_TAU][s][l] = a[l] * a[l], w->weights[P_SIGMA][s][l] = a[l] * b[l];
        EACH(l) w->weights[Q_TT][s][l] = a[l] * a[l] * a[l], w->weights[Q_TS][s][l] = a[l] * a[l] * b[l];
        EACH(l) w->weights[Q_SS][s][l] = a[l] * b[l] * b[l];
        EACH(l) tt[l] += one->counts[s][l] * a[l] * a[l], ts[l] += one->counts[s][l] * a[l] * b[l];
        EACH(l) ss[l] += one->counts[s][l] * (one->sizes[s][l] - 1.0 + b[l] * b[l]);
    }
    for (int m = 0; m < MATRICES; m++)
        for (int j = 0, k = 0; j < p; j++)
            for (int i = 0; i <= j; i++, k++) {
                double *to = w->packed[m][k];
                add_slots(to, one->between + k * one->most, w->weights[m], one->slots);
                if (m == P_SIGMA || m == Q_SS) EACH(l) to[l] += one->within[k][l] - (i == j ? dropped[i][l] : 0.0);
            }
    if (reml) {
        lanes q, h;
        lanes *sums[] = {&tt, &ts, &ss};
        for (int m = 0; m < 2; m++) multiply(w->h[m], w->phi, w->packed[m], p, p);
        for (int m = 0; m < 3; m++) {
            trace_packed(q, w->phi, w->packed[Q_TT + m], p);
            trace_full(h, w->h[m == 2], w->h[m > 0], p);
            EACH(l) (*sums[m])[l] += h[l] - 2.0 * q[l];
        }
    }
    EACH(l) information[0][l] = 0.5 * tt[l], information[1][l] = 0.5 * ts[l], information[2][l] = 0.5 * ss[l];
}

static void inform_all(tile *one, workplace *w, lanes *dropped, const size_sums *sums, const array *a, int reml) {
    Py_ssize_t trials = sums->trials;
    int p = sums->regressors;
    for (Py_ssize_t from = 0; from < trials; from += LANES) {
        int filled = trials - from < LANES ? (int)(trials - from) : LANES;
        lanes gamma, information[3];
        load_tile(one, sums, from, filled);
        load(gamma, PART((const double *)a[GAMMA].at, from, filled), filled);
        for (int i = 0; i < p; i++)
            load(dropped[i], PART((const double *)a[DROPPED].at, i * trials + from, filled), filled);
        for (int i = 0; i < p * p; i++)
            load(w->phi[i], PART((const double *)a[INNER].at, i * trials + from, filled), filled);
        inform(one, w, gamma, dropped, reml, information);
        for (int m = 0; m < MATRICES; m++)
            for (int i = 0; i < p * p; i++)
                store(PART((double *)a[OUTPUTS + m].at, i * trials + from, filled), w->packed[m][place(i / p, i % p)],
                      filled);
        for (int k = 0; k < 3; k++)
            store(PART((double *)a[INFORMATION].at, k * trials + from, filled), information[k], filled);
    }
}

PyObject *core_expected_information(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    array a[] = {SIZE_SUMS, IN("dropped", FLOATS), IN("gamma", FLOATS), IN("inner", FLOATS), OUT("p_tau", FLOATS),
                 OUT("p_sigma", FLOATS), OUT("q_tt", FLOATS), OUT("q_ts", FLOATS), OUT("q_ss", FLOATS),
                 OUT("information", FLOATS)};
    size_sums sums;
    tile one = {0};
    workplace w = {0};
    lanes *dropped = NULL;
    PyObject *result = NULL;
    if (number != END + 1) return PyErr_Format(PyExc_TypeError, "expected_information takes %d arguments", END + 1), NULL;
    int reml = PyObject_IsTrue(given[OUTPUTS]);
    if (reml < 0) return NULL;
    if (!take_sums(&sums, a, given)) goto end;
    for (int k = DROPPED; k < END; k++) {
        int square = k == INNER || (k >= OUTPUTS && k < INFORMATION), depth = square ? 2 : k != GAMMA;
        a[k].dimensions = depth + 1;
        for (int i = 0; i < depth; i++) a[k].shape[i] = k == INFORMATION ? 3 : sums.regressors;
        a[k].shape[depth] = sums.trials;
    }
    if (!take_arrays(a + DROPPED, OUTPUTS - DROPPED, given + DROPPED)) goto end;
    if (!take_arrays(a + OUTPUTS, END - OUTPUTS, given + OUTPUTS + 1)) goto end;
    dropped = (lanes *)room_for(sums.regressors, LANES);
    if (dropped == NULL || !make_tile(&one, &sums) || !make_workplace(&w, &sums)) goto end;
    Py_BEGIN_ALLOW_THREADS
    inform_all(&one, &w, dropped, &sums, a, reml);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free(dropped);
    free(w.room);
    free_tile(&one);
    release_arrays(a, END);
    return result;
}
