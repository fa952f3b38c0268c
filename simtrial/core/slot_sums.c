/* Twin of simtrial/kernels/slot_sums.py: sums are added in the same order, so that they are the same to the last bit. */
#include "kernels.h"

typedef struct {
    Py_ssize_t columns, clusters, varying, slots, trials, added;
    const double *means, *within;
    const int64_t *place, *slot, *trial;
    double *between, *pooled;
} sums;

#define AT_A_TIME 256 /* clusters: their means, and the sums of their trials, stay in the cache */

static void add_products(const sums *s, Py_ssize_t i, Py_ssize_t j, Py_ssize_t k, Py_ssize_t from, Py_ssize_t to) {
    const double *one = PART(s->means, i * s->clusters, to), *other = PART(s->means, j * s->clusters, to);
    for (Py_ssize_t c = from; c < to; c++)
        AT(s->between, (AT(s->slot, c) * s->added + k) * s->trials + AT(s->trial, c)) += one[c] * other[c];
    if (AT(s->place, i) < 0 || AT(s->place, j) < 0) return;
    const double *within = PART(s->within, (s->place[i] * s->varying + s->place[j]) * s->clusters, to);
    for (Py_ssize_t c = from; c < to; c++) AT(s->pooled, k * s->trials + AT(s->trial, c)) += within[c];
}

static int are_alike(const sums *s, const array *place, Py_ssize_t first) {
    const int64_t *places = place->at;
    if (first < 0 || first > s->columns ||
        s->added != s->columns * (s->columns + 1) / 2 - first * (first + 1) / 2) {
        PyErr_SetString(PyExc_ValueError, "between: a row is wanted for each product of a new column");
        return 0;
    }
    for (Py_ssize_t k = 0; k < s->columns; k++)
        if (places[k] < -1 || places[k] >= s->varying) {
            PyErr_SetString(PyExc_IndexError, "place: the place of a column in within, or -1, is wanted");
            return 0;
        }
    return 1;
}

PyObject *core_slot_products(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { MEANS, WITHIN, PLACE, SLOT, TRIAL, BETWEEN, POOLED, END };
    array a[] = {
        {.name = "means", .dimensions = 2, .shape = {-1, -1}},
        {.name = "within", .dimensions = 3, .shape = {-1, -1, -1}},
        {.name = "place", .kind = INTS, .dimensions = 1, .shape = {-1}},
        {.name = "slot", .kind = INTS, .dimensions = 1, .shape = {-1}},
        {.name = "trial", .kind = INTS, .dimensions = 1, .shape = {-1}},
        {.name = "between", .writable = 1, .dimensions = 3, .shape = {-1, -1, -1}},
        {.name = "pooled", .writable = 1, .dimensions = 2, .shape = {-1, -1}},
    };
    PyObject *result = NULL;
    if (number != END + 1) return PyErr_Format(PyExc_TypeError, "slot_products takes %d arguments", END + 1), NULL;
    Py_ssize_t first = PyLong_AsSsize_t(given[BETWEEN]);
    if (first == -1 && PyErr_Occurred()) return NULL;
    if (!take_array(&a[MEANS], given[MEANS])) goto end;
    a[PLACE].shape[0] = a[MEANS].shape[0];
    a[WITHIN].shape[2] = a[SLOT].shape[0] = a[TRIAL].shape[0] = a[MEANS].shape[1];
    if (!take_arrays(a + WITHIN, TRIAL, given + WITHIN) || !take_array(&a[BETWEEN], given[BETWEEN + 1])) goto end;
    a[POOLED].shape[0] = a[BETWEEN].shape[1], a[POOLED].shape[1] = a[BETWEEN].shape[2];
    if (!take_array(&a[POOLED], given[POOLED + 1])) goto end;
    if (a[WITHIN].shape[0] != a[WITHIN].shape[1]) {
        PyErr_SetString(PyExc_ValueError, "within: square matrices are wanted");
        goto end;
    }
    sums s = {.columns = a[MEANS].shape[0], .clusters = a[MEANS].shape[1], .varying = a[WITHIN].shape[0],
              .slots = a[BETWEEN].shape[0], .added = a[BETWEEN].shape[1], .trials = a[BETWEEN].shape[2],
              .means = a[MEANS].at, .within = a[WITHIN].at, .place = a[PLACE].at, .slot = a[SLOT].at,
              .trial = a[TRIAL].at, .between = a[BETWEEN].at, .pooled = a[POOLED].at};
    if (!are_alike(&s, &a[PLACE], first) || !are_places(&a[SLOT], s.slots) || !are_places(&a[TRIAL], s.trials)) goto end;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t from = 0; from < s.clusters; from += AT_A_TIME) {
        Py_ssize_t to = s.clusters - from < AT_A_TIME ? s.clusters : from + AT_A_TIME;
        for (Py_ssize_t j = first, k = 0; j < s.columns; j++)
            for (Py_ssize_t i = 0; i <= j; i++, k++) add_products(&s, i, j, k, from, to);
    }
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    release_arrays(a, END);
    return result;
}
