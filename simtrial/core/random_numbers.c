/* Uniform and normal numbers as numpy draws them, but for its call through a pointer for each, which takes most of the
   time. */
#include "random_numbers.h"
#include "kernels.h"
#include "normal_layers.h"

#include <math.h>
#include <string.h>

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
    array a[] = {STATE_OF_GENERATOR, {.name = "numbers", .writable = 1, .dimensions = 1, .shape = {-1}}};
    PyObject *result = NULL;
    if (number != END) return PyErr_Format(PyExc_TypeError, "%s takes %d arguments", name, END), NULL;
    if (!take_arrays(a, END, given)) goto end;
    Py_BEGIN_ALLOW_THREADS
    state s = begin(a[STATE].at);
    with(&s, a[NUMBERS].at, a[NUMBERS].shape[0]);
    end(&s, a[STATE].at);
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
