/* Twin of `grid_parts` in simtrial/kernels/random_intercept_grid.py: the criterion on a grid of gamma common to all
   trials. What X alone decides there can be kept for other outcomes of the same trials, with the same results. */
#include "kernels.h"
#include "logarithm.h"
#include "random_intercept_criterion.h"

#include <math.h>
#include <stdlib.h>

int make_gammas(gammas *grid, const array *gamma, const size_sums *sums) {
    Py_ssize_t slots = sums->slots;
    *grid = (gammas){.points = gamma->shape[0], .slots = slots, .gamma = gamma->at};
    if (!sums->shared) return 1;
    grid->of_sizes = room_for(2 * slots, grid->points);
    if (grid->of_sizes == NULL) return 0;
    for (Py_ssize_t g = 0; g < grid->points; g++)
        for (Py_ssize_t s = 0; s < slots; s++) {
            double shrink = 1.0 / (1.0 + AT(sums->sizes, s) * AT(grid->gamma, g)), *at = grid->of_sizes + 2 * g * slots + s;
            at[0] = sums->sizes[s] * shrink, at[slots] = -log(shrink);
        }
    return 1;
}

/* a of every slot, and sum log(1 + n gamma). */
INLINE lanes weigh(tile *one, const gammas *grid, Py_ssize_t point) {
    lanes logs = {0};
    for (Py_ssize_t s = 0; s < one->slots; s++)
        if (grid->of_sizes != NULL) {
            const double *at = grid->of_sizes + 2 * point * grid->slots + one->slot[s];
            one->a[s] = all(at[0]), logs += one->counts[s] * at[grid->slots];
        } else {
            lanes shrink = 1.0 / (1.0 + one->sizes[s] * AT(grid->gamma, point));
            one->a[s] = one->sizes[s] * shrink, logs -= one->counts[s] * logarithm(shrink);
        }
    return logs;
}

/* One logarithm for the product of all pivots, each taken as a fraction and a power of two. */
INLINE lanes log_of_pivots(const lanes *m, int p) {
    lanes product = all(1.0);
    choice power = {0}, bad = {0};
    for (int k = 0; k < p; k++) {
        lanes pivot = m[k * (p + 1) + k];
        bad |= ~((pivot > 0.0) & (pivot < INFINITY));
        power += power_of_two(pivot), product *= fraction(pivot);
    }
    return chosen(bad, all(INFINITY), logarithm(product) + as_numbers(power) * 0.6931471805599453);
}

/* Keep what X alone decides. */
INLINE void keep(lanes *of_x, const tile *one, lanes logs, lanes log_determinant) {
    int p = one->regressors, q = p + 1;
    for (int k = 0; k < p; k++) {
        lanes over = 1.0 / one->matrix[k * q + k];
        *of_x++ = over;
        for (int i = k + 1; i < p; i++) *of_x++ = one->matrix[k * q + i] * over;
    }
    of_x[0] = logs, of_x[1] = log_determinant;
}

/* Of the elimination only the column of the outcome: q. */
INLINE lanes known_parts(tile *one, const lanes *of_x, lanes *logs, lanes *log_determinant) {
    int p = one->regressors, first = p * (p + 1) / 2;
    lanes *column = one->total + first;
    total_tile(one, first);
    for (int k = 0; k < p; k++) {
        lanes over = *of_x++;
        for (int i = k + 1; i < p; i++) column[i] -= *of_x++ * column[k];
        column[p] -= column[k] * over * column[k];
    }
    *logs = of_x[0], *log_determinant = of_x[1];
    return column[p];
}

VECTORISED
void grid_parts_tile(tile *one, const gammas *grid, Py_ssize_t point, Py_ssize_t from, lanes *rss, lanes *logs,
                     lanes *log_determinant) {
    int p = one->regressors, q = p + 1;
    lanes *restrict m = one->matrix, *of_x = NULL;
    if (grid->of_x != NULL) {
        Py_ssize_t kept = kept_of_x(p) * LANES;
        of_x = (lanes *)PART(grid->of_x, (from / LANES * grid->points + point) * kept, kept);
    }
    *logs = weigh(one, grid, point);
    if (of_x != NULL && grid->is_known) {
        *rss = known_parts(one, of_x, logs, log_determinant);
        return;
    }
    total_tile(one, 0);
    for (int j = 0, k = 0; j < q; j++) /* row i holds the columns from i on */
        for (int i = 0; i <= j; i++, k++) m[i * q + j] = one->total[k];
    eliminate(m, p);
    *rss = m[p * q + p];
    *log_determinant = log_of_pivots(m, p);
    if (of_x != NULL) keep(of_x, one, *logs, *log_determinant);
}

static void grid_all(tile *one, const gammas *grid, const size_sums *sums, double *const *out) {
    Py_ssize_t trials = sums->trials;
    for (Py_ssize_t from = 0; from < trials; from += LANES) {
        int filled = trials - from < LANES ? (int)(trials - from) : LANES;
        load_tile(one, sums, from, filled);
        for (Py_ssize_t g = 0; g < grid->points; g++) {
            lanes parts[3];
            grid_parts_tile(one, grid, g, from, &parts[0], &parts[1], &parts[2]);
            for (int k = 0; k < 3; k++) store(PART(out[k], g * trials + from, filled), parts[k], filled);
        }
    }
}

PyObject *core_grid_parts(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { GRID = 4, RSS, LOGS, LOG_DETERMINANT, END };
    array arguments[] = {SIZE_SUMS, IN("grid", FLOATS), OUT("rss", FLOATS), OUT("logs", FLOATS),
                         OUT("log_determinant", FLOATS)};
    size_sums sums;
    tile one = {0};
    gammas grid = {0};
    PyObject *result = NULL;
    if (number != END) return PyErr_Format(PyExc_TypeError, "grid_parts takes %d arguments", END), NULL;
    if (!take_sums(&sums, arguments, given)) goto end;
    arguments[GRID].dimensions = 1, arguments[GRID].shape[0] = -1;
    if (!take_array(&arguments[GRID], given[GRID])) goto end;
    for (int k = RSS; k < END; k++) {
        arguments[k].dimensions = 2, arguments[k].shape[0] = arguments[GRID].shape[0], arguments[k].shape[1] = sums.trials;
        if (!take_array(&arguments[k], given[k])) goto end;
    }
    if (!make_tile(&one, &sums) || !make_gammas(&grid, &arguments[GRID], &sums)) goto end;
    double *out[] = {arguments[RSS].at, arguments[LOGS].at, arguments[LOG_DETERMINANT].at};
    Py_BEGIN_ALLOW_THREADS
    grid_all(&one, &grid, &sums, out);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free(grid.of_sizes);
    free_tile(&one);
    release_arrays(arguments, END);
    return result;
}
