/* What the files of two_classes share: people of whom all classes are known, or none, and what is made of them. */
#ifndef SIMTRIAL_TWO_CLASSES_H
#define SIMTRIAL_TWO_CLASSES_H

#include "lanes.h"

typedef struct {
    Py_ssize_t rows, practices, trials, p, q, size, nodes, sets, most; /* sets of LANES nodes; most people of a practice */
    int is_known, derivatives;
    const double *outcome, *first, *other, *predictors, *in_first, *at, *x, *log_weight;
    const int64_t *practice_trial, *people;
    double *loglik, *score, *complete, *missing;
    lanes *node, *share, *product, *class_one, *each; /* (sets) three times, (most, sets), (size, sets) */
    double *one, *two, *line, *log_first, *prior;     /* of the people of a practice (most) */
    double *mean, *a, *b;                             /* (size) */
} classes;

/* Parameters of a trial. */
typedef struct {
    const double *beta, *slope;
    double tau, sigma, square;
} parameters;

/* Log-likelihood, score and information of all trials, to what is there; the information without what `finish` adds. */
void add_classes(const classes *w);

/* A person's part of the information: of the variance over classes, and of that of complete data; upper triangles. */
void add_doubt(const classes *w, const parameters *now, Py_ssize_t row, Py_ssize_t i, const double *m, double *missing);
void add_complete(const classes *w, const parameters *now, Py_ssize_t row, Py_ssize_t i, const double *e,
                  double *complete);

/* Terms of log sigma, which are twice the score, and the lower triangles. */
void finish(const classes *w);

#endif
