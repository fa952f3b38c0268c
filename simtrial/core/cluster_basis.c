/* Twin of `bases` in simtrial/kernels/cluster_basis.py, the same to the last bit. */
#include "kernels.h"

#include <math.h>
#include <string.h>

typedef struct {
    Py_ssize_t columns, clusters, along, varying, places, numbers; /* numbers: of one cluster */
    const double *means, *sizes, *products, *scales;
    const int64_t *varies, *place; /* which columns vary within clusters; where a cluster goes */
    double *laid_out;
} bases;

static void lay_out(const bases *b, Py_ssize_t c) {
    double *to = PART(b->laid_out, b->place[c] * b->numbers, b->numbers), root = sqrt(AT(b->sizes, c));
    for (Py_ssize_t i = 0; i < b->columns; i++) to[i] = root * AT(b->means, i * b->clusters + c);
    for (Py_ssize_t k = 0; k < b->along; k++) {
        double scale = AT(b->scales, k * b->clusters + c);
        to += b->columns;
        for (Py_ssize_t i = 0; i < b->columns; i++) to[i] = 0.0;
        for (Py_ssize_t v = 0; v < b->varying; v++)
            to[b->varies[v]] = AT(b->products, (k * b->varying + v) * b->clusters + c) * scale;
    }
}

static void lay_all_out(const bases *b) {
    Py_ssize_t next = 0;
    for (Py_ssize_t c = 0; c <= b->clusters; c++) { /* at the end, places after the last */
        Py_ssize_t place = c < b->clusters ? (Py_ssize_t)b->place[c] : b->places;
        if (place > next)
            memset(PART(b->laid_out, next * b->numbers, (place - next) * b->numbers), 0,
                   (size_t)((place - next) * b->numbers) * sizeof(double));
        if (c < b->clusters) lay_out(b, c);
        next = place + 1;
    }
}

static int are_in_order(const array *place) {
    const int64_t *at = place->at;
    for (Py_ssize_t c = 1; c < place->shape[0]; c++)
        if (at[c] <= at[c - 1]) {
            PyErr_SetString(PyExc_ValueError, "place: clusters must stand in order, each in a place of its own");
            return 0;
        }
    return 1;
}

PyObject *core_bases(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { MEANS, SIZES, PRODUCTS, VARIES, SCALES, PLACE, LAID_OUT, END };
    array a[] = {IN("means", FLOATS), IN("sizes", FLOATS), IN("products", FLOATS), IN("varies", INTS),
                 IN("scales", FLOATS), IN("place", INTS), OUT("laid_out", FLOATS)};
    static const int dimensions[] = {2, 1, 3, 1, 2, 1, 3};
    PyObject *result = NULL;
    if (number != END) return PyErr_Format(PyExc_TypeError, "bases takes %d arguments", END), NULL;
    for (int k = 0; k < END; k++) {
        a[k].dimensions = dimensions[k];
        for (int i = 0; i < MOST_DIMENSIONS; i++) a[k].shape[i] = -1;
    }
    if (!take_array(&a[MEANS], given[MEANS])) goto end;
    Py_ssize_t columns = a[MEANS].shape[0], clusters = a[MEANS].shape[1];
    a[SIZES].shape[0] = a[PRODUCTS].shape[2] = a[SCALES].shape[1] = a[PLACE].shape[0] = clusters;
    if (!take_arrays(a + SIZES, 2, given + SIZES)) goto end;
    a[SCALES].shape[0] = a[PRODUCTS].shape[0], a[VARIES].shape[0] = a[PRODUCTS].shape[1];
    a[LAID_OUT].shape[1] = 1 + a[PRODUCTS].shape[0], a[LAID_OUT].shape[2] = columns;
    if (!take_arrays(a + VARIES, 4, given + VARIES)) goto end;
    if (!are_places(&a[VARIES], columns) || !are_places(&a[PLACE], a[LAID_OUT].shape[0])) goto end;
    if (!are_in_order(&a[PLACE])) goto end;
    bases b = {.columns = columns, .clusters = clusters, .along = a[PRODUCTS].shape[0], .varying = a[PRODUCTS].shape[1],
               .places = a[LAID_OUT].shape[0], .numbers = a[LAID_OUT].shape[1] * columns, .means = a[MEANS].at,
               .sizes = a[SIZES].at, .products = a[PRODUCTS].at, .scales = a[SCALES].at, .varies = a[VARIES].at,
               .place = a[PLACE].at, .laid_out = a[LAID_OUT].at};
    Py_BEGIN_ALLOW_THREADS
    lay_all_out(&b);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    release_arrays(a, END);
    return result;
}
