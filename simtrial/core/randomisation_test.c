/* Twin of `_difference` in simtrial/estimators/randomisation_test.py: statistics of every re-allocation of every trial. */
#include "kernels.h"

typedef struct {
    Py_ssize_t draws, trials, clusters;
    const char *arm;
    const double *y, *a;
    const int64_t *marks, *starts;
    double *to_y, *to_a;
    char *there;
    int64_t *scheme;
} draws;

VECTORISED static void differences(const draws *own, int summed) {
    for (Py_ssize_t d = 0; d < own->draws; d++)
        for (Py_ssize_t t = 0; t < own->trials; t++) {
            Py_ssize_t from = AT(own->starts, t), until = t + 1 < own->trials ? AT(own->starts, t + 1) : own->clusters;
            const char *arm = PART(own->arm, d * own->clusters, own->clusters);
            double treated = 0.0, y = 0.0, a = 0.0, all_y = 0.0, all_a = 0.0, size = (double)(until - from);
            uint64_t scheme = 0;
            for (Py_ssize_t j = from; j < until; j++) {
                double in = arm[j] != 0;
                treated += in;
                y += in * AT(own->y, j), a += in * AT(own->a, j);
                all_y += own->y[j], all_a += own->a[j];
                scheme += (uint64_t)(arm[j] != 0) * (uint64_t)AT(own->marks, j);
            }
            int there = treated > 0.0 && treated < size;
            if (there && !summed) {
                y = y / treated - (all_y - y) / (size - treated);
                a = a / treated - (all_a - a) / (size - treated);
            }
            Py_ssize_t at = d * own->trials + t;
            AT(own->to_y, at) = there ? y : 0.0, AT(own->to_a, at) = there ? a : 0.0;
            AT(own->there, at) = (char)there;
            AT(own->scheme, at) = (int64_t)scheme;
        }
}

/* The clusters of a trial stand together, and every trial has one. */
static int starts_rise(const draws *own) {
    for (Py_ssize_t t = 0; t < own->trials; t++)
        if (t == 0 ? own->starts[t] != 0 : own->starts[t] <= own->starts[t - 1])
            return PyErr_SetString(PyExc_ValueError, "starts: they do not rise from 0"), 0;
    return 1;
}

PyObject *core_difference(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { ARM, Y, A, MARKS, STARTS, SUMMED, TO_Y, TO_A, THERE, SCHEME, END };
    array a[] = {IN("arm", BOOLS), IN("y", FLOATS), IN("a", FLOATS), IN("marks", INTS), IN("starts", INTS),
                 OUT("y_drawn", FLOATS), OUT("a_drawn", FLOATS), OUT("there", BOOLS), OUT("scheme", INTS)};
    enum { ARRAYS = END - 1 };
    draws own = {0};
    PyObject *result = NULL;
    if (number != END) return PyErr_Format(PyExc_TypeError, "difference takes %d arguments", END), NULL;
    int summed = PyObject_IsTrue(given[SUMMED]);
    if (summed < 0) return NULL;
    a[ARM].dimensions = 2, a[ARM].shape[0] = a[ARM].shape[1] = -1;
    a[STARTS].dimensions = 1, a[STARTS].shape[0] = -1;
    if (!take_array(&a[ARM], given[ARM]) || !take_array(&a[STARTS], given[STARTS])) goto end;
    own.draws = a[ARM].shape[0], own.clusters = a[ARM].shape[1], own.trials = a[STARTS].shape[0];
    for (int k = 0; k < ARRAYS; k++) {
        if (a[k].taken) continue;
        a[k].dimensions = k < STARTS ? 1 : 2;
        a[k].shape[0] = k < STARTS ? own.clusters : own.draws, a[k].shape[1] = own.trials;
        if (!take_array(&a[k], given[k < SUMMED ? k : k + 1])) goto end;
    }
    own.arm = a[ARM].at, own.y = a[Y].at, own.a = a[A].at, own.marks = a[MARKS].at, own.starts = a[STARTS].at;
    own.to_y = a[TO_Y - 1].at, own.to_a = a[TO_A - 1].at, own.there = a[THERE - 1].at, own.scheme = a[SCHEME - 1].at;
    if (!are_places(&a[STARTS], own.clusters) || !starts_rise(&own)) goto end;
    Py_BEGIN_ALLOW_THREADS
    differences(&own, summed);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    release_arrays(a, ARRAYS);
    return result;
}
