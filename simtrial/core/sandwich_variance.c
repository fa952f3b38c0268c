/* Twin of `variance` in simtrial/kernels/sandwich.py: clusters of a trial side by side. */
#include "kernels.h"
#include "lanes.h"

#include <stdlib.h>

typedef struct {
    Py_ssize_t trials, positions;
    int k, p, responses;
    const double *weights, *rows, *y, *coefficients;
    double *variance;
    lanes *rows_here, *y_here, *score, *sums; /* of LANES clusters; sums of products of scores (responses, responses) */
    double *beta;                             /* of one trial (p, responses) */
} scores;

/* Weighted sums of the residuals of LANES clusters. */
INLINE void weigh_residuals(const scores *s, Py_ssize_t first, int filled) {
    int k = s->k, p = s->p, responses = s->responses;
    load_clusters(s->rows_here, PART(s->rows, first * k * p, filled * k * p), k * p, filled);
    load_clusters(s->y_here, PART(s->y, first * k * responses, filled * k * responses), k * responses, filled);
    for (int r = 0; r < responses; r++) s->score[r] = all(0.0);
    for (int row = 0; row < k; row++) {
        lanes weight = {0};
        for (int l = 0; l < filled; l++) weight[l] = AT(s->weights, (first + l) * k + row);
        for (int r = 0; r < responses; r++) {
            lanes fitted = {0};
            for (int i = 0; i < p; i++) fitted += s->rows_here[row * p + i] * s->beta[i * responses + r];
            s->score[r] += weight * (s->y_here[row * responses + r] - fitted);
        }
    }
}

VECTORISED
static void variance_of_trial(const scores *s, Py_ssize_t trial) {
    int responses = s->responses;
    for (int i = 0; i < s->p * responses; i++) s->beta[i] = AT(s->coefficients, i * s->trials + trial);
    for (int i = 0; i < responses * responses; i++) s->sums[i] = all(0.0);
    for (Py_ssize_t at = 0; at < s->positions; at += LANES) {
        weigh_residuals(s, trial * s->positions + at, s->positions - at < LANES ? (int)(s->positions - at) : LANES);
        for (int r = 0; r < responses; r++)
            for (int t = 0; t <= r; t++) s->sums[r * responses + t] += s->score[r] * s->score[t];
    }
    for (int r = 0; r < responses; r++)
        for (int t = 0; t <= r; t++) {
            double sum = 0.0;
            EACH(l) sum += s->sums[r * responses + t][l];
            AT(s->variance, (r * responses + t) * s->trials + trial) = sum;
            AT(s->variance, (t * responses + r) * s->trials + trial) = sum;
        }
}

PyObject *core_variance(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { WEIGHTS, ROWS, RESPONSES, COEFFICIENTS, VARIANCE, END };
    array a[] = {IN("weights", FLOATS), IN("rows", FLOATS), IN("responses", FLOATS), IN("coefficients", FLOATS),
                 OUT("variance", FLOATS)};
    static const int dimensions[] = {3, 4, 4, 3, 3};
    PyObject *result = NULL;
    double *room = NULL;
    if (number != END) return PyErr_Format(PyExc_TypeError, "variance takes %d arguments", END), NULL;
    for (int i = 0; i < END; i++) a[i].dimensions = dimensions[i];
    for (int i = 0; i < MOST_DIMENSIONS; i++) a[ROWS].shape[i] = -1;
    if (!take_array(&a[ROWS], given[ROWS])) goto end;
    Py_ssize_t trials = a[ROWS].shape[0], positions = a[ROWS].shape[1], k = a[ROWS].shape[2], p = a[ROWS].shape[3];
    a[WEIGHTS].shape[0] = a[RESPONSES].shape[0] = a[COEFFICIENTS].shape[2] = a[VARIANCE].shape[2] = trials;
    a[WEIGHTS].shape[1] = a[RESPONSES].shape[1] = positions, a[WEIGHTS].shape[2] = a[RESPONSES].shape[2] = k;
    a[RESPONSES].shape[3] = -1, a[COEFFICIENTS].shape[0] = p;
    if (!take_array(&a[WEIGHTS], given[WEIGHTS]) || !take_array(&a[RESPONSES], given[RESPONSES])) goto end;
    Py_ssize_t responses = a[RESPONSES].shape[3];
    if (k > 1000 || p > 1000 || responses > 1000) {
        PyErr_SetString(PyExc_ValueError, "rows, responses: no more than a thousand rows or columns are wanted");
        goto end;
    }
    a[COEFFICIENTS].shape[1] = a[VARIANCE].shape[0] = a[VARIANCE].shape[1] = responses;
    if (!take_arrays(a + COEFFICIENTS, 2, given + COEFFICIENTS)) goto end;
    scores s = {.trials = trials, .positions = positions, .k = (int)k, .p = (int)p, .responses = (int)responses,
                .weights = a[WEIGHTS].at, .rows = a[ROWS].at, .y = a[RESPONSES].at, .coefficients = a[COEFFICIENTS].at,
                .variance = a[VARIANCE].at};
    room = room_for(k * (p + responses) + responses * (responses + 1) + p * responses, LANES);
    if (room == NULL) goto end;
    s.rows_here = (lanes *)room, s.y_here = s.rows_here + k * p, s.score = s.y_here + k * responses;
    s.sums = s.score + responses, s.beta = (double *)(s.sums + responses * responses);
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t trial = 0; trial < trials; trial++) variance_of_trial(&s, trial);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free(room);
    release_arrays(a, END);
    return result;
}
