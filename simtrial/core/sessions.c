/* Twin of `sessions_at` in simtrial/generate/delivery/sessions.py, which looks up exactly those near a step of the guide. */
#include "kernels.h"

typedef struct {
    Py_ssize_t people, practices, last;
    const double *of_practices, *own, *guide;
    const int64_t *practice;
    double within, per_score, *found;
    int64_t *near, *count;
} people;

/* The first person whose practice there is not, or how many people there are. */
static Py_ssize_t look_up(people p) {
    double middle = (double)(p.last - 1) / 2.0 + 1.0;
    int64_t blank = 0; /* places are written whether or not they count, without a branch */
    for (Py_ssize_t k = 0; k < p.people; k++) {
        if ((uint64_t)p.practice[k] >= (uint64_t)p.practices) return k;
        double place = (p.of_practices[p.practice[k]] + p.within * p.own[k]) * p.per_score + middle;
        double found = p.guide[place > 0.0 ? place < (double)p.last ? (Py_ssize_t)place : p.last : 0];
        p.found[k] = found;
        AT(p.near, blank) = k;
        blank += found != found;
    }
    p.count[0] = blank;
    return p.people;
}

PyObject *core_sessions_at(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { PRACTICES, PRACTICE, OWN, GUIDE, FOUND, NEAR, COUNT, END };
    array a[] = {
        {.name = "of_practices", .dimensions = 1, .shape = {-1}},
        {.name = "practice", .kind = INTS, .dimensions = 1, .shape = {-1}},
        {.name = "own", .dimensions = 1},
        {.name = "guide", .dimensions = 1, .shape = {-1}},
        {.name = "found", .writable = 1, .dimensions = 1},
        {.name = "near", .kind = INTS, .writable = 1, .dimensions = 1},
        {.name = "count", .kind = INTS, .writable = 1, .dimensions = 1, .shape = {1}},
    };
    PyObject *result = NULL;
    if (number != END + 2) return PyErr_Format(PyExc_TypeError, "sessions_at takes %d arguments", END + 2), NULL;
    double within = PyFloat_AsDouble(given[GUIDE]), per_score = PyFloat_AsDouble(given[GUIDE + 2]);
    if (PyErr_Occurred()) return NULL;
    if (!take_arrays(a, OWN, given)) goto end;
    a[OWN].shape[0] = a[FOUND].shape[0] = a[NEAR].shape[0] = a[PRACTICE].shape[0];
    if (!take_array(&a[OWN], given[OWN]) || !take_array(&a[GUIDE], given[GUIDE + 1]) ||
        !take_arrays(a + FOUND, END - FOUND, given + FOUND + 2))
        goto end;
    if (a[GUIDE].shape[0] < 3) {
        PyErr_SetString(PyExc_ValueError, "guide: at least one cell between two ends is wanted");
        goto end;
    }
    people p = {.people = a[PRACTICE].shape[0], .practices = a[PRACTICES].shape[0], .last = a[GUIDE].shape[0] - 1,
                .of_practices = a[PRACTICES].at, .own = a[OWN].at, .guide = a[GUIDE].at, .practice = a[PRACTICE].at,
                .within = within, .per_score = per_score, .found = a[FOUND].at, .near = a[NEAR].at, .count = a[COUNT].at};
    Py_ssize_t strange;
    Py_BEGIN_ALLOW_THREADS
    strange = look_up(p);
    Py_END_ALLOW_THREADS
    if (strange == p.people) result = Py_NewRef(Py_None);
    else PyErr_Format(PyExc_IndexError, "practice: entry %zd is no place among the practices", strange);
end:
    release_arrays(a, END);
    return result;
}
