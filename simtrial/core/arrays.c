#include "arrays.h"

#include <stdlib.h>
#include <string.h>

static const char *const WORDS[] = {"float64", "int64", "bool", "float32"};

static int is_of_kind(const Py_buffer *view, kind_of_number kind) {
    const char *format = view->format ? view->format : "B";
    if (*format == '@' || *format == '=') format++;
    if (strlen(format) != 1) return 0;
    switch (kind) {
    case FLOATS: return *format == 'd' && view->itemsize == 8;
    case INTS: return strchr("lqn", *format) != NULL && view->itemsize == 8;
    case SINGLES: return *format == 'f' && view->itemsize == 4;
    default: return *format == '?' && view->itemsize == 1;
    }
}

static int is_of_shape(array *one) {
    if (one->view.ndim != one->dimensions) return 0;
    for (int k = 0; k < one->dimensions; k++) {
        if (one->shape[k] < 0) one->shape[k] = one->view.shape[k];
        if (one->shape[k] != one->view.shape[k]) return 0;
    }
    return 1;
}

/* The entries of the first axis in C order, each at a whole number of numbers from the one before. */
static int is_in_order(array *one) {
    Py_ssize_t numbers = 1;
    for (int k = one->dimensions - 1; k > 0; k--) {
        if (one->view.shape[k] > 1 && one->view.strides[k] != numbers * one->view.itemsize) return 0;
        numbers *= one->view.shape[k];
    }
    one->apart = numbers;
    if (one->view.len == 0 || one->view.shape[0] < 2) return 1;
    one->apart = one->view.strides[0] / one->view.itemsize;
    return one->apart >= numbers && one->apart * one->view.itemsize == one->view.strides[0];
}

#ifdef CHECKED
#include <stdio.h>

#define MOST_TAKEN 64

static __thread const array *taken[MOST_TAKEN]; /* arguments of the kernel that runs in this thread */
static __thread int number_taken;

static void note(const array *one) {
    if (number_taken == MOST_TAKEN) abort();
    taken[number_taken++] = one;
}

static void forget(const array *one) {
    for (int k = 0; k < number_taken; k++)
        if (taken[k] == one) taken[k] = taken[--number_taken];
}

/* From the first number to beyond the last, in bytes; an array that is part of another has gaps, which are not its own. */
static Py_ssize_t extent(const array *one) {
    if (!one->loose || one->view.len == 0) return one->view.len;
    return ((one->view.shape[0] - 1) * one->apart) * one->view.itemsize + one->view.len / one->view.shape[0];
}

Py_ssize_t inside(const void *numbers, Py_ssize_t from, Py_ssize_t count, size_t each, const char *what) {
    uintptr_t at = (uintptr_t)numbers;
    Py_ssize_t size = (Py_ssize_t)each;
    if (count == 0) return from;
    for (int k = 0; k < number_taken; k++) {
        uintptr_t begin = (uintptr_t)taken[k]->at, end = begin + (uintptr_t)extent(taken[k]);
        if (at < begin || at >= end || count < 0) continue;
        Py_ssize_t before = (Py_ssize_t)(at - begin) / size, all = (Py_ssize_t)(end - begin) / size;
        if (from >= -before && from <= all - before - count) return from;
    }
    fprintf(stderr, "%s: entries from %zd, %zd of them, are beyond the argument\n", what, from, count);
    abort();
}
#else
#define note(one) (void)(one)
#define forget(one) (void)(one)
#endif

int take_array(array *one, PyObject *given) {
    int order = one->loose ? PyBUF_STRIDES : PyBUF_C_CONTIGUOUS;
    int flags = PyBUF_FORMAT | order | (one->writable ? PyBUF_WRITABLE : 0);
    if (PyObject_GetBuffer(given, &one->view, flags) < 0) {
        PyErr_Format(PyExc_TypeError, "%s: a%s array in C order is wanted", one->name, one->writable ? " writable" : "n");
        return 0;
    }
    one->taken = 1;
    one->at = one->view.buf;
    if (!is_of_kind(&one->view, one->kind)) {
        PyErr_Format(PyExc_TypeError, "%s: numbers of type %s are wanted", one->name, WORDS[one->kind]);
        return 0;
    }
    if (!is_of_shape(one)) {
        PyErr_Format(PyExc_ValueError, "%s: its shape does not go with the arguments before it (%d dimensions are wanted)",
                     one->name, one->dimensions);
        return 0;
    }
    if (one->loose && !is_in_order(one)) {
        PyErr_Format(PyExc_TypeError, "%s: all but its first axis must be in C order", one->name);
        return 0;
    }
    note(one);
    return 1;
}

int take_arrays(array *arrays, int count, PyObject *const *given) {
    for (int k = 0; k < count; k++)
        if (!take_array(&arrays[k], given[k])) return 0;
    return 1;
}

void release_arrays(array *arrays, int count) {
    for (int k = 0; k < count; k++) {
        forget(&arrays[k]);
        if (arrays[k].taken) PyBuffer_Release(&arrays[k].view);
        arrays[k].taken = 0;
    }
}

/* Whether one is below 0 or above the last, all at once before any is looked for. */
VECTORISED static int any_outside(const int64_t *places, Py_ssize_t count, int64_t limit) {
    uint64_t outside = 0; /* its sign */
    for (Py_ssize_t k = 0; k < count; k++) outside |= (uint64_t)places[k] | ((uint64_t)limit - 1 - (uint64_t)places[k]);
    return outside >> 63 != 0;
}

int are_places(const array *one, int64_t limit) {
    Py_ssize_t count = one->view.len / one->view.itemsize;
    const int64_t *places = one->at;
    if (!any_outside(places, count, limit)) return 1;
    for (Py_ssize_t k = 0; k < count; k++)
        if (places[k] < 0 || places[k] >= limit) {
            PyErr_Format(PyExc_IndexError, "%s: entry %zd is no place in an array of %lld", one->name, k, (long long)limit);
            return 0;
        }
    return 1;
}

int are_places_or_none(const array *one, int64_t limit) {
    const int64_t *places = one->at;
    for (Py_ssize_t k = 0; k < one->view.len / one->view.itemsize; k++)
        if (places[k] < -1 || places[k] >= limit) {
            PyErr_Format(PyExc_IndexError, "%s: entry %zd is no place in an array of %lld, nor -1", one->name, k, (long long)limit);
            return 0;
        }
    return 1;
}

double *room_for(Py_ssize_t numbers, Py_ssize_t times) {
    if (numbers < 0 || times < 0 || (times > 0 && numbers > PY_SSIZE_T_MAX / 8 / times)) {
        PyErr_NoMemory();
        return NULL;
    }
    double *room = calloc((size_t)(numbers * times) + 1, sizeof(double));
    if (room == NULL) PyErr_NoMemory();
    return room;
}
