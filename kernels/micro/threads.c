#define _GNU_SOURCE     /* sched_getcpu, sched_setaffinity */
#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

enum {
    SPIN_NANOSECONDS = 100000,     /* before a worker sleeps: longer than the gap between two runs in a row */
    YIELD_NANOSECONDS = 50000,     /* who waits this long is waiting for a thread that lost its CPU */
    WAKE_NANOSECONDS = 200000,     /* who has not come after that is not coming soon */
    WAKE_PATIENCE = 250000,        /* less to do than this is done before a sleeping worker has come */
    MOST_CREDIT = 4000000,         /* of time that workers have saved: they may make the caller wait for so long in turn */
    LEAST_ALONE = 2,               /* where they took longer, the caller does without them for so many times as long, */
    MOST_ALONE = 32,               /* twice as many each time, until they have saved all that credit */
    LOOK_AT_CLOCK = 32             /* turns of a waiting loop, 10 to 60 ns each */
};

struct tn_team {
    int threads;
    _Alignas(64) atomic_int arrived;
    _Alignas(64) atomic_int phase;
};

static struct {
    pthread_mutex_t busy;        /* held by the thread whose crew is gathered */
    pthread_mutex_t lock;        /* guards sleeping workers */
    pthread_cond_t wake;
    int workers;                 /* started so far */
    int wanted;                  /* threads of this crew, the caller included */
    int64_t called;              /* when a caller last found workers asleep, in nanoseconds */
    int64_t gathered;            /* when, in nanoseconds */
    int64_t credit;              /* nanoseconds that workers have saved, at a guess, beyond those that they lost their CPUs */
    int64_t alone_times;
    int64_t alone_until;         /* 0, or when workers, who cost more than they saved, get another chance */
    tn_job job;
    void *argument;
    tn_team team;
    /* Number of the crew * 256 + threads of it.  One word: a worker that is not wanted may look at it late, and must not mix
       one crew's number with the next one's threads. */
    _Alignas(64) atomic_uint call;
    atomic_int cpu;              /* where the caller runs, or -1 */
    /* Number of the crew * 256 + workers that have come. */
    _Alignas(64) atomic_uint present;
    /* Number of the crew * 2^32 + number of the region * 256 + its threads. */
    _Alignas(64) atomic_ullong region;
    _Alignas(64) atomic_int sleeping;
    _Alignas(64) atomic_int finished;
} pool = {.busy = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER,
          .alone_times = LEAST_ALONE};

static const unsigned long long DISMISSED = ~0ull;

static int64_t nanoseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static inline void cpu_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || (defined(__arm__) && __ARM_ARCH >= 7)
    __asm__ volatile("yield");
#endif
}

typedef struct waiting {
    int turns;
    int64_t since;
} waiting;

/* One turn of a waiting loop.  True once it has lasted so many nanoseconds, from then on again every LOOK_AT_CLOCK turns. */
static inline int waited(waiting *w, int64_t limit)
{
    cpu_relax();
    if (++w->turns % LOOK_AT_CLOCK)
        return 0;
    const int64_t now = nanoseconds();
    if (!w->since)
        w->since = now;
    return now - w->since >= limit;
}

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
    waiting w = {0};
    while (atomic_load_explicit(&team->phase, memory_order_acquire) == phase)
        if (waited(&w, YIELD_NANOSECONDS))
            sched_yield();
}

static int current_cpu(void)
{
#ifdef __linux__
    return sched_getcpu();
#else
    return -1;
#endif
}

/* A worker that woke up where the caller runs has pushed it aside, and would wait for it, or it for the worker, until the
   scheduler looks at its queues again, milliseconds later.  It goes to any other CPU at once. */
static void leave_cpu_of_caller(void)
{
#ifdef __linux__
    const int cpu = atomic_load_explicit(&pool.cpu, memory_order_relaxed);
    cpu_set_t allowed, others;
    if (cpu < 0 || cpu != current_cpu() || cpu >= CPU_SETSIZE || sched_getaffinity(0, sizeof allowed, &allowed))
        return;
    others = allowed;
    CPU_CLR(cpu, &others);
    if (CPU_COUNT(&others) && !sched_setaffinity(0, sizeof others, &others))
        sched_setaffinity(0, sizeof allowed, &allowed);
#endif
}

