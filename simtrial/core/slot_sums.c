/* Twin of simtrial/kernels/slot_sums.py: sums are added in the same order, so that they are the same to the last bit. */
#include "kernels.h"
#include "lanes.h"

#include <stdlib.h>

enum { SIDE_BY_SIDE = 2 * LANES }; /* trials whose sums are written together: a line of the cache */

typedef struct {
    Py_ssize_t columns, clusters, varying, slots, trials, first, packed;
    const double *means, *within;
    const int64_t *place, *slot, *trial;
    double *between, *pooled; /* (slots, packed, trials), (packed, trials); rows of old columns are left alone */
    double *sums, *inside;    /* of some trials: (slots, added, SIDE_BY_SIDE), (added, SIDE_BY_SIDE) */
} slot_sums;

/* Add the products of one cluster to the sums of its trial. */
INLINE void add_cluster(const slot_sums *s, Py_ssize_t c, double *restrict sums, double *restrict pooled) {
    for (Py_ssize_t j = s->first, k = 0; j < s->columns; k += ++j) {
        double one = AT(s->means, j * s->clusters + c);
        for (Py_ssize_t i = 0; i <= j; i++) sums[(k + i) * SIDE_BY_SIDE] += AT(s->means, i * s->clusters + c) * one;
        if (AT(s->place, j) < 0) continue;
        const double *within = PART(s->within, s->place[j] * s->varying * s->clusters, s->varying * s->clusters) + c;
        for (Py_ssize_t i = 0; i <= j; i++)
            if (AT(s->place, i) >= 0) pooled[(k + i) * SIDE_BY_SIDE] += within[s->place[i] * s->clusters];
    }
}

static void add_all(const slot_sums *s) {
    Py_ssize_t old = s->first * (s->first + 1) / 2, added = s->packed - old, c = 0;
    for (Py_ssize_t from = 0; from < s->trials; from += SIDE_BY_SIDE) {
        Py_ssize_t some = s->trials - from < SIDE_BY_SIDE ? s->trials - from : SIDE_BY_SIDE;
        memset(s->sums, 0, (size_t)((s->slots + 1) * added * SIDE_BY_SIDE) * sizeof(double)); /* inside follows */
        for (; c < s->clusters && AT(s->trial, c) < from + some; c++) {
            Py_ssize_t l = s->trial[c] - from;
            add_cluster(s, c, s->sums + AT(s->slot, c) * added * SIDE_BY_SIDE + l, s->inside + l);
        }
        for (Py_ssize_t e = 0; e <= s->slots; e++) {
            double *to = e < s->slots ? s->between + (e * s->packed + old) * s->trials : s->pooled + old * s->trials;
            for (Py_ssize_t k = 0; k < added; k++, to += s->trials) {
                __builtin_prefetch(to + from + SIDE_BY_SIDE, 1);
                memcpy(PART(to, from, some), s->sums + (e * added + k) * SIDE_BY_SIDE, (size_t)some * sizeof(double));
            }
        }
    }
}

static int are_alike(const slot_sums *s) {
    if (s->first < 0 || s->first > s->columns || s->packed != s->columns * (s->columns + 1) / 2) {
        PyErr_SetString(PyExc_ValueError, "between: a row is wanted for each product of two columns");
        return 0;
    }
    for (Py_ssize_t k = 0; k < s->columns; k++)
        if (s->place[k] < -1 || s->place[k] >= s->varying) {
            PyErr_SetString(PyExc_IndexError, "place: the place of a column in within, or -1, is wanted");
            return 0;
        }
    for (Py_ssize_t c = 1; c < s->clusters; c++)
        if (s->trial[c] < s->trial[c - 1]) {
            PyErr_SetString(PyExc_ValueError, "trial: clusters of a trial must stand together, trials in order");
            return 0;
        }
    return 1;
}

PyObject *core_slot_products(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { MEANS, WITHIN, PLACE, SLOT, TRIAL, BETWEEN, POOLED, END };
    array a[] = {IN("means", FLOATS), IN("within", FLOATS), IN("place", INTS), IN("slot", INTS), IN("trial", INTS),
                 OUT("between", FLOATS), OUT("pooled", FLOATS)};
    static const int dimensions[] = {2, 3, 1, 1, 1, 3, 2};
    PyObject *result = NULL;
    double *room = NULL;
    if (number != END + 1) return PyErr_Format(PyExc_TypeError, "slot_products takes %d arguments", END + 1), NULL;
    Py_ssize_t first = PyLong_AsSsize_t(given[BETWEEN]);
    if (first == -1 && PyErr_Occurred()) return NULL;
    for (int k = 0; k < END; k++) {
        a[k].dimensions = dimensions[k];
        for (int i = 0; i < MOST_DIMENSIONS; i++) a[k].shape[i] = -1;
    }
    if (!take_array(&a[MEANS], given[MEANS])) goto end;
    a[PLACE].shape[0] = a[MEANS].shape[0];
    a[WITHIN].shape[2] = a[SLOT].shape[0] = a[TRIAL].shape[0] = a[MEANS].shape[1];
    if (!take_arrays(a + WITHIN, TRIAL, given + WITHIN) || !take_array(&a[BETWEEN], given[BETWEEN + 1])) goto end;
    a[POOLED].shape[0] = a[BETWEEN].shape[1], a[POOLED].shape[1] = a[BETWEEN].shape[2];
    if (!take_array(&a[POOLED], given[POOLED + 1])) goto end;
    if (a[WITHIN].shape[0] != a[WITHIN].shape[1]) {
        PyErr_SetString(PyExc_ValueError, "within: square matrices are wanted");
        goto end;
    }
    slot_sums s = {.columns = a[MEANS].shape[0], .clusters = a[MEANS].shape[1], .varying = a[WITHIN].shape[0],
                   .slots = a[BETWEEN].shape[0], .packed = a[BETWEEN].shape[1], .trials = a[BETWEEN].shape[2],
                   .first = first, .means = a[MEANS].at, .within = a[WITHIN].at, .place = a[PLACE].at,
                   .slot = a[SLOT].at, .trial = a[TRIAL].at, .between = a[BETWEEN].at, .pooled = a[POOLED].at};
    if (!are_places(&a[SLOT], s.slots) || !are_places(&a[TRIAL], s.trials) || !are_alike(&s)) goto end;
    room = room_for((s.slots + 1) * SIDE_BY_SIDE, s.packed);
    if (room == NULL) goto end;
    s.sums = room, s.inside = room + s.slots * (s.packed - first * (first + 1) / 2) * SIDE_BY_SIDE;
    Py_BEGIN_ALLOW_THREADS
    add_all(&s);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free(room);
    release_arrays(a, END);
    return result;
}
