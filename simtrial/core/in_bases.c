#include "in_bases.h"

int are_clusters(const array *trial, Py_ssize_t trials, Py_ssize_t most) {
    const int64_t *of = trial->at;
    if (!are_places(trial, trials)) return 0;
    for (Py_ssize_t c = 0, begun = 0; c < trial->shape[0]; c++) {
        if (c > 0 && of[c] < of[c - 1]) {
            PyErr_SetString(PyExc_ValueError, "trial: clusters of a trial must stand together, trials in order");
            return 0;
        }
        if (c > 0 && of[c] > of[c - 1]) begun = c;
        if (c - begun >= most) {
            PyErr_Format(PyExc_ValueError, "trial: %zd clusters of a trial are wanted at most", most);
            return 0;
        }
    }
    return 1;
}