static unsigned wait_for_call(unsigned seen)
{
    waiting w = {0};
    do {
        const unsigned now = atomic_load_explicit(&pool.call, memory_order_acquire);
        if (now != seen)
            return now;
    } while (!waited(&w, SPIN_NANOSECONDS));
    pthread_mutex_lock(&pool.lock);
    atomic_fetch_add(&pool.sleeping, 1);
    while (atomic_load(&pool.call) == seen)
        pthread_cond_wait(&pool.wake, &pool.lock);
    atomic_fetch_sub(&pool.sleeping, 1);
    pthread_mutex_unlock(&pool.lock);
    return atomic_load(&pool.call);
}

/* Takes a number in this crew and part in its regions from now on, until it is dismissed. */
static void serve(unsigned crew)
{
    leave_cpu_of_caller();
    unsigned present = atomic_load(&pool.present);
    do {
        if (present >> 8 != crew)
            return;
    } while (!atomic_compare_exchange_weak(&pool.present, &present, present + 1));
    const int thread = (int)(present & 255) + 1;
    unsigned long long seen = (unsigned long long)crew << 32;
    waiting w = {0};
    for (;;) {
        const unsigned long long now = atomic_load_explicit(&pool.region, memory_order_acquire);
        const int threads = (int)(now & 255);
        if (now == seen) {
            if (waited(&w, YIELD_NANOSECONDS))
                sched_yield();
            continue;
        }
        if (now >> 32 != crew)
            return;
        if (thread < threads) {
            pool.job(pool.argument, thread, threads, &pool.team);
            atomic_fetch_add_explicit(&pool.finished, 1, memory_order_release);
        }
        seen = now;
        w = (waiting){0};
    }
}

typedef struct worker_start {
    int number;
    unsigned seen;
} worker_start;

static void *worker(void *argument)
{
    const worker_start start = *(worker_start *)argument;
    free(argument);
    unsigned seen = start.seen;
    for (;;) {
        seen = wait_for_call(seen);
        if (start.number < (int)(seen & 255))
            serve(seen >> 8);
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
        start->seen = atomic_load(&pool.call);
        if (pthread_create(&thread, NULL, worker, start)) {
            free(start);
            break;
        }
        pthread_detach(thread);
        pool.workers++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* The child of a fork has one thread: forget the workers and whatever crew was at work in the parent. */
static void forget_workers(void)
{
    pthread_mutex_init(&pool.busy, NULL);
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.wake, NULL);
    pool.workers = 0;
    atomic_store(&pool.sleeping, 0);
    atomic_store(&pool.team.arrived, 0);
}

static void register_fork_handler(void) { pthread_atfork(NULL, NULL, forget_workers); }

/* Do others need the workers' CPUs so much that waiting for workers has cost more than they saved? */
static int better_alone(void)
{
    if (pool.alone_until && nanoseconds() >= pool.alone_until)
        pool.alone_until = 0;
    return pool.alone_until != 0;
}

/* Too little to do to wake workers?  Not if the last caller came just before: who runs in a loop goes on for a while. */
static int let_sleep(int threads, int64_t patience)
{
    if (patience >= WAKE_PATIENCE || atomic_load(&pool.sleeping) <= pool.workers - (threads - 1))
        return 0;
    const int64_t now = nanoseconds(), before = pool.called;
    pool.called = now;
    return now - before > SPIN_NANOSECONDS + 8 * patience;
}

int tn_call_crew(int threads, int64_t patience)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (threads > TN_MAX_THREADS)
        threads = TN_MAX_THREADS;
    if (threads <= 1 || pthread_mutex_trylock(&pool.busy))
        return 0;
    pthread_once(&once, register_fork_handler);
    if (better_alone())
        threads = 1;
    else if (pool.workers + 1 < threads)
        start_workers(threads);
    if (threads > pool.workers + 1)
        threads = pool.workers + 1;
    if (threads == 1 || let_sleep(threads, patience)) {
        pthread_mutex_unlock(&pool.busy);
        return 0;
    }
    const unsigned crew = ((atomic_load(&pool.call) >> 8) + 1) & 0xffffff;
    pool.wanted = threads;
    pool.gathered = 0;
    atomic_store_explicit(&pool.cpu, current_cpu(), memory_order_relaxed);
    atomic_store_explicit(&pool.present, crew << 8, memory_order_relaxed);
    atomic_store_explicit(&pool.region, (unsigned long long)crew << 32, memory_order_relaxed);
    atomic_store(&pool.call, crew << 8 | (unsigned)threads);
    if (atomic_load(&pool.sleeping)) {
        pool.gathered = nanoseconds();
        pthread_mutex_lock(&pool.lock);     /* who is about to sleep does so, or has seen the call */
        pthread_mutex_unlock(&pool.lock);
        pthread_cond_broadcast(&pool.wake);
    }
    return 1;
}

