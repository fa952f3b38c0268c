/* Twins of `leverage` and `leverage_in_bases` in simtrial/kernels/sandwich.py for clusters of one or two rows: those of a
   trial side by side. */
#include "in_bases.h"
#include "kernels.h"

#include <math.h>
#include <stdlib.h>

#define SINGULAR 1e-9

typedef struct {
    Py_ssize_t trials, positions;
    int k, p;
    double power; /* 0, -0.5 or -1 */
    const double *rows, *inverse, *contrast; /* rows: NULL where clusters are in bases */
    in_bases in;
    int only; /* the column that has a second row there */
    double *weights, *df;
    unsigned char *singular;
} design;

typedef struct {
    double *lower, *moved, *room; /* L and M l of one trial; all room */
    lanes *rows, *turned, *g, *squares;
} workplace;

/* A^power of one eigenvalue, 0 where it is none. */
INLINE lanes power_of(lanes value, double power, choice *none) {
    *none = value < SINGULAR;
    lanes safe = chosen(*none, all(1.0), value);
    lanes found = power == -0.5 ? 1.0 / square_root(safe) : power == -1.0 ? 1.0 / safe : all(1.0);
    return chosen(*none, all(0.0), found);
}

/* Adjust the weights w of LANES clusters, of one or two rows, by (I - K)^power; where an eigenvalue is zero. */
INLINE choice adjust(int k, const lanes *restrict rest, lanes *restrict w, double power) {
    choice none, other;
    if (k == 1) {
        lanes scale = power_of(rest[0], power, &none);
        if (power != 0.0) w[0] *= scale;
        return none;
    }
    lanes a = rest[0], b = rest[1], d = rest[2], apart = 0.5 * (a - d), middle = 0.5 * (a + d);
    lanes half = square_root(apart * apart + b * b), low = middle - half;
    lanes f_high = power_of(middle + half, power, &none), f_low = power_of(low, power, &other);
    choice two = half > 0.0;
    lanes slope = chosen(two, (f_high - f_low) / chosen(two, 2.0 * half, all(1.0)), all(0.0));
    lanes more = f_low - slope * low, w0 = w[0], w1 = w[1];
    if (power != 0.0) {
        w[0] = (slope * a + more) * w0 + slope * b * w1;
        w[1] = slope * b * w0 + (slope * d + more) * w1;
    }
    return none | other;
}

/* Lower factor of M = LL' of one trial, 0 in columns that the others determine; and M l. */
static void factor(const design *d, workplace *w, Py_ssize_t trial) {
    int p = d->p;
    double *restrict lower = w->lower;
    for (int j = 0; j < p; j++) {
        w->moved[j] = 0.0;
        for (int i = 0; i < p; i++) {
            double entry = AT(d->inverse, (i * p + j) * d->trials + trial);
            lower[i * p + j] = entry;
            w->moved[j] += AT(d->contrast, i * d->trials + trial) * entry;
        }
    }
    for (int j = 0; j < p; j++) {
        double left = lower[j * p + j];
        for (int k = 0; k < j; k++) left -= lower[j * p + k] * lower[j * p + k];
        double pivot = left > 0.0 ? sqrt(left) : left - left; /* 0, or what is no number */
        lower[j * p + j] = pivot;
        for (int i = j + 1; i < p; i++) {
            double entry = lower[i * p + j];
            for (int k = 0; k < j; k++) entry -= lower[i * p + k] * lower[j * p + k];
            lower[i * p + j] = left > 0.0 ? entry / pivot : 0.0;
        }
    }
}

/* A row by L, and by M l. */
INLINE lanes turn(const workplace *w, const lanes *restrict row, lanes *restrict turned, int p) {
    lanes weight = {0};
    for (int i = 0; i < p; i++) {
        lanes sum = {0};
        for (int j = i; j < p; j++) sum += row[j] * w->lower[j * p + i];
        turned[i] = sum, weight += row[i] * w->moved[i];
    }
    return weight;
}

/* The same of a row with one number that is not 0. */
INLINE lanes turn_one(const workplace *w, lanes number, int at, lanes *restrict turned, int p) {
    for (int i = 0; i < p; i++) turned[i] = i <= at ? number * w->lower[at * p + i] : all(0.0);
    return number * w->moved[at];
}

