/* Twins of `variance` and `variance_in_bases` in simtrial/kernels/sandwich.py: clusters of a trial side by side. */
#include "in_bases.h"
#include "kernels.h"

#include <stdlib.h>

typedef struct {
    Py_ssize_t trials, positions;
    int k, p, responses;
    const double *weights, *rows, *y, *coefficients;
    double *variance;
    in_bases x, in;  /* of regressors and responses, where rows is NULL */
    int only;        /* the regressor that has a second row there */
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

/* The same of clusters in bases, of which `place` is where their weights stand. */
INLINE void weigh_in_bases(const scores *s, Py_ssize_t first, Py_ssize_t place, int filled) {
    int k = s->k, p = s->p, responses = s->responses;
    lanes weight[2] = {{0}}, along = {0};
    for (int row = 0; row < k; row++)
        for (int l = 0; l < filled; l++) weight[row][l] = AT(s->weights, (place + l) * k + row);
    weight[0] *= root_of_sizes(&s->x, first, filled); /* of the row of means, which then are taken as they are */
    for (int i = 0; i < p; i++) s->rows_here[i] = load_column(&s->x, i, first, filled);
    if (k == 2) along = load_along(&s->x, 0, first, filled);
    for (int r = 0; r < responses; r++) {
        lanes fitted = {0};
        for (int i = 0; i < p; i++) fitted += s->rows_here[i] * s->beta[i * responses + r];
        s->score[r] = weight[0] * (load_column(&s->in, r, first, filled) - fitted);
        if (k == 2)
            s->score[r] += weight[1] * (load_along(&s->in, r, first, filled) - along * s->beta[s->only * responses + r]);
    }
}

/* Clusters of one trial, from `first` on. */
VECTORISED
static void variance_of_trial(const scores *s, Py_ssize_t trial, Py_ssize_t first, Py_ssize_t clusters) {
    int responses = s->responses;
    for (int i = 0; i < s->p * responses; i++) s->beta[i] = AT(s->coefficients, i * s->trials + trial);
    for (int i = 0; i < responses * responses; i++) s->sums[i] = all(0.0);
    for (Py_ssize_t at = 0; at < clusters; at += LANES) {
        int filled = clusters - at < LANES ? (int)(clusters - at) : LANES;
        if (s->rows != NULL) weigh_residuals(s, trial * s->positions + at, filled);
        else weigh_in_bases(s, first + at, trial * s->positions + at, filled);
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
    for (Py_ssize_t trial = 0; trial < trials; trial++) variance_of_trial(&s, trial, 0, positions);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free(room);
    release_arrays(a, END);
    return result;
}

static void variance_of_all(const scores *s, const int64_t *trial) {
    for (Py_ssize_t t = 0, first = 0; t < s->trials; t++) {
        Py_ssize_t clusters = clusters_of(trial, s->x.clusters, first, t);
        variance_of_trial(s, t, first, clusters);
        first += clusters;
    }
}

PyObject *core_variance_in_bases(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { WEIGHTS, MEANS, SIZES, ALONG, TRIAL, RESPONSES, ALONG_TOO, COEFFICIENTS, VARIANCE, END };
    array a[] = {IN("weights", FLOATS), IN_BASES, IN("trial", INTS), IN("responses", FLOATS), IN("responses along", FLOATS),
                 IN("coefficients", FLOATS), OUT("variance", FLOATS)};
    static const int dimensions[] = {3, 2, 1, 2, 1, 2, 2, 3, 3};
    PyObject *result = NULL;
    double *room = NULL;
    if (number != END + 1) return PyErr_Format(PyExc_TypeError, "variance_in_bases takes %d arguments", END + 1), NULL;
    long only = PyLong_AsLong(given[VARIANCE]);
    if (only == -1 && PyErr_Occurred()) return NULL;
    for (int i = 0; i < END; i++) a[i].dimensions = dimensions[i];
    for (int i = 0; i < 3; i++) a[WEIGHTS].shape[i] = a[MEANS].shape[i] = -1;
    a[RESPONSES].shape[0] = -1;
    if (!take_arrays(a, 2, given)) goto end;
    Py_ssize_t trials = a[WEIGHTS].shape[0], positions = a[WEIGHTS].shape[1], k = a[WEIGHTS].shape[2];
    Py_ssize_t p = a[MEANS].shape[0], clusters = a[MEANS].shape[1];
    if (k < 1 || k > 2 || p < 1 || p > 1000 || only < -1 || only >= p || (k == 2 && only < 0)) {
        PyErr_SetString(PyExc_ValueError, "weights, means: one or two rows are wanted of a cluster, and one column at least");
        goto end;
    }
    a[SIZES].shape[0] = a[ALONG].shape[1] = a[TRIAL].shape[0] = a[RESPONSES].shape[1] = a[ALONG_TOO].shape[1] = clusters;
    a[ALONG].shape[0] = k - 1;
    if (!take_arrays(a + SIZES, 4, given + SIZES)) goto end;
    Py_ssize_t responses = a[RESPONSES].shape[0];
    if (responses > 1000) {
        PyErr_SetString(PyExc_ValueError, "responses: no more than a thousand are wanted");
        goto end;
    }
    a[ALONG_TOO].shape[0] = k == 2 ? responses : 0;
    a[COEFFICIENTS].shape[0] = p, a[COEFFICIENTS].shape[2] = a[VARIANCE].shape[2] = trials;
    a[COEFFICIENTS].shape[1] = a[VARIANCE].shape[0] = a[VARIANCE].shape[1] = responses;
    if (!take_arrays(a + ALONG_TOO, 2, given + ALONG_TOO) || !take_array(&a[VARIANCE], given[VARIANCE + 1])) goto end;
    if (!are_clusters(&a[TRIAL], trials, positions)) goto end;
    scores s = {.trials = trials, .positions = positions, .k = (int)k, .p = (int)p, .responses = (int)responses,
                .only = (int)only, .weights = a[WEIGHTS].at, .coefficients = a[COEFFICIENTS].at, .variance = a[VARIANCE].at};
    s.x = (in_bases){clusters, a[MEANS].at, a[SIZES].at, a[ALONG].at};
    s.in = (in_bases){clusters, a[RESPONSES].at, a[SIZES].at, a[ALONG_TOO].at};
    room = room_for(p + responses * (responses + 1) + p * responses, LANES);
    if (room == NULL) goto end;
    s.rows_here = (lanes *)room, s.score = s.rows_here + p;
    s.sums = s.score + responses, s.beta = (double *)(s.sums + responses * responses);
    Py_BEGIN_ALLOW_THREADS
    variance_of_all(&s, a[TRIAL].at);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free(room);
    release_arrays(a, END);
    return result;
}
