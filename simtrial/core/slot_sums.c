/* Twin of `slot_products` in simtrial/kernels/slot_sums.py: sums are added in the same order, so that they are the same to
   the last bit.

   Sums of a slot are rows of `wide` numbers, one for each column that is new, of which the first j + 1 are the sums of its
   products with columns 0 to j; vectors reach beyond these, and what stands there is never read. */
#include "cluster_columns.h"
#include "kernels.h"

#include <stdlib.h>

typedef struct {
    cluster_columns of;
    Py_ssize_t slots, trials, packed, wide, block; /* a block: the sums of a slot */
    const int64_t *slot;
    double *between, *pooled; /* (trials, slots, packed), (packed, trials); sums of old columns are left alone */
    double *sums, *inside;    /* of one trial (slots, added, wide), and of some (SIDE_BY_SIDE, added, wide) */
    double *means;            /* of one trial (clusters, wide) */
} slot_sums;

/* Add the products of all pairs of means of a cluster. */
INLINE void add_products(const slot_sums *s, const double *restrict z, double *restrict sums) {
    for (Py_ssize_t j = s->of.first; j < s->of.columns; j++, sums += s->wide) {
        lanes one = all(z[j]);
        for (Py_ssize_t i = 0; i <= j; i += LANES) store_all(sums + i, together(sums + i) + one * together(z + i));
    }
}

/* Sums of one trial, of clusters `from` to below `to`. The means are all laid out before any is read: a vector that was
   just written in pieces has to wait for them. */
INLINE void add_trial(const slot_sums *s, Py_ssize_t from, Py_ssize_t to, double *sums, double *pooled) {
    for (Py_ssize_t k = 0; k < s->of.columns; k++)
        for (Py_ssize_t c = from; c < to; c++) s->means[(c - from) * s->wide + k] = AT(s->of.means, k * s->of.clusters + c);
    for (Py_ssize_t c = from; c < to; c++)
        add_products(s, s->means + (c - from) * s->wide, sums + AT(s->slot, c) * s->block);
    for (Py_ssize_t j = s->of.first; j < s->of.columns; j++, pooled += s->wide)
        for (Py_ssize_t i = 0; i <= j; i++) pooled[i] = inside_clusters(&s->of, j, i, from, to);
}

/* Put the sums of one slot, packed, where they stand. */
INLINE void put_slot(const slot_sums *s, const double *sums, double *to) {
    for (Py_ssize_t j = s->of.first; j < s->of.columns; j++, sums += s->wide)
        for (Py_ssize_t i = 0; i <= j; i++) to[j * (j + 1) / 2 + i] = sums[i];
}

/* Put what some trials have within clusters into packed rows. */
INLINE void put_packed(const slot_sums *s, Py_ssize_t from, Py_ssize_t some) {
    const double *sums = s->inside;
    for (Py_ssize_t j = s->of.first; j < s->of.columns; j++, sums += s->wide)
        for (Py_ssize_t i = 0; i <= j; i++)
            put(sums + i, s->block, some, PART(s->pooled, (j * (j + 1) / 2 + i) * s->trials + from, some));
}

VECTORISED static void add_all(const slot_sums *s) {
    for (Py_ssize_t from = 0, c = 0; from < s->trials; from += SIDE_BY_SIDE) {
        Py_ssize_t some = s->trials - from < SIDE_BY_SIDE ? s->trials - from : SIDE_BY_SIDE;
        memset(s->inside, 0, (size_t)(s->block * SIDE_BY_SIDE) * sizeof(double));
        for (Py_ssize_t trial = from; trial < from + some; trial++) {
            Py_ssize_t begun = c;
            memset(s->sums, 0, (size_t)(s->slots * s->block) * sizeof(double));
            if (c < s->of.clusters && s->of.trial[c] == trial) c = next_trial(&s->of, c);
            add_trial(s, begun, c, s->sums, s->inside + (trial - from) * s->block);
            for (Py_ssize_t e = 0; e < s->slots; e++)
                put_slot(s, s->sums + e * s->block, PART(s->between, (trial * s->slots + e) * s->packed, s->packed));
        }
        put_packed(s, from, some);
    }
}

static int make_room(slot_sums *s) {
    Py_ssize_t most = most_clusters(&s->of);
    s->wide = filled_up(s->of.columns), s->block = (s->of.columns - s->of.first) * s->wide;
    s->sums = room_for(s->slots + SIDE_BY_SIDE + most, s->block + s->wide);
    if (s->sums == NULL) return 0;
    s->inside = s->sums + s->slots * s->block, s->means = s->inside + s->block * SIDE_BY_SIDE;
    memset(s->means, 0, (size_t)(most * s->wide) * sizeof(double));
    return 1;
}

PyObject *core_slot_products(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { BETWEEN = SHARED, POOLED, END };
    array a[] = {IN("means", FLOATS), IN("within", FLOATS), IN("place", INTS), IN("slot", INTS), IN("trial", INTS),
                 OUT("between", FLOATS), OUT("pooled", FLOATS)};
    PyObject *result = NULL;
    slot_sums s = {.sums = NULL};
    if (number != END + 1) return PyErr_Format(PyExc_TypeError, "slot_products takes %d arguments", END + 1), NULL;
    if (!take_columns(a, given, given[SHARED], &s.of)) goto end;
    a[BETWEEN].dimensions = 3, a[BETWEEN].shape[0] = a[BETWEEN].shape[1] = -1;
    s.packed = a[BETWEEN].shape[2] = s.of.columns * (s.of.columns + 1) / 2;
    if (!take_array(&a[BETWEEN], given[BETWEEN + 1])) goto end;
    a[POOLED].dimensions = 2, a[POOLED].shape[0] = s.packed, a[POOLED].shape[1] = a[BETWEEN].shape[0];
    if (!take_array(&a[POOLED], given[POOLED + 1])) goto end;
    s.trials = a[BETWEEN].shape[0], s.slots = a[BETWEEN].shape[1], s.slot = a[GROUP].at;
    s.between = a[BETWEEN].at, s.pooled = a[POOLED].at;
    if (!are_places(&a[GROUP], s.slots) || !are_columns(a, &s.of, s.trials) || !make_room(&s)) goto end;
    Py_BEGIN_ALLOW_THREADS
    add_all(&s);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    free(s.sums);
    release_arrays(a, END);
    return result;
}
