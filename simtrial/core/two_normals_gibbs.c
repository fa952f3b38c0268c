/* Twin of the sweep of simtrial/kernels/two_normals_gibbs.py, whose head has the model: one trial after the other. */
#include "kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct { double a, b, c; } symmetric; /* a b; b c */
typedef struct { double a, b, c; } lower;     /* a 0; b c */

typedef struct {
    Py_ssize_t trials, columns, places, rows, varying, first_gaps, second_gaps;
    /* as Layout has them */
    const double *inverse, *root, *kept, *x_means, *sizes, *inner, *seen_inside, *seen_sums, *seen_squares;
    const int64_t *place, *trial, *varies;
    const char *missing;
    /* where the chain is, and random numbers of one sweep */
    double *effects, *residual, *between, *cells;
    const double *for_beta, *for_residual, *for_between, *for_effects, *for_first, *for_second;
    double residual_scale, between_scale;
    double *room;
} chain;

static lower root_of(symmetric one) {
    lower out;
    out.a = sqrt(one.a);
    out.b = one.b / out.a;
    out.c = sqrt(one.c - out.b * out.b);
    return out;
}

static lower inverse_of(lower one) {
    lower out;
    out.a = 1.0 / one.a;
    out.c = 1.0 / one.c;
    out.b = -one.b * out.a * out.c;
    return out;
}

/* Bartlett: with S = RR' and A lower, W = R'^-1 A A' R^-1 is Wishart with scale S^-1; its inverse (R A'^-1)(R A'^-1)'. */
static symmetric inverse_wishart(symmetric squares, double scale, const double *numbers, Py_ssize_t trials) {
    lower drawn = {sqrt(2.0 * numbers[0]), numbers[2 * trials], sqrt(2.0 * numbers[trials])};
    squares.a += scale, squares.c += scale;
    lower r = root_of(squares), i = inverse_of(drawn);
    double x = r.a * i.a, y = r.a * i.b, z = r.b * i.a, w = r.b * i.b + r.c * i.c;
    return (symmetric){x * x + y * y, x * z + y * w, z * z + w * w};
}

