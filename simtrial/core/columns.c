/* Twin of `centred` in simtrial/moments/columns.py: the same steps in the same order, so that it is the same to the last
   bit. Rows of a cluster stand together, and clusters of a trial. */
#include "kernels.h"
#include "lanes.h"

#include <math.h>
#include <stdlib.h>

/* Clusters of so many members each must make up all rows, trials in order. */
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
    int measured;
    double rounding, smallest, largest; /* as in simtrial/kernels/rounding.py */
    const double *values;
    const int64_t *at, *members, *trial; /* where the rows stand in values, or NULL */
    Py_ssize_t others, rows;
    const double *other; /* (others, rows): columns to multiply with */
    double *means, *deviation, *center, *products;
    unsigned char *beyond;
    double *shift, *nothing; /* how much the mean is more than the first value, and what is rounding (clusters,) */
    int64_t *start, *order;  /* the first row of each cluster, and clusters of some trials by size (clusters,) */
} column;

enum { SIZES = 64, TOGETHER = 256 }; /* clusters are sorted by so many, or by a trial that has more */

/* Clusters from `from` to below `to` with those of a size together; those of SIZES - 1 and more, whose loops are long by
   themselves, stand together as they come. */
INLINE void sort_by_size(const column *one, Py_ssize_t from, Py_ssize_t to) {
    Py_ssize_t next[SIZES + 1] = {0};
    for (Py_ssize_t c = from; c < to; c++) next[one->members[c] < SIZES ? one->members[c] + 1 : SIZES]++;
    for (int k = 1; k < SIZES; k++) next[k] += next[k - 1];
    for (Py_ssize_t c = from; c < to; c++) one->order[from + next[one->members[c] < SIZES ? one->members[c] : SIZES - 1]++] = c;
}

/* The largest absolute value, 0 with `beyond` set where it is none to compute with. */
INLINE double size_of_values(const column *one, const double *values, int64_t rows, unsigned char *beyond) {
    lanes sizes = {0};
    choice odd = {0};
    int64_t i = 0;
    for (; i + LANES <= rows; i += LANES) {
        lanes value = size_of(together(values + i));
        odd |= ~(value <= one->largest);
        sizes = chosen(value > sizes, value, sizes);
    }
    double size = 0.0;
    int too_large = any_of(odd);
    for (; i < rows; i++) {
        double value = fabs(values[i]);
        too_large |= !(value <= one->largest);
        size = value > size ? value : size;
    }
    EACH(l) size = sizes[l] > size ? sizes[l] : size;
    *beyond = (unsigned char)(too_large || (size != 0.0 && size < one->smallest));
    return *beyond ? 0.0 : size;
}

/* Values of a cluster become deviations from its mean; their products with other columns and themselves. */
INLINE void centre_cluster(const column *one, Py_ssize_t c) {
    int64_t members = one->members[c];
    Py_ssize_t row = one->start[c];
    double *values = PART(one->deviation, row, members), anchor = values[0], nothing = one->nothing[c], sum = 0.0;
    for (int64_t i = 0; i < members; i++) {
        double difference = values[i] - anchor;
        values[i] = fabs(difference) <= nothing ? 0.0 : difference;
        sum += values[i];
    }
    double shift = one->shift[c] = sum / (double)members, squares = 0.0;
    for (int64_t i = 0; i < members; i++) {
        values[i] -= shift;
        squares += values[i] * values[i];
    }
    if (one->products == NULL) return;
    AT(one->products, one->others * one->clusters + c) = squares;
    for (Py_ssize_t k = 0; k < one->others; k++) {
        const double *other = PART(one->other, k * one->rows + row, members);
        double product = 0.0;
        for (int64_t i = 0; i < members; i++) product += values[i] * other[i];
        AT(one->products, k * one->clusters + c) = product;
    }
}

