/* Sums that simtrial/kernels/by_arm_criterion.py describes, and the criterion on those of one trial. */
#ifndef SIMTRIAL_BY_ARM_CRITERION_H
#define SIMTRIAL_BY_ARM_CRITERION_H

#include "rows.h"

enum { ARM_SIZES, ARM_COUNTS, ARM_BETWEEN, ARM_WITHIN, ARM_DROPPED, ARM_SUMS_END };

/* The arrays of ArmSums. */
typedef struct {
    Py_ssize_t trials, slots, packed;
    int regressors;
    const double *sizes, *counts, *between, *within, *dropped;
} arm_sums;

/* Arguments sizes, counts, between, within, dropped at the head of a kernel's list. */
#define ARM_SUMS                                                                                                        \
    IN("sizes", FLOATS), IN("counts", FLOATS), IN("between", FLOATS), IN("within", FLOATS), IN("dropped", FLOATS)

/* Takes these five arguments; 0 with an exception set where they are not sums. */
int take_arm_sums(arm_sums *sums, array *arguments, PyObject *const *given);

/* One trial: packed matrices slot by slot, filled up to a whole number of vectors as all rows are. The rest is workplace. */
typedef struct {
    Py_ssize_t slots, packed, wide, width; /* wide: of packed matrices; width: of rows */
    int regressors;
    double people[2], clusters[2];
    double *sizes, *counts;    /* (2, slots) */
    double *between, *within;  /* (2, slots, wide), (2, wide) */
    double *dropped;           /* (p) */
    double *total, *first, *weights; /* (wide), (4, wide), (2, wide): M, its derivatives, what turns matrices into traces */
    double *gram, *slopes, *change, *v, *steps, *row, *column; /* (q, width), (4, q, width), (4, p, p), (q), (4, q), (width) */
    double *room;
} arms;

typedef struct {
    double value, slope[4], curvature[4][4];
} arm_evaluation;

int make_arms(arms *one, const arm_sums *sums);
void free_arms(arms *one);
void load_arms(arms *one, const arm_sums *sums, Py_ssize_t trial);

/* The criterion alone at theta = (s_0, s_1, t_0, t_1), and with derivatives. */
double value_of_arms(arms *one, const double *theta, int reml);
void evaluate_arms(arms *one, const double *theta, int reml, arm_evaluation *at);

#endif
