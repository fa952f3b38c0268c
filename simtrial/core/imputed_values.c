/* Twin of simtrial/kernels/imputed_values.py: one practice after the other, then one person after the other. */
#include "kernels.h"

#include <math.h>
#include <stdlib.h>

typedef struct {
    Py_ssize_t trials, columns, practices, people;
    const double *gamma, *sigma2, *beta, *sizes, *means, *practice_noise, *center, *x, *noise;
    const int64_t *practice_trial, *trial, *place;
    double *values, *effects;
} gaps;

/* The value of X beta for entry `at` of columns (p, count), of one trial. */
INLINE double fitted(const gaps *own, const double *x, Py_ssize_t at, Py_ssize_t count, int64_t trial) {
    double sum = 0.0;
    for (Py_ssize_t k = 0; k < own->columns; k++) sum += AT(x, k * count + at) * AT(own->beta, k * own->trials + trial);
    return sum;
}

static void draw_all(const gaps *own) {
    for (Py_ssize_t j = 0; j < own->practices; j++) {
        int64_t t = AT(own->practice_trial, j);
        double gamma = AT(own->gamma, t), n = AT(own->sizes, j), shrink = 1.0 / (1.0 + n * gamma);
        double residual = AT(own->means, own->columns * own->practices + j) - fitted(own, own->means, j, own->practices, t);
        own->effects[j] = n * gamma * shrink * residual + sqrt(AT(own->sigma2, t) * gamma * shrink) * AT(own->practice_noise, j);
    }
    for (Py_ssize_t i = 0; i < own->people; i++) {
        int64_t t = AT(own->trial, i);
        double mean = fitted(own, own->x, i, own->people, t) + (AT(own->center, i) + own->effects[AT(own->place, i)]);
        AT(own->values, i) = mean + sqrt(AT(own->sigma2, t)) * AT(own->noise, i);
    }
}

PyObject *core_imputed_values(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { GAMMA, SIGMA2, BETA, PRACTICE_TRIAL, SIZES, MEANS, PRACTICE_NOISE, TRIAL, PLACE, CENTER, X, NOISE, VALUES, END };
    array a[] = {IN("gamma", FLOATS), IN("sigma2", FLOATS), IN("beta", FLOATS), IN("practice_trial", INTS),
                 IN("sizes", FLOATS), IN("means", FLOATS), IN("practice_noise", FLOATS), IN("trial", INTS),
                 IN("place", INTS), IN("center", FLOATS), IN("x", FLOATS), IN("noise", FLOATS), OUT("values", FLOATS)};
    PyObject *result = NULL;
    double *effects = NULL;
    if (number != END) return PyErr_Format(PyExc_TypeError, "imputed_values takes %d arguments", END), NULL;
    for (int k = 0; k < END; k++) a[k].dimensions = k == BETA || k == MEANS || k == X ? 2 : 1;
    a[GAMMA].shape[0] = a[BETA].shape[0] = a[PRACTICE_TRIAL].shape[0] = a[TRIAL].shape[0] = -1;
    if (!take_array(&a[GAMMA], given[GAMMA])) goto end;
    a[SIGMA2].shape[0] = a[BETA].shape[1] = a[GAMMA].shape[0];
    if (!take_arrays(a + SIGMA2, 3, given + SIGMA2)) goto end;
    a[SIZES].shape[0] = a[MEANS].shape[1] = a[PRACTICE_NOISE].shape[0] = a[PRACTICE_TRIAL].shape[0];
    a[MEANS].shape[0] = a[BETA].shape[0] + 1;
    if (!take_arrays(a + SIZES, TRIAL - SIZES + 1, given + SIZES)) goto end;
    for (int k = PLACE; k < END; k++) a[k].shape[k == X] = a[TRIAL].shape[0];
    a[X].shape[0] = a[BETA].shape[0];
    if (!take_arrays(a + PLACE, END - PLACE, given + PLACE)) goto end;
    gaps own = {.trials = a[GAMMA].shape[0], .columns = a[BETA].shape[0], .practices = a[SIZES].shape[0],
                .people = a[NOISE].shape[0], .gamma = a[GAMMA].at, .sigma2 = a[SIGMA2].at, .beta = a[BETA].at,
                .sizes = a[SIZES].at, .means = a[MEANS].at, .practice_noise = a[PRACTICE_NOISE].at,
                .center = a[CENTER].at, .x = a[X].at, .noise = a[NOISE].at, .practice_trial = a[PRACTICE_TRIAL].at,
                .trial = a[TRIAL].at, .place = a[PLACE].at, .values = a[VALUES].at};
    if (!are_places(&a[PRACTICE_TRIAL], own.trials) || !are_places(&a[TRIAL], own.trials)) goto end;
    if (!are_places(&a[PLACE], own.practices)) goto end;
    effects = own.effects = room_for(own.practices, 1);
    if (effects == NULL) goto end;
    Py_BEGIN_ALLOW_THREADS
    draw_all(&own);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free(effects);
    release_arrays(a, END);
    return result;
}
