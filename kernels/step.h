/* One step of a compiled network and what it sees while it runs. */
#ifndef TINYNET_STEP_H
#define TINYNET_STEP_H

#include "micro/micro.h"
#include "micro/int8/int8.h"
#include "micro/threads.h"

enum { TN_MAX_OPERANDS = 12, TN_MAX_PARAMS = 40 };

typedef struct tn_context {
    char *const *base;         /* [spaces] start of each memory space: arena, weights, constants, scratch, inputs, outputs */
    const tn_micro *micro;
    const tn_int8 *int8;
    int thread, threads;       /* which part of the work is mine */
    tn_team *team;
} tn_context;

typedef struct tn_step tn_step;
/* Returns 0; anything else stops the run and becomes an exception. */
typedef int (*tn_kernel)(const tn_step *step, tn_context *context);

struct tn_step {
    tn_kernel kernel;
    int64_t patience;                      /* 0: too small to split; else nanoseconds to wait for missing threads */
    int32_t space[TN_MAX_OPERANDS];        /* -1: operand is absent */
    int64_t offset[TN_MAX_OPERANDS];       /* bytes */
    int64_t param[TN_MAX_PARAMS];          /* the kernel's own struct of int64 and double fields */
};

#endif
