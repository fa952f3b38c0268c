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
static double preference(int64_t excess, const allocation *own) {
    int64_t one = excess + own->control, other = excess - own->intervention;
    if (own->imbalance == MARGINAL_SUM) return (double)excess;
    if (own->imbalance == VARIANCE) return (double)(one * one - other * other);
    return (double)((one < 0 ? -one : one) - (other < 0 ? -other : other));
}

static void allocate_all(const allocation *own) {
    Py_ssize_t F = own->factors, N = own->practices, width = own->width;
    int64_t before = -1;
    for (Py_ssize_t k = 0; k < N; k++) {
        int64_t at = own->arrived[k];
        if (own->trial[at] != before) {
            before = own->trial[at];
            memset(own->excess, 0, (size_t)(F * width) * sizeof(int64_t));
        }
        double score = 0.0;
        for (Py_ssize_t f = 0; f < F; f++)
            score += own->weights[f] * preference(own->excess[f * width + own->levels[f * N + at]], own);
        double limit = fabs(score) <= own->tie ? own->share : score < 0.0 ? own->up : own->down;
        int chosen = own->coins[at] < limit;
        own->arm[at] = chosen;
        for (Py_ssize_t f = 0; f < F; f++)
            own->excess[f * width + own->levels[f * N + at]] += chosen ? own->control : -own->intervention;
    }
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
