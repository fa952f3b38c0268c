/* Arguments of kernels: arrays of Python by the buffer protocol, checked before anything is read. */
#ifndef SIMTRIAL_ARRAYS_H
#define SIMTRIAL_ARRAYS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

#define MOST_DIMENSIONS 4

typedef enum { FLOATS, INTS, BOOLS, SINGLES } kind_of_number;

/* One argument: what it must be, and once it is taken where its numbers are. */
typedef struct {
    const char *name;
    kind_of_number kind;
    int writable;
    int dimensions;
    Py_ssize_t shape[MOST_DIMENSIONS]; /* wanted; -1 takes any length and is replaced by it */
    int loose;                         /* whether it may be a part of an array: entries of its first axis far apart */
    Py_ssize_t apart;                  /* how far, in numbers */
    void *at;
    Py_buffer view;
    int taken;
} array;

/* Takes one argument after the other; 0 with an exception set where one is not what it must be. */
int take_array(array *one, PyObject *given);
int take_arrays(array *arrays, int count, PyObject *const *given);
void release_arrays(array *arrays, int count);

/* Every entry from 0 to below the limit, else 0 with an exception set. */
int are_places(const array *one, int64_t limit);

/* Every entry such a place, or -1 for none. */
int are_places_or_none(const array *one, int64_t limit);

/* An entry of an argument's array, and the place from which so many of its entries are read or written. Plain access; in
   a build with CHECKED (make sanitize) the program ends where these are not all inside one argument, though the memory
   may be there: sanitizers do not see an index that lands in another array. */
#ifdef CHECKED
Py_ssize_t inside(const void *numbers, Py_ssize_t from, Py_ssize_t count, size_t each, const char *what);
#define AT(numbers, place) ((numbers)[inside((numbers), (place), 1, sizeof *(numbers), #numbers)])
#define PART(numbers, from, count) ((numbers) + inside((numbers), (from), (count), sizeof *(numbers), #numbers))
#else
#define AT(numbers, place) ((numbers)[place])
#define PART(numbers, from, count) ((numbers) + (from))
#endif

/* Room for numbers; NULL with an exception set where there is none or a size is beyond measure. */
double *room_for(Py_ssize_t numbers, Py_ssize_t times);

#define IN(label, number_kind) {.name = label, .kind = number_kind, .writable = 0}
#define OUT(label, number_kind) {.name = label, .kind = number_kind, .writable = 1}

/* Compiled twice on Linux with gcc: vectors of four numbers where the machine has them. Without contraction of products
   and sums, and with every trial in a lane of its own, both give the same numbers. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__gnu_linux__) && !defined(PLAIN_BUILD)
#define VECTORISED __attribute__((target_clones("avx2", "default")))
#else
#define VECTORISED
#endif

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline)) /* into both */
#else
#define INLINE static inline
#endif

#endif
