/* Twin of `blanked` in simtrial/batch.py. */
#include "kernels.h"

#include <math.h>

VECTORISED static void blank(const double *values, const unsigned char *absent, Py_ssize_t rows, double *found) {
    for (Py_ssize_t k = 0; k < rows; k++) {
        double value = values[k];
        found[k] = absent[k] ? (double)NAN : value; /* read first, so that there is no branch */
    }
}

PyObject *core_blanked(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { VALUES, ABSENT, FOUND, END };
    array a[] = {
        {.name = "values", .dimensions = 1, .shape = {-1}},
        {.name = "absent", .kind = BOOLS, .dimensions = 1},
        {.name = "found", .writable = 1, .dimensions = 1},
    };
    PyObject *result = NULL;
    if (number != END) return PyErr_Format(PyExc_TypeError, "blanked takes %d arguments", END), NULL;
    if (!take_array(&a[VALUES], given[VALUES])) goto end;
    a[ABSENT].shape[0] = a[FOUND].shape[0] = a[VALUES].shape[0];
    if (!take_arrays(a + ABSENT, 2, given + ABSENT)) goto end;
    Py_BEGIN_ALLOW_THREADS
    blank(a[VALUES].at, a[ABSENT].at, a[VALUES].shape[0], a[FOUND].at);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    release_arrays(a, END);
    return result;
}
