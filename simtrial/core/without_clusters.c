/* Twin of simtrial/kernels/without_clusters.py: the sums of a trial less one of its clusters, a fit for each. */
#include "kernels.h"
#include "random_intercept_criterion.h"

#include <stdlib.h>

typedef struct {
    size_sums of;
    Py_ssize_t fits, clusters, varying;
    const double *dropped, *rank, *rows, *means, *inside, *numbers;
    const int64_t *place, *slot, *trial, *chosen;
    double rounding, aliased;
    double *counts, *between, *within, *left_dropped, *left_rank, *left_rows;
    char *gone;
    double *own, *matrix, *scale; /* of one fit: packed within, (p, p), (p) */
    char *flat, *drop;            /* (q) each */
} leaving;

/* What is left within the clusters of a fit, packed; columns that no longer vary within any are exactly 0. */
static void less_within(const leaving *w, Py_ssize_t t, Py_ssize_t c) {
    int q = w->of.regressors + 1;
    for (int j = 0, k = 0; j < q; j++)
        for (int i = 0; i <= j; i++, k++) {
            int64_t one = AT(w->place, i), other = AT(w->place, j);
            double whole = AT(w->of.within, k * w->of.trials + t);
            double its = one < 0 || other < 0 ? 0.0 : AT(w->inside, (one * w->varying + other) * w->clusters + c);
            w->own[k] = whole - its;
            if (i == j) w->flat[j] = w->own[k] <= w->rounding * whole;
        }
    for (int j = 0, k = 0; j < q; j++)
        for (int i = 0; i <= j; i++, k++)
            if (w->flat[i] || w->flat[j]) w->own[k] = 0.0;
}

/* The sums of every slot, those of the cluster's own less its products; counts as well. */
static double *less_between(const leaving *w, Py_ssize_t f, Py_ssize_t t, Py_ssize_t c) {
    Py_ssize_t slots = w->of.slots, packed = w->of.packed, its = AT(w->slot, c);
    double *between = PART(w->between, f * slots * packed, slots * packed);
    for (Py_ssize_t e = 0; e < slots; e++) {
        AT(w->counts, e * w->fits + f) = AT(w->of.counts, e * w->of.trials + t) - (e == its);
        memcpy(between + e * packed, PART(w->of.between, (t * slots + e) * w->of.apart, packed), (size_t)packed * sizeof(double));
    }
    double *sums = between + its * packed;
    for (int j = 0, k = 0; j <= w->of.regressors; j++) {
        double z = AT(w->means, j * w->clusters + c);
        for (int i = 0; i <= j; i++, k++) sums[k] -= z * AT(w->means, i * w->clusters + c);
    }
    return between;
}

/* Products of the columns of X without the cluster, upper triangle, and the squares of all of them with it. */
static void products(const leaving *w, const double *between, Py_ssize_t t) {
    int p = w->of.regressors;
    Py_ssize_t slots = w->of.slots, packed = w->of.packed;
    for (int j = 0; j < p; j++) {
        w->scale[j] = AT(w->of.within, place(j, j) * w->of.trials + t);
        for (int i = 0; i <= j; i++) w->matrix[i * p + j] = w->own[place(i, j)];
    }
    for (Py_ssize_t e = 0; e < slots; e++) {
        double size = AT(w->of.sizes, w->of.shared ? e : e * w->of.trials + t);
        const double *whole = PART(w->of.between, (t * slots + e) * w->of.apart, packed), *left = between + e * packed;
        for (int j = 0, k = 0; j < p; j++) {
            for (int i = 0; i <= j; i++, k++) w->matrix[i * p + j] += size * left[k];
            w->scale[j] += size * whole[place(j, j)];
        }
    }
}

/* Which columns are combinations of those before them, as of `remaining`; returns their number. */
static int find_dropped(const leaving *w) {
    int p = w->of.regressors, number = 0;
    double *m = w->matrix;
    for (int k = 0; k < p; k++) {
        w->drop[k] = !(m[k * p + k] > w->aliased * w->scale[k]);
        number += w->drop[k];
        for (int i = k + 1; i < p && !w->drop[k]; i++) {
            double ratio = m[k * p + i] / m[k * p + k];
            for (int j = i; j < p; j++) m[i * p + j] -= ratio * m[k * p + j];
        }
    }
    w->drop[p] = 0;
    return number;
}

static void leave_out(const leaving *w, Py_ssize_t f) {
    Py_ssize_t c = AT(w->chosen, f), t = AT(w->trial, f), packed = w->of.packed;
    int p = w->of.regressors;
    less_within(w, t, c);
    double *between = less_between(w, f, t, c);
    products(w, between, t);
    int number = find_dropped(w);
    for (int j = 0, k = 0; j <= p; j++)
        for (int i = 0; i <= j; i++, k++) {
            int out = w->drop[i] || w->drop[j];
            AT(w->within, k * w->fits + f) = out ? i == j : w->own[k];
            for (Py_ssize_t e = 0; out && e < w->of.slots; e++) between[e * packed + k] = 0.0;
        }
    for (int j = 0; j < p; j++)
        AT(w->left_dropped, j * w->fits + f) = w->drop[j] ? 1.0 : AT(w->dropped, j * w->of.trials + t);
    AT(w->left_rank, f) = AT(w->rank, t) - number;
    AT(w->left_rows, f) = AT(w->rows, t) - AT(w->numbers, c);
    AT(w->gone, f) = number > 0;
}