/* The same of LANES clusters of one size side by side. */
INLINE void centre_alike(const column *one, const int64_t *c) {
    int64_t members = one->members[c[0]];
    double *values[LANES];
    lanes own[SIZES], anchor = {0}, nothing = {0}, sum = {0}, squares = {0};
    EACH(l) {
        values[l] = PART(one->deviation, one->start[c[l]], members);
        anchor[l] = values[l][0], nothing[l] = one->nothing[c[l]];
    }
    for (int64_t i = 0; i < members; i++) {
        lanes value = {0};
        EACH(l) value[l] = values[l][i];
        lanes difference = value - anchor;
        own[i] = chosen(size_of(difference) <= nothing, all(0.0), difference);
        sum += own[i];
    }
    lanes shift = sum / (double)members;
    for (int64_t i = 0; i < members; i++) {
        own[i] -= shift;
        EACH(l) values[l][i] = own[i][l];
        squares += own[i] * own[i];
    }
    EACH(l) one->shift[c[l]] = shift[l];
    if (one->products == NULL) return;
    EACH(l) AT(one->products, one->others * one->clusters + c[l]) = squares[l];
    for (Py_ssize_t k = 0; k < one->others; k++) {
        const double *other[LANES];
        lanes product = {0}, beside = {0};
        EACH(l) other[l] = PART(one->other, k * one->rows + one->start[c[l]], members);
        for (int64_t i = 0; i < members; i++) {
            EACH(l) beside[l] = other[l][i];
            product += own[i] * beside;
        }
        EACH(l) AT(one->products, k * one->clusters + c[l]) = product[l];
    }
}

/* Centre clusters from `from` to below `to`, those of a size together. */
INLINE void centre_clusters(const column *one, Py_ssize_t from, Py_ssize_t to) {
    sort_by_size(one, from, to);
    for (Py_ssize_t k = from; k < to;) {
        const int64_t *c = one->order + k;
        int64_t members = one->members[c[0]];
        if (k + LANES <= to && members < SIZES - 1 && one->members[c[LANES - 1]] == members) { /* and so all between */
            centre_alike(one, c);
            k += LANES;
        } else {
            centre_cluster(one, c[0]);
            k++;
        }
    }
}

/* Rows `row` onwards of a trial: the values, from which deviations are made in their place. */
INLINE void take_values(const column *one, Py_ssize_t row, int64_t rows) {
    double *to = PART(one->deviation, row, rows);
    if (one->at == NULL) memcpy(to, PART(one->values, row, rows), (size_t)rows * sizeof(double));
    else
        for (int64_t i = 0; i < rows; i++) to[i] = AT(one->values, one->at[row + i]);
}

/* The values of one trial, clusters `from` to below `to`, of which so many rows begin at one: first values stand in means. */
INLINE void begin_trial(const column *one, Py_ssize_t from, Py_ssize_t to, Py_ssize_t row, int64_t rows) {
    unsigned char *beyond = PART(one->beyond, AT(one->trial, from), 1);
    take_values(one, row, rows);
    double nothing = one->rounding * size_of_values(one, PART(one->deviation, row, rows), rows, beyond);
    if (*beyond) memset(PART(one->deviation, row, rows), 0, (size_t)rows * sizeof(double));
    for (Py_ssize_t c = from; c < to; row += AT(one->members, c++))
        one->start[c] = row, one->nothing[c] = nothing, AT(one->means, c) = one->deviation[row];
}

/* Its means, once it is known how much they are more than first values. */
INLINE void end_trial(const column *one, Py_ssize_t from, Py_ssize_t to) {
    double *means = one->means, *shift = one->shift, largest = 0.0, total = 0.0;
    int64_t rows = 0;
    if (!one->measured) {
        for (Py_ssize_t c = from; c < to; c++) means[c] += shift[c];
        return;
    }
    double anchor = means[from];
    for (Py_ssize_t c = from; c < to; c++) {
        largest = fabs(means[c]) > largest ? fabs(means[c]) : largest;
        means[c] = means[c] - anchor + shift[c];
        total += means[c] * (double)one->members[c], rows += one->members[c];
    }
    double mean = total / (double)rows;
    for (Py_ssize_t c = from; c < to; c++) {
        double difference = means[c] - mean;
        means[c] = fabs(difference) <= one->rounding * largest ? 0.0 : difference;
    }
    AT(one->center, one->trial[from]) = anchor + mean;
}

/* The first cluster of the trial after the one of cluster c, and the rows between. */
INLINE Py_ssize_t after_trial(const column *one, Py_ssize_t c, int64_t *rows) {
    int64_t trial = one->trial[c];
    for (*rows = 0; c < one->clusters && one->trial[c] == trial; c++) *rows += one->members[c];
    return c;
}

