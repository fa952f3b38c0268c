/* Twins of `record` in simtrial/generate/distributions/tables.py and `record_both` in simtrial/generate/by_practice.py. */
#include "kernels.h"

#include <math.h>

/* Kept between the ends; what is no number stays none, and a zero keeps its sign. */
VECTORISED static void round_to(const double *score, Py_ssize_t people, double items, double lowest, double highest,
                                double *recorded) {
    for (Py_ssize_t k = 0; k < people; k++) {
        double rounded = items > 0.0 ? rint(score[k] * items) / items : score[k];
        recorded[k] = rounded < lowest ? lowest : rounded > highest ? highest : rounded;
    }
}

PyObject *core_record(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { SCORE, RECORDED, END };
    array a[] = {
        {.name = "score", .dimensions = 1, .shape = {-1}},
        {.name = "recorded", .writable = 1, .dimensions = 1},
    };
    PyObject *result = NULL;
    double ends[3];
    if (number != END + 3) return PyErr_Format(PyExc_TypeError, "record takes %d arguments", END + 3), NULL;
    for (int k = 0; k < 3; k++) ends[k] = PyFloat_AsDouble(given[k + 1]);
    if (PyErr_Occurred()) return NULL;
    if (!take_array(&a[SCORE], given[0])) goto end;
    a[RECORDED].shape[0] = a[SCORE].shape[0];
    if (!take_array(&a[RECORDED], given[4])) goto end;
    Py_BEGIN_ALLOW_THREADS
    round_to(a[SCORE].at, a[SCORE].shape[0], ends[0], ends[1], ends[2], a[RECORDED].at);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    release_arrays(a, END);
    return result;
}

#define AT_ONCE 512 /* people whose scores stay at hand between the three steps */

PyObject *core_record_both(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { CONTROL, INTERVENTION, OFFERED, PRACTICE, FOUND, END };
    array a[] = {
        {.name = "control", .writable = 1, .dimensions = 1, .shape = {-1}},
        {.name = "intervention", .writable = 1, .dimensions = 1},
        {.name = "offered", .kind = BOOLS, .dimensions = 1, .shape = {-1}},
        {.name = "practice", .kind = INTS, .dimensions = 1},
        {.name = "found", .writable = 1, .dimensions = 1},
    };
    PyObject *result = NULL;
    double ends[3];
    if (number != END + 3) return PyErr_Format(PyExc_TypeError, "record_both takes %d arguments", END + 3), NULL;
    for (int k = 0; k < 3; k++) ends[k] = PyFloat_AsDouble(given[FOUND + k]);
    if (PyErr_Occurred()) return NULL;
    if (!take_array(&a[CONTROL], given[CONTROL])) goto end;
    Py_ssize_t people = a[INTERVENTION].shape[0] = a[PRACTICE].shape[0] = a[FOUND].shape[0] = a[CONTROL].shape[0];
    if (!take_arrays(a + INTERVENTION, FOUND - INTERVENTION, given + INTERVENTION)) goto end;
    if (!take_array(&a[FOUND], given[FOUND + 3])) goto end;
    Py_ssize_t strange = -1;
    Py_BEGIN_ALLOW_THREADS
    double *both[2] = {a[CONTROL].at, a[INTERVENTION].at}, *found = a[FOUND].at;
    const unsigned char *offered = a[OFFERED].at;
    const int64_t *practice = a[PRACTICE].at;
    uint64_t practices = (uint64_t)a[OFFERED].shape[0];
    for (Py_ssize_t from = 0, to; from < people && strange < 0; from = to) {
        to = from + AT_ONCE < people ? from + AT_ONCE : people;
        for (int arm = 0; arm < 2; arm++)
            round_to(both[arm] + from, to - from, ends[0], ends[1], ends[2], both[arm] + from);
        for (Py_ssize_t k = from; k < to; k++) {
            if ((uint64_t)practice[k] >= practices) {
                strange = k;
                break;
            }
            found[k] = both[offered[practice[k]] != 0][k];
        }
    }
    Py_END_ALLOW_THREADS
    if (strange < 0) result = Py_NewRef(Py_None);
    else PyErr_Format(PyExc_IndexError, "practice: entry %zd is no place among the practices", strange);
end:
    release_arrays(a, END);
    return result;
}
