/* Twin of `leverage` in simtrial/kernels/sandwich.py for clusters of one or two rows: those of a trial side by side. */
#include "kernels.h"
#include "lanes.h"

#include <math.h>
#include <stdlib.h>

#define SINGULAR 1e-9

typedef struct {
    Py_ssize_t trials, positions;
    int k, p;
    double power; /* 0, -0.5 or -1 */
    const double *rows, *inverse, *contrast;
    double *weights, *df;
    unsigned char *singular;
} design;

typedef struct {
    double *m, *c, *room; /* M and l of one trial; all room */
    lanes *rows, *moved, *h, *turned, *squares;
} workplace;

/* A^power of one eigenvalue, 0 where it is none, and the count of those. */
INLINE double power_of(double value, double power, int *zeros) {
    int none = value < SINGULAR;
    double safe = none ? 1.0 : value;
    double found = power == -0.5 ? 1.0 / sqrt(safe) : power == -1.0 ? 1.0 / safe : 1.0;
    *zeros += none;
    return none ? 0.0 : found;
}

/* Adjust the weights w of LANES clusters, of one or two rows, by (I - K)^power; the number of zero eigenvalues. */
INLINE int adjust(int k, lanes *restrict rest, lanes *restrict w, double power) {
    int zeros = 0;
    if (k == 1) {
        EACH(l) {
            double a = power_of(rest[0][l], power, &zeros);
            if (power != 0.0) w[0][l] *= a;
        }
        return zeros;
    }
    EACH(l) {
        double a = rest[0][l], b = rest[1][l], d = rest[2][l], apart = 0.5 * (a - d);
        double middle = 0.5 * (a + d), half = sqrt(apart * apart + b * b), low = middle - half;
        double f_high = power_of(middle + half, power, &zeros), f_low = power_of(low, power, &zeros);
        double slope = half > 0.0 ? (f_high - f_low) / (half > 0.0 ? 2.0 * half : 1.0) : 0.0;
        double more = f_low - slope * low, w0 = w[0][l], w1 = w[1][l];
        if (power != 0.0) {
            w[0][l] = (slope * a + more) * w0 + slope * b * w1;
            w[1][l] = slope * b * w0 + (slope * d + more) * w1;
        }
    }
    return zeros;
}

/* R_j of LANES clusters; past the end they are empty. */
INLINE void load_clusters(lanes *restrict to, const double *restrict from, int numbers, int filled) {
    EACH(l) for (int i = 0; i < numbers; i++) to[i][l] = l < filled ? from[l * numbers + i] : 0.0;
}

VECTORISED
static void of_trial(const design *d, workplace *w, Py_ssize_t trial) {
    int p = d->p, k = d->k, zeros = 0;
    lanes first = {0}, second = {0}, weight[2], rest[3];
    lanes *restrict moved = w->moved, *restrict rows = w->rows, *restrict h = w->h, *restrict squares = w->squares;
    for (int i = 0; i < p; i++) {
        w->c[i] = AT(d->contrast, i * d->trials + trial);
        for (int j = 0; j < p; j++) w->m[i * p + j] = AT(d->inverse, (i * p + j) * d->trials + trial);
    }
    for (int i = 0; i < p * p; i++) EACH(l) squares[i][l] = 0.0;
    for (Py_ssize_t at = 0; at < d->positions; at += LANES) {
        int filled = d->positions - at < LANES ? (int)(d->positions - at) : LANES;
        load_clusters(rows, PART(d->rows, (trial * d->positions + at) * k * p, filled * k * p), k * p, filled);
        for (int r = 0; r < k; r++) {
            EACH(l) weight[r][l] = 0.0;
            for (int i = 0; i < p; i++) {
                lanes sum = {0};
                for (int j = 0; j < p; j++) EACH(l) sum[l] += rows[r * p + j][l] * w->m[j * p + i];
                EACH(l) moved[r * p + i][l] = sum[l], weight[r][l] += sum[l] * w->c[i];
            }
        }
        for (int r = 0, e = 0; r < k; r++)
            for (int s = r; s < k; s++, e++) {
                lanes sum = {0};
                for (int i = 0; i < p; i++) EACH(l) sum[l] += moved[r * p + i][l] * rows[s * p + i][l];
                EACH(l) rest[e][l] = (r == s ? 1.0 : 0.0) - sum[l];
            }
        zeros += adjust(k, rest, weight, d->power);
        lanes length = {0}, hat = {0};
        for (int i = 0; i < p; i++) EACH(l) h[i][l] = 0.0;
        for (int r = 0; r < k; r++) {
            EACH(l) length[l] += weight[r][l] * weight[r][l];
            for (int i = 0; i < p; i++) EACH(l) h[i][l] += weight[r][l] * rows[r * p + i][l];
            for (int l = 0; l < filled; l++) AT(d->weights, ((trial * d->positions + at) + l) * k + r) = weight[r][l];
        }
        for (int i = 0; i < p; i++) {
            lanes sum = {0};
            for (int j = 0; j < p; j++) EACH(l) sum[l] += h[j][l] * w->m[j * p + i];
            EACH(l) hat[l] += sum[l] * h[i][l];
            for (int j = 0; j <= i; j++) EACH(l) squares[i * p + j][l] += h[i][l] * h[j][l];
        }
        EACH(l) first[l] += length[l] - hat[l];
        EACH(l) second[l] += length[l] * length[l] - 2.0 * length[l] * hat[l];
    }
    double one = 0.0, two = 0.0, trace = 0.0, *sums = (double *)w->turned, *product = (double *)w->moved;
    EACH(l) one += first[l], two += second[l];
    for (int i = 0; i < p; i++)
        for (int j = 0; j <= i; j++) {
            double sum = 0.0;
            EACH(l) sum += squares[i * p + j][l];
            sums[i * p + j] = sums[j * p + i] = sum;
        }
    for (int i = 0; i < p; i++)
        for (int j = 0; j < p; j++) {
            double sum = 0.0;
            for (int e = 0; e < p; e++) sum += w->m[i * p + e] * sums[e * p + j];
            product[i * p + j] = sum;
        }
    for (int i = 0; i < p; i++)
        for (int j = 0; j < p; j++) trace += product[i * p + j] * product[j * p + i];
    AT(d->df, trial) = one * one / (two + trace);
    AT(d->singular, trial) = (unsigned char)(zeros > 0);
}

