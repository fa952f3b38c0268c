/* Twin of `invert` in simtrial/generate/distributions/tables.py: a guide says where in the table to begin. */
#include "kernels.h"

#include <stdlib.h>

#define GUIDES 1024 /* parts of equal probability */

/* First entry of the table that reaches each part's lower end. */
static void make_guide(int64_t *guide, const double *table, Py_ssize_t entries) {
    Py_ssize_t at = 0;
    for (int part = 0; part <= GUIDES; part++) {
        while (at < entries && AT(table, at) < (double)part / GUIDES) at++;
        guide[part] = at;
    }
}

/* First entry that is not below a number; of all entries, where it is none. */
static Py_ssize_t reached(const double *table, Py_ssize_t entries, const int64_t *guide, double u) {
    Py_ssize_t at = u > 0.0 ? u < 1.0 ? guide[(int)(u * GUIDES)] : guide[GUIDES] : 0;
    if (u != u) return entries;
    while (at < entries && AT(table, at) < u) at++;
    return at;
}

PyObject *core_invert(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { TABLE, UNIFORM, VALUES, END };
    array a[] = {
        {.name = "cumulative", .dimensions = 1, .shape = {-1}},
        {.name = "uniform", .dimensions = 1, .shape = {-1}},
        {.name = "values", .writable = 1, .dimensions = 1},
    };
    PyObject *result = NULL;
    int64_t *guide = NULL;
    if (number != END) return PyErr_Format(PyExc_TypeError, "invert takes %d arguments", END), NULL;
    if (!take_arrays(a, VALUES, given)) goto end;
    a[VALUES].shape[0] = a[UNIFORM].shape[0];
    if (!take_array(&a[VALUES], given[VALUES])) goto end;
    guide = (int64_t *)room_for(GUIDES + 1, 1);
    if (guide == NULL) goto end;
    Py_BEGIN_ALLOW_THREADS
    const double *table = a[TABLE].at, *uniform = a[UNIFORM].at;
    double *values = a[VALUES].at;
    Py_ssize_t entries = a[TABLE].shape[0];
    make_guide(guide, table, entries);
    for (Py_ssize_t k = 0; k < a[UNIFORM].shape[0]; k++)
        AT(values, k) = (double)reached(table, entries, guide, AT(uniform, k)) + 1.0;
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free(guide);
    release_arrays(a, END);
    return result;
}