/* Sums of products of two rows of numbers, always in the same four partial sums: vectors without any reordering. */
INLINE double dot(const double *restrict one, const double *restrict other, Py_ssize_t count) {
    double sums[4] = {0.0, 0.0, 0.0, 0.0};
    Py_ssize_t j = 0;
    for (; j + 4 <= count; j += 4)
        for (int l = 0; l < 4; l++) sums[l] += one[j + l] * other[j + l];
    for (int l = 0; j < count; j++, l++) sums[l] += one[j] * other[j];
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/* Practice effects, where both covariances are diagonal; 0 in empty places. */
INLINE void draw_effects(const chain *own, Py_ssize_t t, const double *restrict left, symmetric residual, symmetric between) {
    Py_ssize_t J = own->places;
    lower root = root_of(residual), into = inverse_of(root);
    double x = into.a * between.a, y = into.a * between.b;
    double z = into.b * between.a + into.c * between.b, w = into.b * between.b + into.c * between.c;
    symmetric turned = {x * into.a, x * into.b + y * into.c, z * into.b + w * into.c};
    double half = 0.5 * (turned.a + turned.c), apart = hypot(0.5 * (turned.a - turned.c), turned.b);
    double large = half + apart, small = (turned.a * turned.c - turned.b * turned.b) / large;
    if (small < 2.2250738585072014e-308) small = 2.2250738585072014e-308;
    double angle = 0.5 * atan2(2.0 * turned.b, turned.a - turned.c), c = cos(angle), s = sin(angle);
    double over[2] = {1.0 / large, 1.0 / small};
    /* rows of V' into, and of root V with V = (c, -s; s, c) */
    double turn[2][2] = {{c * into.a + s * into.b, s * into.c}, {-s * into.a + c * into.b, c * into.c}};
    double back[2][2] = {{root.a * c, -root.a * s}, {root.b * c + root.c * s, -root.b * s + root.c * c}};
    const double *n = PART(own->sizes, t * J, J), *noise = PART(own->for_effects, t * 2 * J, 2 * J);
    double *u = PART(own->effects, t * 2 * J, 2 * J);
    for (Py_ssize_t j = 0; j < J; j++) {
        double drawn[2];
        for (int k = 0; k < 2; k++) {
            double variance = 1.0 / (n[j] + over[k]);
            drawn[k] = (turn[k][0] * left[j] + turn[k][1] * left[J + j]) * variance + sqrt(variance) * noise[k * J + j];
            drawn[k] *= n[j] > 0.0 ? 1.0 : 0.0;
        }
        u[j] = back[0][0] * drawn[0] + back[0][1] * drawn[1];
        u[J + j] = back[1][0] * drawn[0] + back[1][1] * drawn[1];
    }
}

/* Missing cells of a trial's people: the first given the second where that is there, then the second given the first. */
static void draw_cells(const chain *own, Py_ssize_t from, Py_ssize_t until, const double *fitted, Py_ssize_t base,
                       const double *beta, symmetric residual, Py_ssize_t *first, Py_ssize_t *second) {
    Py_ssize_t J = own->places, R = own->rows;
    double whole = sqrt(residual.a), left = sqrt(residual.a - residual.b * residual.b / residual.c);
    double last = sqrt(residual.c - residual.b * residual.b / residual.a);
    double slopes[2] = {residual.b / residual.c, residual.b / residual.a};
    for (Py_ssize_t r = from; r < until; r++) {
        Py_ssize_t j = AT(own->place, r) - base;
        double mean[2] = {fitted[j], fitted[J + j]}, *cell[2] = {PART(own->cells, r, 1), PART(own->cells, R + r, 1)};
        for (Py_ssize_t v = 0; v < own->varying; v++) {
            double inner = AT(own->inner, v * R + r);
            for (int k = 0; k < 2; k++) mean[k] += inner * beta[AT(own->varies, v) * 2 + k];
        }
        int gap[2] = {AT(own->missing, r) != 0, AT(own->missing, R + r) != 0};
        if (gap[0]) {
            double given = gap[1] ? 0.0 : slopes[0] * (*cell[1] - mean[1]);
            *cell[0] = mean[0] + given + (gap[1] ? whole : left) * AT(own->for_first, *first);
            ++*first;
        }
        if (gap[1]) {
            *cell[1] = mean[1] + slopes[1] * (*cell[0] - mean[0]) + last * AT(own->for_second, *second);
            ++*second;
        }
    }
}

VECTORISED static void sweep_all(const chain *own) {
    Py_ssize_t T = own->trials, p = own->columns, J = own->places, R = own->rows, row = 0, first = 0, second = 0;
    double *sums = own->room, *other = sums + 2 * J, *d = other + 2 * J, *best = d + 2 * p, *away = best + 2 * p;
    double *beta = away + 2 * p;
    for (Py_ssize_t t = 0; t < T; t++) {
        const double *x = PART(own->x_means, t * p * J, p * J), *n = PART(own->sizes, t * J, J);
        double *u = PART(own->effects, t * 2 * J, 2 * J), squares[3];
        Py_ssize_t from = row, base = t * J;
        memcpy(sums, PART(own->seen_sums, t * 2 * J, 2 * J), 2 * J * sizeof(double));
        memcpy(d, PART(own->seen_inside, t * 2 * p, 2 * p), 2 * p * sizeof(double));
        const double *seen = PART(own->seen_squares, t * 4, 4);
        squares[0] = seen[0], squares[1] = seen[1], squares[2] = seen[3];
        for (; row < R && AT(own->trial, row) == t; row++) {
            double one = AT(own->cells, row), two = AT(own->cells, R + row);
            Py_ssize_t j = AT(own->place, row) - base;
            sums[j] += one, sums[J + j] += two;
            squares[0] += one * one, squares[1] += one * two, squares[2] += two * two;
            for (Py_ssize_t v = 0; v < own->varying; v++) {
                double inner = AT(own->inner, v * R + row);
                d[AT(own->varies, v) * 2] += inner * one, d[own->varies[v] * 2 + 1] += inner * two;
            }
        }
        for (int k = 0; k < 2; k++)
            for (Py_ssize_t j = 0; j < J; j++) other[k * J + j] = sums[k * J + j] - n[j] * u[k * J + j];
        for (Py_ssize_t i = 0; i < p; i++)
            for (int k = 0; k < 2; k++) d[i * 2 + k] += dot(x + i * J, other + k * J, J);
        const double *was = PART(own->residual, t * 4, 4), *kept = PART(own->kept, t * p, p);
        const double *z = PART(own->for_beta, t * 2 * p, 2 * p);
        lower spread = root_of((symmetric){was[0], was[1], was[3]});
        const double *inverse = PART(own->inverse, t * p * p, p * p), *root = PART(own->root, t * p * p, p * p);
        for (Py_ssize_t i = 0; i < p; i++) {
            away[i * 2] = z[i * 2] * kept[i] * spread.a;
            away[i * 2 + 1] = z[i * 2] * kept[i] * spread.b + z[i * 2 + 1] * kept[i] * spread.c;
        }
        symmetric rest = {squares[0], squares[1], squares[2]}, shared = {0.0, 0.0, 0.0};
        for (Py_ssize_t i = 0; i < p; i++)
            for (int k = 0; k < 2; k++) {
                double total = 0.0, moved = 0.0;
                for (Py_ssize_t m = 0; m < p; m++) total += inverse[i * p + m] * d[m * 2 + k];
                for (Py_ssize_t m = 0; m <= i; m++) moved += root[i * p + m] * away[m * 2 + k];
                best[i * 2 + k] = total, beta[i * 2 + k] = total + moved;
            }
        for (int k = 0; k < 2; k++) /* n u / 2 less the sums, whose products with u make the rest of E'E */
            for (Py_ssize_t j = 0; j < J; j++) other[k * J + j] = 0.5 * n[j] * u[k * J + j] - sums[k * J + j];
        rest.a += 2.0 * dot(other, u, J);
        rest.b += dot(other, u + J, J) + dot(other + J, u, J);
        rest.c += 2.0 * dot(other + J, u + J, J);
        for (Py_ssize_t i = 0; i < p; i++) {
            double d0 = d[i * 2], d1 = d[i * 2 + 1], a0 = away[i * 2], a1 = away[i * 2 + 1];
            rest.a += a0 * a0 - d0 * best[i * 2];
            rest.b += a0 * a1 - d0 * best[i * 2 + 1];
            rest.c += a1 * a1 - d1 * best[i * 2 + 1];
        }
        shared.a = dot(u, u, J), shared.b = dot(u, u + J, J), shared.c = dot(u + J, u + J, J);
        symmetric residual = inverse_wishart(rest, own->residual_scale, PART(own->for_residual, t, 2 * T + 1), T);
        symmetric between = inverse_wishart(shared, own->between_scale, PART(own->for_between, t, 2 * T + 1), T);
        for (int k = 0; k < 2; k++) {
            double *fitted = other + k * J;
            for (Py_ssize_t j = 0; j < J; j++) fitted[j] = 0.0;
            for (Py_ssize_t i = 0; i < p; i++) {
                double b = beta[i * 2 + k];
                for (Py_ssize_t j = 0; j < J; j++) fitted[j] += b * x[i * J + j];
            }
            for (Py_ssize_t j = 0; j < J; j++) sums[k * J + j] -= n[j] * fitted[j];
        }
        draw_effects(own, t, sums, residual, between);
        for (Py_ssize_t j = 0; j < 2 * J; j++) other[j] += u[j];
        draw_cells(own, from, row, other, base, beta, residual, &first, &second);
        double *now = PART(own->residual, t * 4, 4), *psi = PART(own->between, t * 4, 4);
        now[0] = residual.a, now[1] = now[2] = residual.b, now[3] = residual.c;
        psi[0] = between.a, psi[1] = psi[2] = between.b, psi[3] = between.c;
    }
}

/* Rows in the order of their trials, places of their own trial, and as many random numbers as there are gaps. */
static int rows_are_in_order(const chain *own) {
    Py_ssize_t first = 0, second = 0;
    for (Py_ssize_t r = 0; r < own->rows; r++) {
        int64_t t = own->trial[r];
        if (r > 0 && t < own->trial[r - 1]) return PyErr_SetString(PyExc_ValueError, "trial: rows are not in order"), 0;
        if (own->place[r] / own->places != t) return PyErr_SetString(PyExc_ValueError, "place: not of the row's trial"), 0;
        first += own->missing[r] != 0, second += own->missing[own->rows + r] != 0;
    }
    if (first != own->first_gaps || second != own->second_gaps)
        return PyErr_SetString(PyExc_ValueError, "for_first, for_second: not one number for each gap"), 0;
    return 1;
}

PyObject *core_one_sweep(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { INVERSE, ROOT, KEPT, X_MEANS, SIZES, PLACE, TRIAL, MISSING, VARYING, INNER, SEEN_INSIDE,
           SEEN_SUMS, SEEN_SQUARES, FOR_BETA, FOR_RESIDUAL, FOR_BETWEEN, FOR_EFFECTS, FOR_FIRST, FOR_SECOND, EFFECTS,
           RESIDUAL, BETWEEN, CELLS, END };
    array a[END] = {
        IN("inverse", FLOATS), IN("root", FLOATS), IN("kept", FLOATS), IN("x_means", FLOATS), IN("sizes", FLOATS),
        IN("place", INTS), IN("trial", INTS), IN("missing", BOOLS),
        IN("varying", INTS), IN("inner", FLOATS), IN("seen_inside", FLOATS), IN("seen_sums", FLOATS),
        IN("seen_squares", FLOATS), IN("for_beta", FLOATS), IN("for_residual", FLOATS), IN("for_between", FLOATS),
        IN("for_effects", FLOATS), IN("for_first", FLOATS), IN("for_second", FLOATS), OUT("effects", FLOATS),
        OUT("residual", FLOATS), OUT("between", FLOATS), OUT("cells", FLOATS),
    };
    chain own = {0};
    PyObject *result = NULL;
    if (number != END + 2) return PyErr_Format(PyExc_TypeError, "one_sweep takes %d arguments", END + 2), NULL;
    own.residual_scale = PyFloat_AsDouble(given[END]);
    own.between_scale = PyFloat_AsDouble(given[END + 1]);
    if (PyErr_Occurred()) return NULL;
    /* X means and rows say how many there are of everything */
    a[X_MEANS].dimensions = 3, a[MISSING].dimensions = 2, a[VARYING].dimensions = 1;
    for (int k = 0; k < 3; k++) a[X_MEANS].shape[k] = -1;
    a[MISSING].shape[0] = 2, a[MISSING].shape[1] = a[VARYING].shape[0] = -1;
    if (!take_array(&a[X_MEANS], given[X_MEANS]) || !take_array(&a[MISSING], given[MISSING]) ||
        !take_array(&a[VARYING], given[VARYING])) goto end;
    Py_ssize_t T = own.trials = a[X_MEANS].shape[0], p = own.columns = a[X_MEANS].shape[1], J = own.places = a[X_MEANS].shape[2];
    Py_ssize_t R = own.rows = a[MISSING].shape[1], V = own.varying = a[VARYING].shape[0];
    const Py_ssize_t wanted[END][4] = {
        [INVERSE] = {3, T, p, p}, [ROOT] = {3, T, p, p}, [KEPT] = {3, T, p, 1}, [SIZES] = {3, T, 1, J},
        [PLACE] = {1, R}, [TRIAL] = {1, R}, [INNER] = {2, V, R},
        [SEEN_INSIDE] = {3, T, p, 2}, [SEEN_SUMS] = {3, T, 2, J}, [SEEN_SQUARES] = {3, T, 2, 2},
        [FOR_BETA] = {3, T, p, 2}, [FOR_RESIDUAL] = {2, 3, T}, [FOR_BETWEEN] = {2, 3, T}, [FOR_EFFECTS] = {3, T, 2, J},
        [FOR_FIRST] = {1, -1}, [FOR_SECOND] = {1, -1}, [EFFECTS] = {3, T, 2, J}, [RESIDUAL] = {3, T, 2, 2},
        [BETWEEN] = {3, T, 2, 2}, [CELLS] = {2, 2, R},
    };
    for (int k = 0; k < END; k++) {
        if (a[k].taken) continue;
        a[k].dimensions = (int)wanted[k][0];
        for (int i = 0; i < a[k].dimensions; i++) a[k].shape[i] = wanted[k][i + 1];
        if (!take_array(&a[k], given[k])) goto end;
    }
    own.inverse = a[INVERSE].at, own.root = a[ROOT].at, own.kept = a[KEPT].at, own.x_means = a[X_MEANS].at;
    own.sizes = a[SIZES].at, own.inner = a[INNER].at;
    own.seen_inside = a[SEEN_INSIDE].at, own.seen_sums = a[SEEN_SUMS].at, own.seen_squares = a[SEEN_SQUARES].at;
    own.place = a[PLACE].at, own.trial = a[TRIAL].at, own.varies = a[VARYING].at, own.missing = a[MISSING].at;
    own.effects = a[EFFECTS].at, own.residual = a[RESIDUAL].at, own.between = a[BETWEEN].at, own.cells = a[CELLS].at;
    own.for_beta = a[FOR_BETA].at, own.for_residual = a[FOR_RESIDUAL].at, own.for_between = a[FOR_BETWEEN].at;
    own.for_effects = a[FOR_EFFECTS].at, own.for_first = a[FOR_FIRST].at, own.for_second = a[FOR_SECOND].at;
    own.first_gaps = a[FOR_FIRST].shape[0], own.second_gaps = a[FOR_SECOND].shape[0];
    if (!are_places(&a[TRIAL], T) || !are_places(&a[PLACE], T * J) || !are_places(&a[VARYING], p)) goto end;
    if (!rows_are_in_order(&own)) goto end;
    own.room = room_for(4 * J + 8 * p, 1);
    if (own.room == NULL) goto end;
    Py_BEGIN_ALLOW_THREADS
    sweep_all(&own);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free(own.room);
    release_arrays(a, END);
    return result;
}
