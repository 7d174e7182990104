/* One small pool of threads for the whole process.

   A job runs on the calling thread (number 0) and on workers 1 .. n-1; it ends when all have returned.  Inside a job,
   tn_barrier makes every thread wait for the others.  Idle workers spin for a moment (the next job of a network comes within
   microseconds), then sleep.  If the pool is busy with another caller's job, the job runs on the caller alone: two
   threads may run models at once.  After fork the child starts a pool of its own. */
#ifndef TINYNET_THREADS_H
#define TINYNET_THREADS_H

typedef struct tn_team tn_team;
typedef void (*tn_job)(void *argument, int thread, int threads, tn_team *team);

enum { TN_MAX_THREADS = 64 };

/* Runs job on up to `threads` threads and returns when it is done.  Fewer are used if they cannot be had. */
void tn_run_job(tn_job job, void *argument, int threads);
/* Waits for all threads of the team; free for a team of one. */
void tn_barrier(tn_team *team);

#endif
