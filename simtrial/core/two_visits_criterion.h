/* Sums that simtrial/kernels/two_visits_criterion.py describes, and the criterion on those of one trial. */
#ifndef SIMTRIAL_TWO_VISITS_CRITERION_H
#define SIMTRIAL_TWO_VISITS_CRITERION_H

#include "two_by_two.h"

enum { COUNTS, SUMS, PRODUCTS, DROPPED, VISIT_SUMS_END };

/* The arrays of VisitSums. */
typedef struct {
    Py_ssize_t trials, positions;
    int regressors;
    const double *counts, *sums, *products, *dropped;
} visit_sums;

/* Arguments counts, sums, products, dropped at the head of a kernel's list. */
#define VISIT_SUMS IN("counts", FLOATS), IN("sums", FLOATS), IN("products", FLOATS), IN("dropped", FLOATS)

/* Takes these four arguments; 0 with an exception set where they are not sums. */
int take_visit_sums(visit_sums *sums, array *arguments, PyObject *const *given);

/* One trial: practices filled up to a whole number of vectors, so are rows. The rest is workplace. */
typedef struct {
    Py_ssize_t practices, positions, width; /* practices: with those that fill up, which have nobody */
    int regressors;
    double total[3];           /* participants of each pattern */
    double *counts;            /* (3, practices) */
    double *sums, *products;   /* (4, practices, width), (5, q, width) */
    const double *dropped;     /* (p) */
    double *s, *k, *residual;  /* (3, practices) each, entries 00, 01, 11; (8, practices), first of sums, then of f */
    double *c, *f;             /* (2, practices, width) */
    double *gram, *psi, *row, *column; /* (q, width), (q, width), (width) */
    double *room;
} visits;

typedef struct {
    double value, log_determinant;
    symmetric rest, by_e, by_u; /* slopes by E and U */
} visit_evaluation;

int make_visits(visits *one, const visit_sums *sums);
void free_visits(visits *one);
void load_visits(visits *one, const visit_sums *sums, Py_ssize_t trial);

/* The criterion alone, at E and the root B of U. */
double value_of_visits(visits *one, symmetric e, symmetric root, int reml);

/* All; the inverse and the coefficients are in `gram`. */
void evaluate_visits(visits *one, symmetric e, symmetric root, int reml, visit_evaluation *at);

/* Expected second derivatives (6, 6) at E, where the trial was evaluated last. */
void curvature_of_visits(const visits *one, symmetric e, double *curvature);

#endif
