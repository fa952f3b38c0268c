#include "cluster_columns.h"

int take_columns(array *a, PyObject *const *given, PyObject *first, cluster_columns *of) {
    static const int dimensions[] = {2, 3, 1, 1, 1};
    of->first = PyLong_AsSsize_t(first);
    if (of->first == -1 && PyErr_Occurred()) return 0;
    for (int k = 0; k < SHARED; k++) {
        a[k].dimensions = dimensions[k];
        for (int i = 0; i < MOST_DIMENSIONS; i++) a[k].shape[i] = -1;
    }
    if (!take_array(&a[MEANS], given[MEANS])) return 0;
    a[PLACE].shape[0] = a[MEANS].shape[0];
    a[WITHIN].shape[2] = a[GROUP].shape[0] = a[TRIAL].shape[0] = a[MEANS].shape[1];
    if (!take_arrays(a + WITHIN, TRIAL, given + WITHIN)) return 0;
    if (a[WITHIN].shape[0] != a[WITHIN].shape[1]) {
        PyErr_SetString(PyExc_ValueError, "within: square matrices are wanted");
        return 0;
    }
    of->columns = a[MEANS].shape[0], of->clusters = a[MEANS].shape[1], of->varying = a[WITHIN].shape[0];
    of->means = a[MEANS].at, of->within = a[WITHIN].at, of->place = a[PLACE].at, of->trial = a[TRIAL].at;
    return 1;
}

int are_columns(const array *a, const cluster_columns *of, Py_ssize_t trials) {
    if (!are_places(&a[TRIAL], trials) || !are_places_or_none(&a[PLACE], of->varying)) return 0;
    if (of->first < 0 || of->first > of->columns) {
        PyErr_SetString(PyExc_ValueError, "first: the number of a column is wanted");
        return 0;
    }
    for (Py_ssize_t c = 1; c < of->clusters; c++)
        if (of->trial[c] < of->trial[c - 1]) {
            PyErr_SetString(PyExc_ValueError, "trial: clusters of a trial must stand together, trials in order");
            return 0;
        }
    return 1;
}

Py_ssize_t most_clusters(const cluster_columns *of) {
    Py_ssize_t most = 0;
    for (Py_ssize_t c = 0, to; c < of->clusters; c = to) {
        to = next_trial(of, c);
        most = to - c > most ? to - c : most;
    }
    return most;
}
