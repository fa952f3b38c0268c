/* Twins of simtrial/generate/by_person.py: the same products and sums in the same order, to the last bit. */
#include "kernels.h"
#include "random_numbers.h"

VECTORISED static void add_up(double first, const double *of_first, double second, const double *of_second,
                              Py_ssize_t people, double *found) {
    for (Py_ssize_t k = 0; k < people; k++) found[k] = first * of_first[k] + second * of_second[k];
}

PyObject *core_weighted_sum(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { FIRST, OF_FIRST, SECOND, OF_SECOND, FOUND, END };
    array a[] = {
        {.name = "of_first", .dimensions = 1, .shape = {-1}},
        {.name = "of_second", .dimensions = 1},
        {.name = "found", .writable = 1, .dimensions = 1},
    };
    PyObject *result = NULL;
    if (number != END) return PyErr_Format(PyExc_TypeError, "weighted_sum takes %d arguments", END), NULL;
    double first = PyFloat_AsDouble(given[FIRST]);
    double second = first == -1.0 && PyErr_Occurred() ? 0.0 : PyFloat_AsDouble(given[SECOND]);
    if (PyErr_Occurred()) return NULL;
    if (!take_array(&a[0], given[OF_FIRST])) goto end;
    a[1].shape[0] = a[2].shape[0] = a[0].shape[0];
    if (!take_array(&a[1], given[OF_SECOND]) || !take_array(&a[2], given[FOUND])) goto end;
    Py_BEGIN_ALLOW_THREADS
    add_up(first, a[0].at, second, a[1].at, a[0].shape[0], a[2].at);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    release_arrays(a, 3);
    return result;
}

/* The effect of those it does not reach is 0 times the effect, which keeps its sign as in numpy. */
VECTORISED static void add_effect(const double *score, const double *effect, Py_ssize_t step,
                                  const unsigned char *reached, Py_ssize_t people, double *found) {
    if (step == 0)
        for (Py_ssize_t k = 0; k < people; k++) found[k] = score[k] + effect[0] * (double)(reached[k] != 0);
    else
        for (Py_ssize_t k = 0; k < people; k++) found[k] = score[k] + effect[k] * (double)(reached[k] != 0);
}

PyObject *core_with_effect(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { SCORE, EFFECT, REACHED, FOUND, END };
    array a[] = {
        {.name = "score", .dimensions = 1, .shape = {-1}},
        {.name = "effect", .dimensions = 1, .shape = {-1}},
        {.name = "reached", .kind = BOOLS, .dimensions = 1},
        {.name = "found", .writable = 1, .dimensions = 1},
    };
    PyObject *result = NULL;
    if (number != END) return PyErr_Format(PyExc_TypeError, "with_effect takes %d arguments", END), NULL;
    if (!take_arrays(a, REACHED, given)) goto end;
    Py_ssize_t people = a[REACHED].shape[0] = a[FOUND].shape[0] = a[SCORE].shape[0];
    if (!take_arrays(a + REACHED, 2, given + REACHED)) goto end;
    if (a[EFFECT].shape[0] != people && a[EFFECT].shape[0] != 1) {
        PyErr_SetString(PyExc_ValueError, "effect: one number is wanted, or one for each person");
        goto end;
    }
    Py_BEGIN_ALLOW_THREADS
    add_effect(a[SCORE].at, a[EFFECT].at, a[EFFECT].shape[0] == 1 ? 0 : 1, a[REACHED].at, people, a[FOUND].at);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    release_arrays(a, END);
    return result;
}

static void mark(state *s, double probability, Py_ssize_t people, double *marks) {
    for (Py_ssize_t k = 0; k < people; k++) marks[k] = next_uniform(s) >= probability;
}

PyObject *core_spared(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { STATE, PROBABILITY, MARKS, END };
    array a[] = {STATE_OF_GENERATOR, {.name = "marks", .writable = 1, .dimensions = 1, .shape = {-1}}};
    PyObject *result = NULL;
    if (number != END) return PyErr_Format(PyExc_TypeError, "spared takes %d arguments", END), NULL;
    double probability = PyFloat_AsDouble(given[PROBABILITY]);
    if (probability == -1.0 && PyErr_Occurred()) return NULL;
    if (!take_array(&a[0], given[STATE]) || !take_array(&a[1], given[MARKS])) goto end;
    Py_BEGIN_ALLOW_THREADS
    state s = begin(a[0].at);
    mark(&s, probability, a[1].shape[0], a[1].at);
    end(&s, a[0].at);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    release_arrays(a, 2);
    return result;
}

static void mark_both(state *s, double probability, const double *latent, double limit, Py_ssize_t people, double *marks) {
    for (Py_ssize_t k = 0; k < people; k++) marks[k] = (latent[k] <= limit) & !(next_uniform(s) < probability);
}

PyObject *core_stays(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { STATE, PROBABILITY, LATENT, LIMIT, MARKS, END };
    array a[] = {
        STATE_OF_GENERATOR,
        {.name = "latent", .dimensions = 1, .shape = {-1}},
        {.name = "marks", .writable = 1, .dimensions = 1},
    };
    PyObject *result = NULL;
    if (number != END) return PyErr_Format(PyExc_TypeError, "stays takes %d arguments", END), NULL;
    double probability = PyFloat_AsDouble(given[PROBABILITY]);
    double limit = probability == -1.0 && PyErr_Occurred() ? 0.0 : PyFloat_AsDouble(given[LIMIT]);
    if (PyErr_Occurred()) return NULL;
    if (!take_array(&a[0], given[STATE]) || !take_array(&a[1], given[LATENT])) goto end;
    a[2].shape[0] = a[1].shape[0];
    if (!take_array(&a[2], given[MARKS])) goto end;
    Py_BEGIN_ALLOW_THREADS
    state s = begin(a[0].at);
    mark_both(&s, probability, a[1].at, limit, a[1].shape[0], a[2].at);
    end(&s, a[0].at);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    release_arrays(a, 3);
    return result;
}