/* Clusters of one trial, from `first_cluster` on. */
INLINE void weigh_clusters(const design *d, workplace *w, Py_ssize_t trial, Py_ssize_t first_cluster, Py_ssize_t clusters,
                           int p, int k, int laid_out) {
    choice zeros = {0};
    lanes first = {0}, second = {0}, weight[2], rest[3];
    lanes *restrict turned = w->turned, *restrict rows = w->rows, *restrict g = w->g, *restrict squares = w->squares;
    factor(d, w, trial);
    for (int i = 0; i < p * (p + 1) / 2; i++) squares[i] = all(0.0);
    for (Py_ssize_t at = 0; at < clusters; at += LANES) {
        int filled = clusters - at < LANES ? (int)(clusters - at) : LANES;
        if (laid_out) {
            load_clusters(rows, PART(d->rows, (trial * d->positions + at) * k * p, filled * k * p), k * p, filled);
            for (int r = 0; r < k; r++) weight[r] = turn(w, rows + r * p, turned + r * p, p);
        } else {
            lanes root = root_of_sizes(&d->in, first_cluster + at, filled);
            for (int i = 0; i < p; i++) rows[i] = root * load_column(&d->in, i, first_cluster + at, filled);
            weight[0] = turn(w, rows, turned, p);
            if (k == 2) weight[1] = turn_one(w, load_along(&d->in, 0, first_cluster + at, filled), d->only, turned + p, p);
        }
        for (int r = 0, e = 0; r < k; r++)
            for (int s = r; s < k; s++, e++) {
                lanes sum = {0};
                for (int i = 0; i < p; i++) sum += turned[r * p + i] * turned[s * p + i];
                rest[e] = (r == s ? 1.0 : 0.0) - sum;
            }
        zeros |= adjust(k, rest, weight, d->power);
        lanes length = {0}, hat = {0};
        for (int r = 0; r < k; r++) {
            length += weight[r] * weight[r];
            for (int l = 0; l < filled; l++) AT(d->weights, ((trial * d->positions + at) + l) * k + r) = weight[r][l];
        }
        for (int i = 0, e = 0; i < p; i++) {
            g[i] = weight[0] * turned[i];
            if (k == 2) g[i] += weight[1] * turned[p + i];
            hat += g[i] * g[i];
            for (int j = 0; j <= i; j++, e++) squares[e] += g[i] * g[j];
        }
        first += length - hat;
        second += length * length - 2.0 * length * hat;
    }
    double one = 0.0, two = 0.0, trace = 0.0;
    EACH(l) one += first[l], two += second[l];
    for (int i = 0, e = 0; i < p; i++)
        for (int j = 0; j <= i; j++, e++) {
            double sum = 0.0;
            EACH(l) sum += squares[e][l];
            trace += (i == j ? 1.0 : 2.0) * sum * sum;
        }
    AT(d->df, trial) = one * one / (two + trace);
    AT(d->singular, trial) = (unsigned char)any_of(zeros);
}

/* A call with a number of columns that the compiler knows, so that it lays out short loops without one: for numbers that
   are common, and once for any other. The same steps in the same order. */
#define FOR_COLUMNS(columns, CALL)                                                                                      \
    switch (columns) {                                                                                                  \
    case 4: CALL(4); break;                                                                                             \
    case 5: CALL(5); break;                                                                                             \
    case 6: CALL(6); break;                                                                                             \
    case 7: CALL(7); break;                                                                                             \
    case 8: CALL(8); break;                                                                                             \
    default: CALL(columns);                                                                                             \
    }

VECTORISED
static void of_trial(const design *d, workplace *w, Py_ssize_t trial, Py_ssize_t first_cluster, Py_ssize_t clusters) {
#define OF_TWO(p) weigh_clusters(d, w, trial, first_cluster, clusters, p, 2, 0)
    if (d->rows != NULL) weigh_clusters(d, w, trial, first_cluster, clusters, d->p, d->k, 1);
    else if (d->k != 2) weigh_clusters(d, w, trial, first_cluster, clusters, d->p, d->k, 0);
    else FOR_COLUMNS(d->p, OF_TWO)
#undef OF_TWO
}

static int make_workplace(workplace *w, const design *d) {
    Py_ssize_t p = d->p, k = d->k;
    w->room = room_for(LANES * (2 * k * p + p + p * (p + 1) / 2) + p * p + p, 1);
    if (w->room == NULL) return 0;
    w->rows = (lanes *)w->room;
    w->turned = w->rows + k * p;
    w->g = w->turned + k * p;
    w->squares = w->g + p;
    w->lower = (double *)(w->squares + p * (p + 1) / 2);
    w->moved = w->lower + p * p;
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
    for (Py_ssize_t trial = 0; trial < trials; trial++) of_trial(&d, &w, trial, 0, positions);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free(w.room);
    release_arrays(a, END);
    return result;
}

