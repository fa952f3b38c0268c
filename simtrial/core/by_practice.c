/* Twins of simtrial/generate/by_practice.py: the same products and sums in the same order, to the last bit. */
#include "kernels.h"

/* The place in the loop that reads it, where it costs nothing to look: no practice of that number ends the loop. */
#define IS_NO_PLACE(place, practices) ((uint64_t)(place) >= (uint64_t)(practices))

static PyObject *no_place(Py_ssize_t person, Py_ssize_t people) {
    if (person == people) return Py_NewRef(Py_None);
    return PyErr_Format(PyExc_IndexError, "practice: entry %zd is no place among the practices", person);
}

PyObject *core_with_practices(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { EXPECTED, PRACTICES, PRACTICE, OWN, SCORE, END };
    array a[] = {
        {.name = "expected", .dimensions = 1, .shape = {-1}},
        {.name = "of_practices", .dimensions = 1, .shape = {-1}},
        {.name = "practice", .kind = INTS, .dimensions = 1, .shape = {-1}},
        {.name = "own", .dimensions = 1},
        {.name = "score", .writable = 1, .dimensions = 1},
    };
    PyObject *result = NULL;
    if (number != END + 1) return PyErr_Format(PyExc_TypeError, "with_practices takes %d arguments", END + 1), NULL;
    double within = PyFloat_AsDouble(given[SCORE]);
    if (within == -1.0 && PyErr_Occurred()) return NULL;
    if (!take_arrays(a, OWN, given)) goto end;
    Py_ssize_t people = a[PRACTICE].shape[0], practices = a[PRACTICES].shape[0], k = 0;
    a[OWN].shape[0] = a[SCORE].shape[0] = people;
    if (!take_array(&a[OWN], given[OWN]) || !take_array(&a[SCORE], given[SCORE + 1])) goto end;
    if (a[EXPECTED].shape[0] != people && a[EXPECTED].shape[0] != 1) {
        PyErr_SetString(PyExc_ValueError, "expected: one number is wanted, or one for each person");
        goto end;
    }
    Py_BEGIN_ALLOW_THREADS
    const double *expected = a[EXPECTED].at, *of_practices = a[PRACTICES].at, *own = a[OWN].at;
    const int64_t *practice = a[PRACTICE].at;
    double *score = a[SCORE].at;
    Py_ssize_t step = a[EXPECTED].shape[0] == 1 ? 0 : 1;
    for (; k < people; k++) {
        if (IS_NO_PLACE(practice[k], practices)) break;
        score[k] = expected[k * step] + of_practices[practice[k]] + within * own[k];
    }
    Py_END_ALLOW_THREADS
    result = no_place(k, people);
end:
    release_arrays(a, END);
    return result;
}

PyObject *core_from_baseline(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { BASELINE, LINE, PRACTICES, PRACTICE, OWN, SCORE, END };
    array a[] = {
        {.name = "baseline", .dimensions = 1, .shape = {-1}},
        {.name = "line", .dimensions = 1, .shape = {3}},
        {.name = "of_practices", .dimensions = 1, .shape = {-1}},
        {.name = "practice", .kind = INTS, .dimensions = 1},
        {.name = "own", .dimensions = 1},
        {.name = "score", .writable = 1, .dimensions = 1},
    };
    PyObject *result = NULL;
    if (number != END + 1) return PyErr_Format(PyExc_TypeError, "from_baseline takes %d arguments", END + 1), NULL;
    double within = PyFloat_AsDouble(given[SCORE]);
    if (within == -1.0 && PyErr_Occurred()) return NULL;
    if (!take_array(&a[BASELINE], given[BASELINE])) goto end;
    Py_ssize_t people = a[PRACTICE].shape[0] = a[OWN].shape[0] = a[SCORE].shape[0] = a[BASELINE].shape[0], k = 0;
    if (!take_arrays(a + LINE, SCORE - LINE, given + LINE) || !take_array(&a[SCORE], given[SCORE + 1])) goto end;
    Py_ssize_t practices = a[PRACTICES].shape[0];
    Py_BEGIN_ALLOW_THREADS
    const double *baseline = a[BASELINE].at, *line = a[LINE].at, *of_practices = a[PRACTICES].at, *own = a[OWN].at;
    const double from = line[0], slope = line[1], mean = line[2];
    const int64_t *practice = a[PRACTICE].at;
    double *score = a[SCORE].at;
    for (; k < people; k++) {
        if (IS_NO_PLACE(practice[k], practices)) break;
        score[k] = (baseline[k] - from) * slope + mean + of_practices[practice[k]] + within * own[k];
    }
    Py_END_ALLOW_THREADS
    result = no_place(k, people);
end:
    release_arrays(a, END);
    return result;
}