/* Threads that are there; waits for missing ones, but not longer than any takes that is able to come at all. */
static int count_present(int64_t patience)
{
    int threads = (int)(atomic_load_explicit(&pool.present, memory_order_acquire) & 255) + 1;
    if (threads == pool.wanted || patience <= 0)
        return threads;
    const int64_t start = nanoseconds();
    if (!pool.gathered)
        pool.gathered = start;
    const int64_t latest = pool.gathered + WAKE_NANOSECONDS + patience / 16;
    const int64_t end = latest < start + patience ? latest : start + patience;
    do {
        for (int turn = 0; turn < LOOK_AT_CLOCK && threads < pool.wanted; turn++) {
            cpu_relax();
            threads = (int)(atomic_load_explicit(&pool.present, memory_order_acquire) & 255) + 1;
        }
    } while (threads < pool.wanted && nanoseconds() < end);
    return threads;
}

tn_team *tn_team_of_one(void)
{
    static tn_team team = {.threads = 1};
    return &team;
}

/* After a region: what it has saved, about as much as one may wait for it, and the time since the caller waits. */
static void settle(int64_t patience, int64_t since)
{
    const int64_t most = 4 * patience > MOST_CREDIT ? 4 * patience : MOST_CREDIT, now = since ? nanoseconds() : 0;
    pool.credit += patience;
    if (pool.credit >= most) {
        pool.credit = most;
        pool.alone_times = LEAST_ALONE;
    }
    if (now - since <= YIELD_NANOSECONDS)
        return;
    pool.credit -= now - since;
    if (pool.credit < 0) {
        pool.alone_until = now - pool.alone_times * pool.credit;
        pool.credit = 0;
        if (pool.alone_times < MOST_ALONE)
            pool.alone_times *= 2;
    }
}

void tn_region(tn_job job, void *argument, int64_t patience)
{
    const int threads = better_alone() ? 1 : count_present(patience);
    if (threads == 1) {
        job(argument, 0, 1, tn_team_of_one());
        return;
    }
    pool.job = job;
    pool.argument = argument;
    pool.team.threads = threads;
    atomic_store_explicit(&pool.finished, 0, memory_order_relaxed);
    const unsigned long long last = atomic_load_explicit(&pool.region, memory_order_relaxed);
    atomic_store_explicit(&pool.region, (last & ~0xffffffffull) | ((last + 256) & 0xffffff00u) | (unsigned)threads,
                          memory_order_release);
    job(argument, 0, threads, &pool.team);
    waiting w = {0};
    while (atomic_load_explicit(&pool.finished, memory_order_acquire) < threads - 1)
        if (waited(&w, YIELD_NANOSECONDS))
            sched_yield();
    settle(patience, w.since);
}

void tn_dismiss_crew(void)
{
    atomic_store_explicit(&pool.region, DISMISSED, memory_order_release);
    pthread_mutex_unlock(&pool.busy);
}

void tn_run_job(tn_job job, void *argument, int threads)
{
    if (!tn_call_crew(threads, WAKE_PATIENCE)) {
        job(argument, 0, 1, tn_team_of_one());
        return;
    }
    tn_region(job, argument, WAKE_NANOSECONDS);
    tn_dismiss_crew();
}
