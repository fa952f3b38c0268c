/* Twins of `_by_cluster` and of the sums of `within_with` in simtrial/moments/columns.py: the same steps in the same
   order, so that they are the same to the last bit. Rows of a cluster stand together. */
#include "kernels.h"

#include <math.h>

/* Clusters of so many members each must make up all rows. */
static int are_members(const array *members, Py_ssize_t rows) {
    const int64_t *count = members->at;
    Py_ssize_t left = rows;
    for (Py_ssize_t c = 0; c < members->shape[0]; c++) {
        if (count[c] < 1 || count[c] > left) break;
        left -= count[c];
        if (c == members->shape[0] - 1 && left == 0) return 1;
    }
    if (members->shape[0] == 0 && rows == 0) return 1;
    PyErr_SetString(PyExc_ValueError, "members: every row is wanted in one cluster, and every cluster with a row");
    return 0;
}

typedef struct {
    Py_ssize_t clusters;
    const double *values, *nothing; /* differences up to this are rounding (trials) */
    const int64_t *members, *trial;
    double *anchor, *shift, *deviation;
} column;

static void deviate(const column *one) {
    Py_ssize_t from = 0;
    for (Py_ssize_t c = 0; c < one->clusters; c++) {
        int64_t members = AT(one->members, c);
        const double *values = PART(one->values, from, members);
        double *deviation = PART(one->deviation, from, members);
        double anchor = values[0], nothing = AT(one->nothing, AT(one->trial, c)), sum = 0.0;
        for (int64_t i = 0; i < members; i++) {
            double difference = values[i] - anchor;
            deviation[i] = fabs(difference) <= nothing ? 0.0 : difference;
            sum += deviation[i];
        }
        double shift = sum / (double)members;
        for (int64_t i = 0; i < members; i++) deviation[i] -= shift;
        AT(one->anchor, c) = anchor, AT(one->shift, c) = shift;
        from += members;
    }
}

PyObject *core_by_cluster(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { VALUES, MEMBERS, TRIAL, NOTHING, ANCHOR, SHIFT, DEVIATION, END };
    array a[] = {
        {.name = "values", .dimensions = 1, .shape = {-1}},
        {.name = "members", .kind = INTS, .dimensions = 1, .shape = {-1}},
        {.name = "trial", .kind = INTS, .dimensions = 1},
        {.name = "nothing", .dimensions = 1, .shape = {-1}},
        {.name = "anchor", .writable = 1, .dimensions = 1},
        {.name = "shift", .writable = 1, .dimensions = 1},
        {.name = "deviation", .writable = 1, .dimensions = 1},
    };
    PyObject *result = NULL;
    if (number != END) return PyErr_Format(PyExc_TypeError, "by_cluster takes %d arguments", END), NULL;
    if (!take_arrays(a, TRIAL, given)) goto end;
    a[TRIAL].shape[0] = a[ANCHOR].shape[0] = a[SHIFT].shape[0] = a[MEMBERS].shape[0];
    a[DEVIATION].shape[0] = a[VALUES].shape[0];
    if (!take_arrays(a + TRIAL, END - TRIAL, given + TRIAL)) goto end;
    if (!are_members(&a[MEMBERS], a[VALUES].shape[0]) || !are_places(&a[TRIAL], a[NOTHING].shape[0])) goto end;
    column one = {.clusters = a[MEMBERS].shape[0], .values = a[VALUES].at, .nothing = a[NOTHING].at,
                  .members = a[MEMBERS].at, .trial = a[TRIAL].at, .anchor = a[ANCHOR].at, .shift = a[SHIFT].at,
                  .deviation = a[DEVIATION].at};
    Py_BEGIN_ALLOW_THREADS
    deviate(&one);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    release_arrays(a, END);
    return result;
}

PyObject *core_products_by(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { ONE, OTHER, MEMBERS, SUMS, END };
    array a[] = {
        {.name = "one", .dimensions = 1, .shape = {-1}},
        {.name = "other", .dimensions = 1},
        {.name = "members", .kind = INTS, .dimensions = 1, .shape = {-1}},
        {.name = "sums", .writable = 1, .dimensions = 1},
    };
    PyObject *result = NULL;
    if (number != END) return PyErr_Format(PyExc_TypeError, "products_by takes %d arguments", END), NULL;
    if (!take_array(&a[ONE], given[ONE])) goto end;
    a[OTHER].shape[0] = a[ONE].shape[0];
    if (!take_arrays(a + OTHER, 2, given + OTHER)) goto end;
    a[SUMS].shape[0] = a[MEMBERS].shape[0];
    if (!take_array(&a[SUMS], given[SUMS]) || !are_members(&a[MEMBERS], a[ONE].shape[0])) goto end;
    Py_BEGIN_ALLOW_THREADS
    const double *one = a[ONE].at, *other = a[OTHER].at;
    const int64_t *members = a[MEMBERS].at;
    double *sums = a[SUMS].at;
    for (Py_ssize_t c = 0, from = 0; c < a[MEMBERS].shape[0]; c++) {
        double sum = 0.0;
        const double *x = PART(one, from, AT(members, c)), *y = PART(other, from, AT(members, c));
        for (int64_t i = 0; i < members[c]; i++) sum += x[i] * y[i];
        AT(sums, c) = sum;
        from += members[c];
    }
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    release_arrays(a, END);
    return result;
}
