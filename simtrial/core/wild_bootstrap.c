/* Twins of simtrial/estimators/wild_bootstrap.py: bootstrap samples refitted from cluster scores, LANES draws side by
   side, and the effects that the test of each trial does not reject. */
#include "kernels.h"
#include "lanes.h"

#include <math.h>
#include <stdlib.h>

#define EXACT 1e-12
#define TIE 1e-9
enum { TOGETHER = 8 * LANES, DOUBLINGS = 40, BISECTIONS = 45 };

typedef struct {
    Py_ssize_t draws, trials, positions, columns;
    const float *drawn;
    const double *scores, *side;
    double *y, *a, *yy, *ya, *aa;
    lanes *v, *moved[2]; /* (positions), (columns) */
} samples;

/* Exactly 0 where a number is but rounding beside the largest. */
INLINE double one_exactly(double value, double largest) { return fabs(value) <= EXACT * largest ? 0.0 : value; }

INLINE lanes exactly(lanes values, lanes largest) {
    return chosen(size_of(values) <= EXACT * largest, all(0.0), values);
}

/* Draws `from` to below `from + filled` of one trial. */
INLINE void refit_tile(const samples *own, Py_ssize_t t, Py_ssize_t from, int filled) {
    Py_ssize_t J = own->positions, p = own->columns;
    const double *side = PART(own->side, t * J * p, J * p);
    const double *scores[2] = {PART(own->scores, 2 * t * J * p, J * p), PART(own->scores, (2 * t + 1) * J * p, J * p)};
    lanes largest[2], squares[3] = {{0}};
    EACH(l) {
        const float *row = PART(own->drawn, ((from + (l < filled ? l : 0)) * own->trials + t) * J, J);
        for (Py_ssize_t j = 0; j < J; j++) own->v[j][l] = row[j];
    }
    for (int r = 0; r < 2; r++) {
        for (Py_ssize_t k = 0; k < p; k++) {
            lanes sum = {0};
            for (Py_ssize_t j = 0; j < J; j++) sum += own->v[j] * scores[r][j * p + k];
            own->moved[r][k] = sum;
        }
        largest[r] = all(0.0);
        for (Py_ssize_t j = 0; j < J; j++) {
            lanes size = size_of(own->v[j] * scores[r][j * p + p - 1]);
            largest[r] = chosen(size > largest[r], size, largest[r]);
        }
    }
    for (Py_ssize_t j = 0; j < J; j++) {
        lanes fitted[2] = {{0}}, left[2];
        for (Py_ssize_t k = 0; k < p; k++)
            for (int r = 0; r < 2; r++) fitted[r] += side[j * p + k] * own->moved[r][k];
        for (int r = 0; r < 2; r++)
            left[r] = exactly(own->v[j] * scores[r][j * p + p - 1] - fitted[r], largest[r]);
        squares[0] += left[0] * left[0], squares[1] += left[0] * left[1], squares[2] += left[1] * left[1];
    }
    for (int l = 0; l < filled; l++) {
        Py_ssize_t at = (from + l) * own->trials + t;
        AT(own->y, at) = one_exactly(own->moved[0][p - 1][l], largest[0][l]);
        AT(own->a, at) = one_exactly(own->moved[1][p - 1][l], largest[1][l]);
        AT(own->yy, at) = squares[0][l], AT(own->ya, at) = squares[1][l], AT(own->aa, at) = squares[2][l];
    }
}

VECTORISED static void refit_all(const samples *own) {
    for (Py_ssize_t block = 0; block < own->draws; block += TOGETHER) /* scores are read once for so many draws */
        for (Py_ssize_t t = 0; t < own->trials; t++)
            for (Py_ssize_t from = block; from < own->draws && from < block + TOGETHER; from += LANES)
                refit_tile(own, t, from, own->draws - from < LANES ? (int)(own->draws - from) : LANES);
}

PyObject *core_refit(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { DRAWN, SCORES, SIDE, Y, A, YY, YA, AA, END };
    array a[] = {IN("drawn", SINGLES), IN("scores", FLOATS), IN("side", FLOATS), OUT("y", FLOATS), OUT("a", FLOATS),
                 OUT("yy", FLOATS), OUT("ya", FLOATS), OUT("aa", FLOATS)};
    samples own = {0};
    PyObject *result = NULL;
    double *room = NULL;
    if (number != END) return PyErr_Format(PyExc_TypeError, "refit takes %d arguments", END), NULL;
    a[DRAWN].dimensions = a[SIDE].dimensions = 3, a[SCORES].dimensions = 4;
    for (int k = 0; k < 3; k++) a[DRAWN].shape[k] = -1;
    if (!take_array(&a[DRAWN], given[DRAWN])) goto end;
    own.draws = a[DRAWN].shape[0], own.trials = a[DRAWN].shape[1], own.positions = a[DRAWN].shape[2];
    a[SIDE].shape[0] = own.trials, a[SIDE].shape[1] = own.positions, a[SIDE].shape[2] = -1;
    if (!take_array(&a[SIDE], given[SIDE])) goto end;
    own.columns = a[SIDE].shape[2];
    a[SCORES].shape[0] = own.trials, a[SCORES].shape[1] = 2, a[SCORES].shape[2] = own.positions, a[SCORES].shape[3] = own.columns;
    if (!take_array(&a[SCORES], given[SCORES])) goto end;
    for (int k = Y; k < END; k++) {
        a[k].dimensions = 2, a[k].shape[0] = own.draws, a[k].shape[1] = own.trials;
        if (!take_array(&a[k], given[k])) goto end;
    }
    if (own.columns < 1) { PyErr_SetString(PyExc_ValueError, "side: at least one column is wanted"); goto end; }
    room = room_for(own.positions + 2 * own.columns, LANES);
    if (room == NULL) goto end;
    own.v = (lanes *)room, own.moved[0] = own.v + own.positions, own.moved[1] = own.moved[0] + own.columns;
    own.drawn = a[DRAWN].at, own.scores = a[SCORES].at, own.side = a[SIDE].at;
    own.y = a[Y].at, own.a = a[A].at, own.yy = a[YY].at, own.ya = a[YA].at, own.aa = a[AA].at;
    Py_BEGIN_ALLOW_THREADS
    refit_all(&own);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free(room);
    release_arrays(a, END);
    return result;
}