PyObject *core_in_arm(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { OFFERED, PRACTICE, CONTROL, INTERVENTION, FOUND, END };
    array a[] = {
        {.name = "offered", .kind = BOOLS, .dimensions = 1, .shape = {-1}},
        {.name = "practice", .kind = INTS, .dimensions = 1, .shape = {-1}},
        {.name = "control", .dimensions = 1, .shape = {-1}},
        {.name = "intervention", .dimensions = 1},
        {.name = "found", .writable = 1, .dimensions = 1},
    };
    PyObject *result = NULL;
    if (number != END) return PyErr_Format(PyExc_TypeError, "in_arm takes %d arguments", END), NULL;
    if (!take_arrays(a, CONTROL, given)) goto end;
    Py_ssize_t people = a[PRACTICE].shape[0], practices = a[OFFERED].shape[0], k = 0;
    a[INTERVENTION].shape[0] = a[FOUND].shape[0] = people;
    if (!take_arrays(a + CONTROL, END - CONTROL, given + CONTROL)) goto end;
    if (a[CONTROL].shape[0] != people && a[CONTROL].shape[0] != 1) {
        PyErr_SetString(PyExc_ValueError, "control: one number is wanted, or one for each person");
        goto end;
    }
    Py_BEGIN_ALLOW_THREADS
    const double *both[2] = {a[CONTROL].at, a[INTERVENTION].at};
    const Py_ssize_t step[2] = {a[CONTROL].shape[0] == 1 ? 0 : 1, 1};
    const unsigned char *offered = a[OFFERED].at;
    const int64_t *practice = a[PRACTICE].at;
    double *found = a[FOUND].at;
    for (; k < people; k++) {
        if (IS_NO_PLACE(practice[k], practices)) break;
        int arm = offered[practice[k]] != 0;
        found[k] = both[arm][k * step[arm]]; /* no branch: arms change at random */
    }
    Py_END_ALLOW_THREADS
    result = no_place(k, people);
end:
    release_arrays(a, END);
    return result;
}

#define AT_ONCE 8 /* people of most practices */

PyObject *core_practice_of_people(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { RECRUITED, PRACTICE, END };
    array a[] = {
        {.name = "recruited", .kind = INTS, .dimensions = 1, .shape = {-1}},
        {.name = "practice", .kind = INTS, .writable = 1, .dimensions = 1, .shape = {-1}},
    };
    PyObject *result = NULL;
    if (number != END) return PyErr_Format(PyExc_TypeError, "practice_of_people takes %d arguments", END), NULL;
    if (!take_arrays(a, END, given)) goto end;
    Py_ssize_t practices = a[RECRUITED].shape[0], left = a[PRACTICE].shape[0], j = 0;
    Py_BEGIN_ALLOW_THREADS
    const int64_t *recruited = a[RECRUITED].at;
    int64_t *practice = a[PRACTICE].at;
    for (; j < practices && recruited[j] >= 0 && recruited[j] <= left; left -= recruited[j], j++) {
        int64_t here = recruited[j], k = 0;
        if (left >= AT_ONCE) /* without a branch on the number, which none foresees; the next practices write over more */
            for (; k < AT_ONCE; k++) practice[k] = j;
        for (; k < here; k++) practice[k] = j;
        practice += here;
    }
    Py_END_ALLOW_THREADS
    if (j == practices && left == 0) result = Py_NewRef(Py_None);
    else PyErr_SetString(PyExc_ValueError, "recruited: people of every practice are wanted, together all there are");
end:
    release_arrays(a, END);
    return result;
}
