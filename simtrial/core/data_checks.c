/* Twin of `_check` in simtrial/store/data_checks.py: the digest is the same, sums are so but for rounding. */
#include "kernels.h"
#include "lanes.h"

#include <math.h>

enum { WEIGHTED, SIZES, BLANKS, SUMS, ABREAST = 4 }; /* ABREAST: sums that are added to in turn, so that none waits */

/* Every word is spread before it is weighted; values are the words as real numbers, or as whole ones. */
INLINE uint64_t add_values(const uint64_t *words, const double *weights, const uint64_t *odd, Py_ssize_t count, int real,
                           double *sums) {
    uint64_t digest = 0;
    double weighted[ABREAST] = {0}, sizes[ABREAST] = {0}, blanks = 0.0;
    for (Py_ssize_t k = 0; k < count; k++) {
        uint64_t word = words[k] * 0x9E3779B97F4A7C15u;
        double value = (double)(int64_t)words[k];
        digest += (word ^ (word >> 32)) * odd[k];
        if (real) memcpy(&value, words + k, sizeof value);
        if (isnan(value)) blanks += weights[k], value = 0.0;
        weighted[k % ABREAST] += value * weights[k], sizes[k % ABREAST] += fabs(value);
    }
    sums[WEIGHTED] = (weighted[0] + weighted[1]) + (weighted[2] + weighted[3]);
    sums[SIZES] = (sizes[0] + sizes[1]) + (sizes[2] + sizes[3]), sums[BLANKS] = blanks;
    return digest;
}

PyObject *core_check(PyObject *self, PyObject *const *given, Py_ssize_t number) {
    (void)self;
    enum { WORDS, WEIGHTS, ODD, TOTALS, DIGEST, END };
    array a[] = {IN("words", INTS), IN("weights", FLOATS), IN("odd", INTS), OUT("sums", FLOATS), OUT("digest", INTS)};
    PyObject *result = NULL;
    if (number != END + 1) return PyErr_Format(PyExc_TypeError, "check takes %d arguments", END + 1), NULL;
    int real = PyObject_IsTrue(given[TOTALS]);
    if (real < 0) return NULL;
    for (int k = 0; k < END; k++) a[k].dimensions = 1;
    a[WORDS].shape[0] = -1, a[TOTALS].shape[0] = SUMS, a[DIGEST].shape[0] = 1;
    if (!take_array(&a[WORDS], given[WORDS])) goto end;
    a[WEIGHTS].shape[0] = a[ODD].shape[0] = a[WORDS].shape[0];
    if (!take_arrays(a + WEIGHTS, 2, given + WEIGHTS) || !take_arrays(a + TOTALS, 2, given + TOTALS + 1)) goto end;
    uint64_t *digest = a[DIGEST].at;
    Py_BEGIN_ALLOW_THREADS
    if (real) *digest = add_values(a[WORDS].at, a[WEIGHTS].at, a[ODD].at, a[WORDS].shape[0], 1, a[TOTALS].at);
    else *digest = add_values(a[WORDS].at, a[WEIGHTS].at, a[ODD].at, a[WORDS].shape[0], 0, a[TOTALS].at);
    Py_END_ALLOW_THREADS
    result = Py_NewRef(Py_None);
end:
    release_arrays(a, END);
    return result;
}