PyObject *core_without_clusters(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { SUMS = 4, DROPPED = SUMS, RANK, ROWS, MEANS, INSIDE, PLACE, SLOT, NUMBERS, TRIAL, CHOSEN,
           COUNTS, BETWEEN, WITHIN, LEFT_DROPPED, LEFT_RANK, LEFT_ROWS, GONE, END, MORE = 2 };
    array a[] = {SIZE_SUMS, IN("dropped", FLOATS), IN("rank", FLOATS), IN("rows", FLOATS), IN("means", FLOATS),
                 IN("inside", FLOATS), IN("place", INTS), IN("slot", INTS), IN("numbers", FLOATS), IN("trial", INTS),
                 IN("chosen", INTS), OUT("left counts", FLOATS), OUT("left between", FLOATS), OUT("left within", FLOATS),
                 OUT("left dropped", FLOATS), OUT("left rank", FLOATS), OUT("left rows", FLOATS), OUT("gone", BOOLS)};
    PyObject *result = NULL;
    leaving w = {.own = NULL};
    if (number != END + MORE) return PyErr_Format(PyExc_TypeError, "without_clusters takes %d arguments", END + MORE), NULL;
    w.rounding = PyFloat_AsDouble(given[CHOSEN + 1]), w.aliased = PyFloat_AsDouble(given[CHOSEN + 2]);
    if (PyErr_Occurred() || !take_sums(&w.of, a, given)) goto end;
    Py_ssize_t p = w.of.regressors, q = p + 1, trials = w.of.trials, slots = w.of.slots, packed = w.of.packed;
    const Py_ssize_t wanted[][3] = {
        [DROPPED] = {p, trials}, [RANK] = {trials}, [ROWS] = {trials}, [MEANS] = {q, -1}, [INSIDE] = {-1, -1, -1},
        [PLACE] = {q}, [SLOT] = {-1}, [NUMBERS] = {-1}, [TRIAL] = {-1}, [CHOSEN] = {-1}};
    static const int dimensions[] = {2, 2, 2, 2, 2, 1, 1, 2, 3, 1, 1, 1, 1, 1, 2, 2, 2, 2, 1, 1, 1};
    for (int k = DROPPED; k < END; k++) {
        a[k].dimensions = dimensions[k];
        for (int i = 0; i < 3 && k <= CHOSEN; i++) a[k].shape[i] = wanted[k][i];
    }
    if (!take_arrays(a + DROPPED, PLACE - DROPPED, given + DROPPED)) goto end;
    w.clusters = a[MEANS].shape[1], w.varying = a[INSIDE].shape[0];
    if (a[INSIDE].shape[1] != w.varying || a[INSIDE].shape[2] != w.clusters) {
        PyErr_SetString(PyExc_ValueError, "inside: square matrices of the clusters are wanted");
        goto end;
    }
    a[SLOT].shape[0] = a[NUMBERS].shape[0] = w.clusters;
    if (!take_arrays(a + PLACE, CHOSEN - PLACE, given + PLACE)) goto end;
    w.fits = a[CHOSEN].shape[0] = a[TRIAL].shape[0];
    if (!take_array(&a[CHOSEN], given[CHOSEN])) goto end;
    const Py_ssize_t left[][2] = {{slots, w.fits}, {w.fits * slots, packed}, {packed, w.fits}, {p, w.fits},
                                  {w.fits, 0}, {w.fits, 0}, {w.fits, 0}};
    for (int k = COUNTS; k < END; k++) a[k].shape[0] = left[k - COUNTS][0], a[k].shape[1] = left[k - COUNTS][1];
    if (!take_arrays(a + COUNTS, END - COUNTS, given + COUNTS + MORE)) goto end;
    if (!are_places_or_none(&a[PLACE], w.varying) || !are_places(&a[SLOT], slots) || !are_places(&a[TRIAL], trials) ||
        !are_places(&a[CHOSEN], w.clusters))
        goto end;
    w.dropped = a[DROPPED].at, w.rank = a[RANK].at, w.rows = a[ROWS].at, w.means = a[MEANS].at, w.inside = a[INSIDE].at;
    w.numbers = a[NUMBERS].at, w.place = a[PLACE].at, w.slot = a[SLOT].at, w.trial = a[TRIAL].at, w.chosen = a[CHOSEN].at;
    w.counts = a[COUNTS].at, w.between = a[BETWEEN].at, w.within = a[WITHIN].at, w.left_dropped = a[LEFT_DROPPED].at;
    w.left_rank = a[LEFT_RANK].at, w.left_rows = a[LEFT_ROWS].at, w.gone = a[GONE].at;
    w.own = room_for(packed + p * p + p + 2 * q, 1);
    if (w.own == NULL) goto end;
    w.matrix = w.own + packed, w.scale = w.matrix + p * p, w.flat = (char *)(w.scale + p), w.drop = w.flat + q;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t f = 0; f < w.fits; f++) leave_out(&w, f);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free(w.own);
    release_arrays(a, END);
    return result;
}
