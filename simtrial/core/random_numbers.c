/* Numbers of numpy's generator SFC64 (Doty-Humphrey's small fast counter, with 64 bits), the same to the last bit: without
   a call through two pointers for each, which take most of numpy's time. */
#include "kernels.h"
#include "normal_layers.h"

#include <math.h>
#include <string.h>

/* Three words that are mixed, and a counter. */
typedef struct {
    uint64_t a, b, c, counter;
} state;

INLINE uint64_t next_word(state *s) {
    uint64_t word = s->a + s->b + s->counter++;
    s->a = s->b ^ (s->b >> 11);
    s->b = s->c + (s->c << 3);
    s->c = ((s->c << 24) | (s->c >> 40)) + word;
    return word;
}

/* From 0 to below 1, in steps of 2^-53. */
INLINE double next_uniform(state *s) { return (double)(next_word(s) >> 11) * 0x1p-53; }

/* Beyond the lowest layer, by an exponential envelope (Marsaglia 1964). */
static double beyond(state *s, int negative) {
    for (;;) {
        double further = -(1.0 / TAIL_FROM) * log1p(-next_uniform(s));
        double height = -log1p(-next_uniform(s));
        if (height + height > further * further) return negative ? -(TAIL_FROM + further) : TAIL_FROM + further;
    }
}

/* The sign is a bit of chance, which no processor can guess: it is put in place without asking for it. */
INLINE double with_sign(double size, uint64_t bits) {
    uint64_t own;
    memcpy(&own, &size, sizeof own);
    own |= bits & 0x8000000000000000u;
    memcpy(&size, &own, sizeof own);
    return size;
}

INLINE double next_normal(state *s) {
    for (;;) {
        uint64_t word = next_word(s);
        int row = (int)(word & 0xff);
        int64_t steps = (int64_t)((word >> 9) & 0xfffffffffffff);
        const layer *one = LAYERS + row;
        double value = with_sign((double)steps * one->step, word << 55);
        if (steps < one->certain) return value;
        if (row == 0) return beyond(s, (steps >> 8) & 1);
        double height = (HEIGHTS[row - 1] - HEIGHTS[row]) * next_uniform(s) + HEIGHTS[row];
        if (height < exp(-0.5 * value * value)) return value;
    }
}

static void fill_with_normals(state *s, double *out, Py_ssize_t numbers) {
    for (Py_ssize_t k = 0; k < numbers; k++) out[k] = next_normal(s);
}

static void fill_with_uniforms(state *s, double *out, Py_ssize_t numbers) {
    for (Py_ssize_t k = 0; k < numbers; k++) out[k] = next_uniform(s);
}

typedef void filling(state *s, double *out, Py_ssize_t numbers);

static PyObject *fill(PyObject *const *given, Py_ssize_t number, const char *name, filling *with) {
    enum { STATE, NUMBERS, END };
    array a[] = {{.name = "state", .kind = INTS, .writable = 1, .dimensions = 1, .shape = {4}},
                 {.name = "numbers", .writable = 1, .dimensions = 1, .shape = {-1}}};
    PyObject *result = NULL;
    if (number != END) return PyErr_Format(PyExc_TypeError, "%s takes %d arguments", name, END), NULL;
    if (!take_arrays(a, END, given)) goto end;
    Py_BEGIN_ALLOW_THREADS
    uint64_t *words = a[STATE].at;
    state s = {words[0], words[1], words[2], words[3]};
    with(&s, a[NUMBERS].at, a[NUMBERS].shape[0]);
    words[0] = s.a, words[1] = s.b, words[2] = s.c, words[3] = s.counter;
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    release_arrays(a, END);
    return result;
}

PyObject *core_standard_normals(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    return fill(given, number, "standard_normals", fill_with_normals);
}

PyObject *core_uniforms(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    return fill(given, number, "uniforms", fill_with_uniforms);
}
