#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

enum {
    SPINS_BEFORE_SLEEP = 20000, /* about 50 us of `pause` on 2.5 GHz x86: longer than the gap between two layers */
    SPINS_BEFORE_YIELD = 2000   /* a barrier that waits this long is waiting for a thread that lost its CPU */
};

static inline void cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || (defined(__arm__) && __ARM_ARCH >= 7)
    __asm__ volatile("yield");
#endif
}

struct tn_team {
    int threads;
    _Alignas(64) atomic_int arrived;
    _Alignas(64) atomic_int phase;
};

void tn_barrier(tn_team *team)
{
    if (team->threads == 1)
        return;
    const int phase = atomic_load_explicit(&team->phase, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) + 1 == team->threads) {
        atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&team->phase, phase + 1, memory_order_release);
        return;
    }
    for (int spins = 0; atomic_load_explicit(&team->phase, memory_order_acquire) == phase; spins++) {
        if (spins < SPINS_BEFORE_YIELD)
            cpu_relax();
        else
            sched_yield();
    }
}

static struct {
    pthread_mutex_t busy;        /* held by the thread whose job is running */
    pthread_mutex_t lock;        /* guards sleeping workers */
    pthread_cond_t wake;
    int workers;                 /* started so far */
    /* Job counter * 256 + threads of that job, the caller included.  One word: a worker that is not wanted may look at it
       late, and must not mix one job's counter with the next job's threads. */
    _Alignas(64) atomic_uint generation;
    tn_job job;
    void *argument;
    tn_team team;
    _Alignas(64) atomic_int sleeping;
    _Alignas(64) atomic_int finished;
} pool = {.busy = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static unsigned wait_for_generation(unsigned seen)
{
    for (int spins = 0; spins < SPINS_BEFORE_SLEEP; spins++) {
        const unsigned now = atomic_load_explicit(&pool.generation, memory_order_acquire);
        if (now != seen)
            return now;
        cpu_relax();
    }
    pthread_mutex_lock(&pool.lock);
    atomic_fetch_add(&pool.sleeping, 1);
    while (atomic_load(&pool.generation) == seen)
        pthread_cond_wait(&pool.wake, &pool.lock);
    atomic_fetch_sub(&pool.sleeping, 1);
    pthread_mutex_unlock(&pool.lock);
    return atomic_load(&pool.generation);
}

typedef struct worker_start {
    int number;
    unsigned generation;
} worker_start;

static void *worker(void *argument)
{
    const worker_start start = *(worker_start *)argument;
    free(argument);
    unsigned seen = start.generation;
    for (;;) {
        seen = wait_for_generation(seen);
        const int wanted = (int)(seen & 255);
        if (start.number < wanted) {
            pool.job(pool.argument, start.number, wanted, &pool.team);
            atomic_fetch_add_explicit(&pool.finished, 1, memory_order_release);
        }
    }
    return NULL;
}

static void start_workers(int wanted)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);   /* signals belong to the application's threads */
    while (pool.workers + 1 < wanted) {
        worker_start *start = malloc(sizeof *start);
        pthread_t thread;
        if (!start)
            break;
        start->number = pool.workers + 1;
        start->generation = atomic_load(&pool.generation);
        if (pthread_create(&thread, NULL, worker, start)) {
            free(start);
            break;
        }
        pthread_detach(thread);
        pool.workers++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* The child of a fork has one thread: forget the workers and whatever job was running in the parent. */
static void forget_workers(void)
{
    pthread_mutex_init(&pool.busy, NULL);
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.wake, NULL);
    pool.workers = 0;
    atomic_store(&pool.sleeping, 0);
}

static void register_fork_handler(void) { pthread_atfork(NULL, NULL, forget_workers); }

void tn_run_job(tn_job job, void *argument, int threads)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    tn_team alone = {.threads = 1};
    if (threads > TN_MAX_THREADS)
        threads = TN_MAX_THREADS;
    if (threads <= 1 || pthread_mutex_trylock(&pool.busy)) {
        job(argument, 0, 1, &alone);
        return;
    }
    pthread_once(&once, register_fork_handler);
    start_workers(threads);
    if (threads > pool.workers + 1)
        threads = pool.workers + 1;
    if (threads == 1) {
        job(argument, 0, 1, &alone);
        pthread_mutex_unlock(&pool.busy);
        return;
    }
    pool.job = job;
    pool.argument = argument;
    pool.team.threads = threads;
    atomic_store(&pool.team.arrived, 0);
    atomic_store(&pool.finished, 0);
    atomic_store(&pool.generation, ((atomic_load(&pool.generation) >> 8) + 1) << 8 | (unsigned)threads);
    if (atomic_load(&pool.sleeping)) {
        pthread_mutex_lock(&pool.lock);
        pthread_cond_broadcast(&pool.wake);
        pthread_mutex_unlock(&pool.lock);
    }
    job(argument, 0, threads, &pool.team);
    for (int spins = 0; atomic_load_explicit(&pool.finished, memory_order_acquire) < threads - 1; spins++) {
        if (spins < SPINS_BEFORE_YIELD)
            cpu_relax();
        else
            sched_yield();
    }
    pthread_mutex_unlock(&pool.busy);
}
