/* One small pool of threads for the whole process.

   A caller gathers a crew, gives it regions one after the other, and dismisses it.  A region is a function that the caller
   (number 0) and the workers that have come run side by side; it ends when all of them have returned.  Inside, tn_barrier
   makes every thread of the region wait for the others.

   Nobody waits for a worker that has not come: one that sleeps takes tens of microseconds to wake, one whose CPU is busy with
   something else takes milliseconds, and until then regions run on those who are there.  So a region must not depend on how
   many threads run the one before.

   Idle workers spin for a moment (the next region of a network comes within microseconds), then sleep.  If the pool is busy
   with another caller's crew, regions run on the caller alone: two threads may run models at once.  After fork the child
   starts a pool of its own. */
#ifndef TINYNET_THREADS_H
#define TINYNET_THREADS_H

#include <stdint.h>

typedef struct tn_team tn_team;
typedef void (*tn_job)(void *argument, int thread, int threads, tn_team *team);

enum { TN_MAX_THREADS = 64 };

/* Calls workers, so that with the caller there will be up to `threads`.  patience: of all regions together; where it is
   little, sleeping workers are woken only for a caller who calls again and again.  0: nobody comes, there is nothing to dismiss. */
int tn_call_crew(int threads, int64_t patience);
/* Runs job on who is there, after waiting up to `patience` nanoseconds for who is missing.  Only between tn_call_crew and
   tn_dismiss_crew. */
void tn_region(tn_job job, void *argument, int64_t patience);
void tn_dismiss_crew(void);

/* The team of a thread that works alone. */
tn_team *tn_team_of_one(void);
/* All of it for a single region, which is worth waiting for workers to wake up. */
void tn_run_job(tn_job job, void *argument, int threads);

/* Waits for all threads of the team; free for a team of one. */
void tn_barrier(tn_team *team);

#endif
