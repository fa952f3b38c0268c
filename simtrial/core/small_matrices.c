/* Twins of `sweep` and `remaining` in simtrial/kernels/small_matrices.py, to the last bit but for logarithms. */
#include "kernels.h"
#include "logarithm.h"
#include "small_matrices.h"

#include <stdlib.h>

typedef struct {
    Py_ssize_t size, count, trials;
    const double *matrix;
    double *inverse, *coefficients, *rest, *log_determinant;
    lanes *m, *row, *column, *pivots;
} sweeps;

VECTORISED
static void sweep_tile(const sweeps *own, Py_ssize_t from, int filled) {
    Py_ssize_t trials = own->trials, q = own->size, p = own->count;
    for (Py_ssize_t i = 0; i < q * q; i++) own->m[i] = load(PART(own->matrix, i * trials + from, filled), filled);
    sweep(own->m, own->row, own->column, (int)p, (int)q, own->pivots, DIVIDING);
    for (Py_ssize_t i = 0; i < q; i++)
        for (Py_ssize_t j = 0; j < q; j++) {
            double *to = i >= p ? own->rest + ((i - p) * (q - p) + j - p) * trials
                       : j >= p ? own->coefficients + (i * (q - p) + j - p) * trials : own->inverse + (i * p + j) * trials;
            if (i < p || j >= p) store(PART(to, from, filled), own->m[i * q + j], filled);
        }
    lanes logs = {0};
    for (Py_ssize_t k = 0; k < p; k++) logs += logarithm(own->pivots[k]);
    store(PART(own->log_determinant, from, filled), logs, filled);
}

PyObject *core_sweep(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { MATRIX, INVERSE, COEFFICIENTS, REST, LOG_DETERMINANT, END };
    array a[] = {IN("matrix", FLOATS), OUT("inverse", FLOATS), OUT("coefficients", FLOATS), OUT("rest", FLOATS),
                 OUT("log_determinant", FLOATS)};
    PyObject *result = NULL;
    double *room = NULL;
    if (number != END) return PyErr_Format(PyExc_TypeError, "sweep takes %d arguments", END), NULL;
    for (int k = 0; k < END; k++) a[k].dimensions = 3;
    a[MATRIX].shape[0] = a[MATRIX].shape[1] = a[MATRIX].shape[2] = a[INVERSE].shape[0] = a[INVERSE].shape[1] = -1;
    if (!take_array(&a[MATRIX], given[MATRIX])) goto end;
    sweeps own = {.size = a[MATRIX].shape[0], .trials = a[MATRIX].shape[2], .matrix = a[MATRIX].at};
    a[INVERSE].shape[2] = own.trials;
    if (!take_array(&a[INVERSE], given[INVERSE])) goto end;
    own.count = a[INVERSE].shape[0];
    if (a[MATRIX].shape[1] != own.size || a[INVERSE].shape[1] != own.count || own.count > own.size || own.size > 1000) {
        PyErr_SetString(PyExc_ValueError, "matrix, inverse: square matrices are wanted, the second no larger");
        goto end;
    }
    Py_ssize_t p = own.count, q = own.size;
    a[COEFFICIENTS].shape[0] = p, a[REST].shape[0] = a[COEFFICIENTS].shape[1] = a[REST].shape[1] = q - p;
    a[COEFFICIENTS].shape[2] = a[REST].shape[2] = own.trials;
    a[LOG_DETERMINANT].dimensions = 1, a[LOG_DETERMINANT].shape[0] = own.trials;
    if (!take_arrays(a + COEFFICIENTS, END - COEFFICIENTS, given + COEFFICIENTS)) goto end;
    room = room_for(q * q + 2 * q + p, LANES);
    if (room == NULL) goto end;
    own.m = (lanes *)room, own.row = own.m + q * q, own.column = own.row + q, own.pivots = own.column + q;
    own.inverse = a[INVERSE].at, own.coefficients = a[COEFFICIENTS].at, own.rest = a[REST].at;
    own.log_determinant = a[LOG_DETERMINANT].at;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t from = 0; from < own.trials; from += LANES)
        sweep_tile(&own, from, own.trials - from < LANES ? (int)(own.trials - from) : LANES);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free(room);
    release_arrays(a, END);
    return result;
}

typedef struct {
    Py_ssize_t size, trials;
    double tolerance;
    const double *gram, *scale;
    double *left;
    lanes *m;
} remainders;

VECTORISED
static void remaining_tile(const remainders *own, Py_ssize_t from, int filled) {
    Py_ssize_t q = own->size, trials = own->trials;
    lanes *restrict m = own->m;
    for (Py_ssize_t i = 0; i < q; i++)
        for (Py_ssize_t j = i; j < q; j++)
            m[i * q + j] = load(PART(own->gram, (i * q + j) * trials + from, filled), filled);
    for (Py_ssize_t k = 0; k < q; k++) {
        lanes pivot = m[k * q + k], scale = load(PART(own->scale, k * trials + from, filled), filled);
        choice kept = pivot > own->tolerance * scale;
        lanes safe = chosen(kept, pivot, all(1.0));
        store(PART(own->left, k * trials + from, filled), chosen(kept, pivot, all(0.0)) / chosen(kept, scale, all(1.0)), filled);
        for (Py_ssize_t i = k + 1; i < q; i++) {
            lanes ratio = chosen(kept, m[k * q + i], all(0.0)) / safe;
            for (Py_ssize_t j = i; j < q; j++) m[i * q + j] -= ratio * m[k * q + j];
        }
    }
}

PyObject *core_remaining(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { GRAM, SCALE, LEFT, END, MORE = 1 };
    array a[] = {IN("gram", FLOATS), IN("scale", FLOATS), OUT("left", FLOATS)};
    PyObject *result = NULL;
    double *room = NULL;
    if (number != END + MORE) return PyErr_Format(PyExc_TypeError, "remaining takes %d arguments", END + MORE), NULL;
    remainders own = {.tolerance = PyFloat_AsDouble(given[LEFT])};
    if (PyErr_Occurred()) return NULL;
    a[GRAM].dimensions = 3, a[GRAM].shape[0] = a[GRAM].shape[1] = a[GRAM].shape[2] = -1;
    if (!take_array(&a[GRAM], given[GRAM])) goto end;
    own.size = a[GRAM].shape[0], own.trials = a[GRAM].shape[2];
    if (a[GRAM].shape[1] != own.size || own.size > 1000) {
        PyErr_SetString(PyExc_ValueError, "gram: square matrices are wanted");
        goto end;
    }
    a[SCALE].dimensions = a[LEFT].dimensions = 2;
    a[SCALE].shape[0] = a[LEFT].shape[0] = own.size, a[SCALE].shape[1] = a[LEFT].shape[1] = own.trials;
    if (!take_array(&a[SCALE], given[SCALE]) || !take_array(&a[LEFT], given[LEFT + MORE])) goto end;
    room = room_for(own.size * own.size, LANES);
    if (room == NULL) goto end;
    own.m = (lanes *)room, own.gram = a[GRAM].at, own.scale = a[SCALE].at, own.left = a[LEFT].at;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t from = 0; from < own.trials; from += LANES)
        remaining_tile(&own, from, own.trials - from < LANES ? (int)(own.trials - from) : LANES);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free(room);
    release_arrays(a, END);
    return result;
}