/* One trial: its samples one after the other, and what they are compared with. */
typedef struct {
    Py_ssize_t draws;
    const double *y, *a, *yy, *ya, *aa;
    double estimate, variance;
    int equal_tailed;
} test;

INLINE double p_value(const test *one, double effect) {
    double distance = one->estimate - effect, far = distance * fabs(distance);
    double above = 1.0, below = 1.0;
    for (Py_ssize_t d = 0; d < one->draws; d++) {
        double numerator = one->y[d] - effect * one->a[d];
        double spread = one->yy[d] - effect * (2.0 * one->ya[d] - effect * one->aa[d]);
        double own = far * (spread > 0.0 ? spread : 0.0), slack = TIE * fabs(own);
        numerator = numerator * fabs(numerator) * one->variance;
        if (one->equal_tailed) {
            above += numerator >= own - slack ? 1.0 : 0.0;
            below += numerator <= own + slack ? 1.0 : 0.0;
        } else
            above += fabs(numerator) >= fabs(own) - slack ? 1.0 : 0.0;
    }
    double count = 1.0 + (double)one->draws;
    if (!one->equal_tailed) return above / count;
    double both = 2.0 * (above < below ? above : below) / count;
    return both < 1.0 ? both : 1.0;
}

static double end_of(const test *one, double alpha, double sign) {
    double inner = 0.0, outer = sign * 2.0 * sqrt(one->variance);
    int still = 1;
    for (int k = 0; k < DOUBLINGS; k++) {
        still = p_value(one, one->estimate + outer) > alpha;
        if (!still) break;
        inner = outer, outer *= 2.0;
    }
    if (still) return sign * INFINITY;
    for (int k = 0; k < BISECTIONS; k++) {
        double middle = 0.5 * (inner + outer);
        if (p_value(one, one->estimate + middle) > alpha) inner = middle;
        else outer = middle;
    }
    return one->estimate + 0.5 * (inner + outer);
}

VECTORISED static void ends_all(const array *a, Py_ssize_t draws, Py_ssize_t trials, double alpha, int equal_tailed,
                                double *room, double *ends) {
    test one = {.draws = draws, .equal_tailed = equal_tailed, .y = room, .a = room + draws, .yy = room + 2 * draws,
                .ya = room + 3 * draws, .aa = room + 4 * draws};
    for (Py_ssize_t t = 0; t < trials; t++) {
        for (int k = 0; k < 5; k++)
            for (Py_ssize_t d = 0; d < draws; d++) room[k * draws + d] = AT((const double *)a[k].at, d * trials + t);
        one.estimate = AT((const double *)a[5].at, t), one.variance = AT((const double *)a[6].at, t);
        AT(ends, t) = end_of(&one, alpha, -1.0);
        AT(ends, trials + t) = end_of(&one, alpha, 1.0);
    }
}

PyObject *core_interval(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { Y, A, YY, YA, AA, ESTIMATE, VARIANCE, ENDS, ARRAYS, ALPHA = ARRAYS, EQUAL_TAILED, END };
    array a[] = {IN("y", FLOATS), IN("a", FLOATS), IN("yy", FLOATS), IN("ya", FLOATS), IN("aa", FLOATS),
                 IN("estimate", FLOATS), IN("variance", FLOATS), OUT("ends", FLOATS)};
    PyObject *result = NULL;
    double *room = NULL;
    if (number != END) return PyErr_Format(PyExc_TypeError, "interval takes %d arguments", END), NULL;
    double alpha = PyFloat_AsDouble(given[ALPHA]);
    int equal_tailed = PyObject_IsTrue(given[EQUAL_TAILED]);
    if (PyErr_Occurred()) return NULL;
    a[Y].dimensions = 2, a[Y].shape[0] = a[Y].shape[1] = -1;
    if (!take_array(&a[Y], given[Y])) goto end;
    Py_ssize_t draws = a[Y].shape[0], trials = a[Y].shape[1];
    for (int k = A; k < ARRAYS; k++) {
        int vector = k == ESTIMATE || k == VARIANCE;
        a[k].dimensions = vector ? 1 : 2;
        a[k].shape[0] = vector ? trials : k == ENDS ? 2 : draws, a[k].shape[1] = trials;
        if (!take_array(&a[k], given[k])) goto end;
    }
    room = room_for(5, draws);
    if (room == NULL) goto end;
    Py_BEGIN_ALLOW_THREADS
    ends_all(a, draws, trials, alpha, equal_tailed, room, a[ENDS].at);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free(room);
    release_arrays(a, ARRAYS);
    return result;
}