static int make_workplace(workplace *w, const design *d) {
    Py_ssize_t p = d->p, k = d->k;
    w->room = room_for(LANES * (2 * k * p + p + 3 * p * p) + p * p + p, 1);
    if (w->room == NULL) return 0;
    w->rows = (lanes *)w->room;
    w->moved = w->rows + k * p;
    w->h = w->moved + k * p + p * p; /* moved holds a product of p x p matrices later on */
    w->turned = w->h + p;
    w->squares = w->turned + p * p;
    w->m = (double *)(w->squares + p * p);
    w->c = w->m + p * p;
    return 1;
}

PyObject *core_leverage(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { ROWS, INVERSE, CONTRAST, WEIGHTS, DF, IS_SINGULAR, END };
    array a[] = {
        {.name = "rows", .dimensions = 4, .shape = {-1, -1, -1, -1}},
        {.name = "inverse", .dimensions = 3},
        {.name = "contrast", .dimensions = 2},
        {.name = "weights", .writable = 1, .dimensions = 3},
        {.name = "df", .writable = 1, .dimensions = 1},
        {.name = "singular", .kind = BOOLS, .writable = 1, .dimensions = 1},
    };
    PyObject *result = NULL;
    workplace w = {0};
    if (number != END + 1) return PyErr_Format(PyExc_TypeError, "leverage takes %d arguments", END + 1), NULL;
    double power = PyFloat_AsDouble(given[WEIGHTS]);
    if (power == -1.0 && PyErr_Occurred()) return NULL;
    if (power != 0.0 && power != -0.5 && power != -1.0)
        return PyErr_SetString(PyExc_ValueError, "power: 0, -0.5 or -1 is wanted"), NULL;
    if (!take_array(&a[ROWS], given[ROWS])) goto end;
    Py_ssize_t trials = a[ROWS].shape[0], positions = a[ROWS].shape[1], k = a[ROWS].shape[2], p = a[ROWS].shape[3];
    if (k < 1 || k > 2 || p < 1 || p > 1000) {
        PyErr_SetString(PyExc_ValueError, "rows: clusters of one or two rows are wanted, and at least one column");
        goto end;
    }
    a[INVERSE].shape[0] = a[INVERSE].shape[1] = a[CONTRAST].shape[0] = p;
    a[INVERSE].shape[2] = a[CONTRAST].shape[1] = a[WEIGHTS].shape[0] = a[DF].shape[0] = a[IS_SINGULAR].shape[0] = trials;
    a[WEIGHTS].shape[1] = positions, a[WEIGHTS].shape[2] = k;
    if (!take_arrays(a + INVERSE, 2, given + INVERSE) || !take_arrays(a + WEIGHTS, 3, given + WEIGHTS + 1)) goto end;
    design d = {.trials = trials, .positions = positions, .k = (int)k, .p = (int)p, .power = power, .rows = a[ROWS].at,
                .inverse = a[INVERSE].at, .contrast = a[CONTRAST].at, .weights = a[WEIGHTS].at, .df = a[DF].at,
                .singular = a[IS_SINGULAR].at};
    if (!make_workplace(&w, &d)) goto end;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t trial = 0; trial < trials; trial++) of_trial(&d, &w, trial);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free(w.room);
    release_arrays(a, END);
    return result;
}