static void of_all_trials(const design *d, workplace *w, const int64_t *trial) {
    Py_ssize_t first = 0, each = d->positions * d->k;
    for (Py_ssize_t t = 0; t < d->trials; t++) {
        Py_ssize_t clusters = clusters_of(trial, d->in.clusters, first, t), taken = clusters * d->k;
        for (Py_ssize_t i = taken; i < each; i++) AT(d->weights, t * each + i) = 0.0;
        of_trial(d, w, t, first, clusters);
        first += clusters;
    }
}

PyObject *core_leverage_in_bases(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { MEANS, SIZES, ALONG, TRIAL, INVERSE, CONTRAST, WEIGHTS, DF, IS_SINGULAR, END, MORE = 2 };
    array a[] = {IN_BASES, IN("trial", INTS), IN("inverse", FLOATS), IN("contrast", FLOATS), OUT("weights", FLOATS),
                 OUT("df", FLOATS), OUT("singular", BOOLS)};
    static const int dimensions[] = {2, 1, 2, 1, 3, 2, 3, 1, 1};
    PyObject *result = NULL;
    workplace w = {0};
    if (number != END + MORE) return PyErr_Format(PyExc_TypeError, "leverage_in_bases takes %d arguments", END + MORE), NULL;
    long only = PyLong_AsLong(given[WEIGHTS]);
    if (only == -1 && PyErr_Occurred()) return NULL;
    double power = PyFloat_AsDouble(given[WEIGHTS + 1]);
    if (power == -1.0 && PyErr_Occurred()) return NULL;
    if (power != 0.0 && power != -0.5 && power != -1.0)
        return PyErr_SetString(PyExc_ValueError, "power: 0, -0.5 or -1 is wanted"), NULL;
    for (int i = 0; i < END; i++) a[i].dimensions = dimensions[i];
    a[MEANS].shape[0] = a[MEANS].shape[1] = a[ALONG].shape[0] = a[WEIGHTS].shape[0] = a[WEIGHTS].shape[1] = -1;
    if (!take_array(&a[MEANS], given[MEANS])) goto end;
    Py_ssize_t p = a[MEANS].shape[0], clusters = a[MEANS].shape[1];
    a[SIZES].shape[0] = a[ALONG].shape[1] = a[TRIAL].shape[0] = clusters;
    if (!take_arrays(a + SIZES, 3, given + SIZES)) goto end;
    Py_ssize_t k = a[ALONG].shape[0] + 1;
    if (k > 2 || p < 1 || p > 1000 || only < -1 || only >= p || (k == 2 && only < 0)) {
        PyErr_SetString(PyExc_ValueError, "means, along: one column at most is wanted along a direction, and one at least");
        goto end;
    }
    a[WEIGHTS].shape[2] = k;
    if (!take_array(&a[WEIGHTS], given[WEIGHTS + MORE])) goto end;
    Py_ssize_t trials = a[WEIGHTS].shape[0], positions = a[WEIGHTS].shape[1];
    a[INVERSE].shape[0] = a[INVERSE].shape[1] = a[CONTRAST].shape[0] = p;
    a[INVERSE].shape[2] = a[CONTRAST].shape[1] = a[DF].shape[0] = a[IS_SINGULAR].shape[0] = trials;
    if (!take_arrays(a + INVERSE, 2, given + INVERSE) || !take_arrays(a + DF, 2, given + DF + MORE)) goto end;
    if (!are_clusters(&a[TRIAL], trials, positions)) goto end;
    design d = {.trials = trials, .positions = positions, .k = (int)k, .p = (int)p, .power = power, .only = (int)only,
                .inverse = a[INVERSE].at, .contrast = a[CONTRAST].at, .weights = a[WEIGHTS].at, .df = a[DF].at,
                .singular = a[IS_SINGULAR].at};
    d.in = (in_bases){clusters, a[MEANS].at, a[SIZES].at, a[ALONG].at};
    if (!make_workplace(&w, &d)) goto end;
    Py_BEGIN_ALLOW_THREADS
    of_all_trials(&d, &w, a[TRIAL].at);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free(w.room);
    release_arrays(a, END);
    return result;
}