VECTORISED static void centre(const column *one) {
    Py_ssize_t row = 0;
    for (Py_ssize_t from = 0, to = 0; from < one->clusters; from = to) {
        int64_t rows;
        while (to < one->clusters && to - from < TOGETHER) {
            Py_ssize_t next = after_trial(one, to, &rows);
            begin_trial(one, to, next, row, rows);
            to = next, row += rows;
        }
        centre_clusters(one, from, to);
        for (Py_ssize_t c = from, next; c < to; c = next) {
            next = after_trial(one, c, &rows);
            end_trial(one, c, next);
        }
    }
}

/* Rows: as many as there are values, or each with its place among them. */
static int are_rows(const array *values, const array *at, const array *deviation) {
    if (deviation->shape[0] == 0 || (at->shape[0] == 0 && values->shape[0] == deviation->shape[0])) return 1;
    if (at->shape[0] == deviation->shape[0]) return are_places(at, values->shape[0]);
    PyErr_SetString(PyExc_ValueError, "at: the place of every row among the values is wanted, or none");
    return 0;
}

PyObject *core_centred(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { VALUES, ROWS, MEMBERS, TRIAL, OTHERS, MEANS, DEVIATION, CENTER, BEYOND, PRODUCTS, END, MORE = 4 };
    array a[] = {IN("values", FLOATS), IN("at", INTS), IN("members", INTS), IN("trial", INTS), IN("others", FLOATS),
                 OUT("means", FLOATS), OUT("deviation", FLOATS), OUT("center", FLOATS), OUT("beyond", BOOLS),
                 OUT("products", FLOATS)};
    PyObject *result = NULL;
    double *room = NULL;
    if (number != END + MORE) return PyErr_Format(PyExc_TypeError, "centred takes %d arguments", END + MORE), NULL;
    column one = {.measured = PyObject_IsTrue(given[MEANS])};
    one.rounding = PyFloat_AsDouble(given[MEANS + 1]);
    one.smallest = PyFloat_AsDouble(given[MEANS + 2]), one.largest = PyFloat_AsDouble(given[MEANS + 3]);
    if (PyErr_Occurred()) return NULL;
    for (int k = 0; k < END; k++) a[k].dimensions = 1, a[k].shape[0] = -1;
    if (!take_arrays(a, TRIAL, given)) goto end;
    a[TRIAL].shape[0] = a[MEANS].shape[0] = a[MEMBERS].shape[0];
    a[OTHERS].dimensions = a[PRODUCTS].dimensions = 2, a[OTHERS].shape[1] = -1;
    if (!take_arrays(a + TRIAL, 2, given + TRIAL)) goto end;
    a[DEVIATION].shape[0] = a[OTHERS].shape[1];
    if (!take_arrays(a + MEANS, 3, given + MEANS + MORE)) goto end;
    a[BEYOND].shape[0] = a[CENTER].shape[0], a[PRODUCTS].shape[1] = a[MEMBERS].shape[0];
    if (!take_arrays(a + BEYOND, 2, given + BEYOND + MORE)) goto end;
    if (a[PRODUCTS].shape[0] != 0 && a[PRODUCTS].shape[0] != a[OTHERS].shape[0] + 1) {
        PyErr_SetString(PyExc_ValueError, "products: a row is wanted for each other column and one more, or none");
        goto end;
    }
    if (!are_rows(&a[VALUES], &a[ROWS], &a[DEVIATION])) goto end;
    if (!are_members(&a[MEMBERS], a[DEVIATION].shape[0]) || !are_places(&a[TRIAL], a[CENTER].shape[0])) goto end;
    one.clusters = a[MEMBERS].shape[0], one.values = a[VALUES].at, one.members = a[MEMBERS].at, one.trial = a[TRIAL].at;
    one.at = a[ROWS].shape[0] ? a[ROWS].at : NULL;
    one.means = a[MEANS].at, one.deviation = a[DEVIATION].at, one.center = a[CENTER].at, one.beyond = a[BEYOND].at;
    one.others = a[OTHERS].shape[0], one.rows = a[DEVIATION].shape[0], one.other = a[OTHERS].at;
    one.products = a[PRODUCTS].shape[0] ? a[PRODUCTS].at : NULL;
    room = room_for(one.clusters, 4);
    if (room == NULL) goto end;
    one.shift = room, one.nothing = room + one.clusters;
    one.start = (int64_t *)(one.nothing + one.clusters), one.order = one.start + one.clusters;
    Py_BEGIN_ALLOW_THREADS
    centre(&one);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free(room);
    release_arrays(a, END);
    return result;
}
