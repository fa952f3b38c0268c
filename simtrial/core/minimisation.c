/* Twin of `minimise` in simtrial/generate/allocation/minimisation.py, trial by trial. */
#include "kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RANGE, VARIANCE, MARGINAL_SUM };

typedef struct {
    Py_ssize_t factors, practices, levels;
    int64_t control, intervention, imbalance;
    double up, down, share, tie;
    const int64_t *level, *trial, *arrived;
    const double *coins, *weights;
    int64_t *excess, *arm;
} trials;

/* Total if intervention is chosen less that if control is: negative where intervention balances better. */
INLINE int64_t preference(int64_t excess, const trials *t, int64_t imbalance) {
    int64_t more = excess + t->control, less = excess - t->intervention;
    if (imbalance == MARGINAL_SUM) return excess;
    if (imbalance == RANGE) return (more < 0 ? -more : more) - (less < 0 ? -less : less);
    return more * more - less * less;
}

/* Equal weights leave whole numbers, and the arm is found without a branch, which a processor guesses wrongly too often. */
INLINE void allocate_with(const trials *t, int64_t imbalance, int equal) {
    int64_t before = -1, both = t->control + t->intervention, *excess = t->excess;
    const double chances[3] = {t->up, t->share, t->down};
    for (Py_ssize_t k = 0; k < t->practices; k++) {
        int64_t at = AT(t->arrived, k), total = 0;
        if (AT(t->trial, at) != before) memset(excess, 0, (size_t)(t->factors * t->levels) * sizeof *excess);
        before = t->trial[at];
        double score = 0.0;
        for (Py_ssize_t f = 0; f < t->factors; f++) {
            int64_t own = preference(excess[f * t->levels + AT(t->level, f * t->practices + at)], t, imbalance);
            if (equal) total += own;
            else score += AT(t->weights, f) * (double)own;
        }
        int sign = equal ? (total > 0) - (total < 0) : fabs(score) <= t->tie ? 0 : score < 0.0 ? -1 : 1;
        int64_t chosen = AT(t->coins, at) < chances[sign + 1];
        AT(t->arm, at) = chosen;
        for (Py_ssize_t f = 0; f < t->factors; f++)
            excess[f * t->levels + AT(t->level, f * t->practices + at)] += chosen * both - t->intervention;
    }
}

static void allocate(const trials *t) {
    int equal = t->factors > 0 && t->weights[0] > 0.0;
    for (Py_ssize_t f = 1; f < t->factors; f++) equal &= t->weights[f] == t->weights[0];
    if (equal && t->imbalance == RANGE) allocate_with(t, RANGE, 1);
    else if (equal && t->imbalance == VARIANCE) allocate_with(t, VARIANCE, 1);
    else if (equal) allocate_with(t, MARGINAL_SUM, 1);
    else allocate_with(t, t->imbalance, 0);
}

PyObject *core_minimise(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { LEVELS, COINS, TRIAL, ARRIVED, WEIGHTS, RATIO, CHANCES, ARM, END };
    array a[] = {
        {.name = "levels", .kind = INTS, .dimensions = 2, .shape = {-1, -1}},
        {.name = "coins", .dimensions = 1},
        {.name = "practice_trial", .kind = INTS, .dimensions = 1},
        {.name = "arrived", .kind = INTS, .dimensions = 1},
        {.name = "weights", .dimensions = 1},
        {.name = "ratio", .kind = INTS, .dimensions = 1, .shape = {2}},
        {.name = "chances", .dimensions = 1, .shape = {4}},
        {.name = "arm", .kind = INTS, .writable = 1, .dimensions = 1},
    };
    PyObject *result = NULL;
    int64_t *excess = NULL;
    if (number != END + 2) return PyErr_Format(PyExc_TypeError, "minimise takes %d arguments", END + 2), NULL;
    Py_ssize_t levels = PyLong_AsSsize_t(given[END]);
    Py_ssize_t imbalance = levels == -1 && PyErr_Occurred() ? -1 : PyLong_AsSsize_t(given[END + 1]);
    if (PyErr_Occurred()) return NULL;
    if (!take_array(&a[LEVELS], given[LEVELS])) goto end;
    a[COINS].shape[0] = a[TRIAL].shape[0] = a[ARRIVED].shape[0] = a[ARM].shape[0] = a[LEVELS].shape[1];
    a[WEIGHTS].shape[0] = a[LEVELS].shape[0];
    if (!take_arrays(a + COINS, END - COINS, given + COINS)) goto end;
    if (levels < 1 || levels > 1000000 || imbalance < RANGE || imbalance > MARGINAL_SUM) {
        PyErr_SetString(PyExc_ValueError, "levels, imbalance: how many levels at most, and 0, 1 or 2 are wanted");
        goto end;
    }
    if (!are_places(&a[LEVELS], levels) || !are_places(&a[ARRIVED], a[LEVELS].shape[1])) goto end;
    excess = (int64_t *)room_for(a[LEVELS].shape[0], levels);
    if (excess == NULL) goto end;
    const int64_t *ratio = a[RATIO].at;
    const double *chances = a[CHANCES].at;
    if (ratio[0] < 1 || ratio[1] < 1 || ratio[0] > 1000000 || ratio[1] > 1000000) {
        PyErr_SetString(PyExc_ValueError, "ratio: two whole numbers from 1 are wanted");
        goto end;
    }
    trials t = {.factors = a[LEVELS].shape[0], .practices = a[LEVELS].shape[1], .levels = levels, .control = ratio[0],
                .intervention = ratio[1], .imbalance = imbalance, .up = chances[0], .down = chances[1],
                .share = chances[2], .tie = chances[3], .level = a[LEVELS].at, .trial = a[TRIAL].at,
                .arrived = a[ARRIVED].at, .coins = a[COINS].at, .weights = a[WEIGHTS].at, .excess = excess,
                .arm = a[ARM].at};
    Py_BEGIN_ALLOW_THREADS
    allocate(&t);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free(excess);
    release_arrays(a, END);
    return result;
}
