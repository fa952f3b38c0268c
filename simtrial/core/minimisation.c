/* Twin of `minimise` in simtrial/generate/allocation/minimisation.py: practices allocated as they arrive, trial by trial. */
#include "kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RANGE, VARIANCE, MARGINAL_SUM };

typedef struct {
    Py_ssize_t factors, practices, width;
    const int64_t *levels, *trial, *arrived;
    const double *coins, *weights;
    int64_t control, intervention, imbalance;
    double up, down, share, tie;
    int64_t *arm, *excess;
} allocation;

/* Total if intervention is chosen less that if control is. */
INLINE int64_t preference(int64_t excess, int64_t imbalance, int64_t control, int64_t intervention) {
    int64_t one = excess + control, other = excess - intervention;
    if (imbalance == MARGINAL_SUM) return excess;
    if (imbalance == VARIANCE) return one * one - other * other;
    return (one < 0 ? -one : one) - (other < 0 ? -other : other);
}

/* Equal weights leave whole numbers, and the arm is found without a branch, which would be guessed wrongly half the time. */
INLINE void allocate_with(const allocation *own, int64_t imbalance, int equal) {
    Py_ssize_t F = own->factors, N = own->practices, width = own->width;
    int64_t before = -1, control = own->control, intervention = own->intervention, *excess = own->excess;
    const double limits[3] = {own->up, own->share, own->down};
    for (Py_ssize_t k = 0; k < N; k++) {
        int64_t at = own->arrived[k], total = 0;
        if (own->trial[at] != before) {
            before = own->trial[at];
            memset(excess, 0, (size_t)(F * width) * sizeof(int64_t));
        }
        double score = 0.0;
        for (Py_ssize_t f = 0; f < F; f++) {
            int64_t own_total = preference(excess[f * width + own->levels[f * N + at]], imbalance, control, intervention);
            if (equal) total += own_total;
            else score += own->weights[f] * (double)own_total;
        }
        int sign = equal ? (total > 0) - (total < 0) : fabs(score) <= own->tie ? 0 : score < 0.0 ? -1 : 1;
        int64_t chosen = own->coins[at] < limits[sign + 1];
        own->arm[at] = chosen;
        for (Py_ssize_t f = 0; f < F; f++)
            excess[f * width + own->levels[f * N + at]] += chosen * (control + intervention) - intervention;
    }
}

static void allocate_all(const allocation *own) {
    int equal = own->factors > 0 && own->weights[0] > 0.0;
    for (Py_ssize_t f = 1; f < own->factors; f++) equal &= own->weights[f] == own->weights[0];
    if (equal && own->imbalance == RANGE) allocate_with(own, RANGE, 1);
    else if (equal && own->imbalance == VARIANCE) allocate_with(own, VARIANCE, 1);
    else if (equal) allocate_with(own, MARGINAL_SUM, 1);
    else allocate_with(own, own->imbalance, 0);
}

/* Every practice arrives once, the practices of a trial one after the other. */
static int arrive_by_trial(const allocation *own) {
    for (Py_ssize_t k = 1; k < own->practices; k++)
        if (own->trial[own->arrived[k]] < own->trial[own->arrived[k - 1]])
            return PyErr_SetString(PyExc_ValueError, "arrived: practices are not in the order of their trials"), 0;
    return 1;
}

PyObject *core_minimise(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { LEVELS, COINS, TRIAL, ARRIVED, WEIGHTS, ARM, ARRAYS, IMBALANCE = ARRAYS, CONTROL, INTERVENTION, UP, DOWN, SHARE, TIE, END };
    array a[] = {IN("levels", INTS), IN("coins", FLOATS), IN("practice_trial", INTS), IN("arrived", INTS),
                 IN("weights", FLOATS), OUT("arm", INTS)};
    allocation own = {0};
    PyObject *result = NULL;
    if (number != END) return PyErr_Format(PyExc_TypeError, "minimise takes %d arguments", END), NULL;
    own.imbalance = PyLong_AsLongLong(given[IMBALANCE]);
    own.control = PyLong_AsLongLong(given[CONTROL]), own.intervention = PyLong_AsLongLong(given[INTERVENTION]);
    own.up = PyFloat_AsDouble(given[UP]), own.down = PyFloat_AsDouble(given[DOWN]);
    own.share = PyFloat_AsDouble(given[SHARE]), own.tie = PyFloat_AsDouble(given[TIE]);
    if (PyErr_Occurred()) return NULL;
    if (own.imbalance < RANGE || own.imbalance > MARGINAL_SUM)
        return PyErr_SetString(PyExc_ValueError, "imbalance: 0, 1 or 2 is wanted"), NULL;
    a[LEVELS].dimensions = 2, a[LEVELS].shape[0] = a[LEVELS].shape[1] = -1;
    if (!take_array(&a[LEVELS], given[LEVELS])) goto end;
    own.factors = a[LEVELS].shape[0], own.practices = a[LEVELS].shape[1];
    for (int k = COINS; k < ARRAYS; k++) {
        a[k].dimensions = 1, a[k].shape[0] = k == WEIGHTS ? own.factors : own.practices;
        if (!take_array(&a[k], given[k])) goto end;
    }
    own.levels = a[LEVELS].at, own.coins = a[COINS].at, own.trial = a[TRIAL].at, own.arrived = a[ARRIVED].at;
    own.weights = a[WEIGHTS].at, own.arm = a[ARM].at;
    for (Py_ssize_t k = 0; k < own.factors * own.practices; k++)
        if (own.levels[k] >= own.width) own.width = own.levels[k] + 1;
    if (!are_places(&a[LEVELS], own.width) || !are_places(&a[ARRIVED], own.practices) || !arrive_by_trial(&own)) goto end;
    own.excess = (int64_t *)room_for(own.factors, own.width);
    if (own.excess == NULL) goto end;
    Py_BEGIN_ALLOW_THREADS
    allocate_all(&own);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free(own.excess);
    release_arrays(a, ARRAYS);
    return result;
}
