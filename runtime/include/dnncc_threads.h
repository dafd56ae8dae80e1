/* dnncc_threads.h: a small pool of threads that share the outermost loop of a kernel.
 *
 * The share of a thread depends on the number of threads only, never on timing, and no sum is split between threads: the
 * results are the same bits with any number. Threads are started at the first inference that may use more than one.
 * Define DNNCC_SCRATCH_BYTES, the working memory of a thread, before including this file.
 */
#ifndef DNNCC_THREADS_H
#define DNNCC_THREADS_H

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#define DNNCC_MAX_THREADS 64
#define DNNCC_SPINS 4000 /* looks for work before a thread sleeps: some tens of microseconds */

/* Runs iterations first to last - 1 of a kernel whose arguments are `arguments`. */
typedef void (*dnncc_part)(void *const *arguments, int32_t first, int32_t last, uint8_t *scratch);

static struct {
    pthread_mutex_t busy; /* held while an inference uses the pool */
    pthread_mutex_t lock; /* of sleeping and waking */
    pthread_cond_t wake;
    int threads;          /* 0: not decided yet */
    int started;          /* threads 1 .. started - 1 exist */
    uint32_t round;       /* counts the kernels; a change is the signal to work */
    int32_t pending;      /* threads that still work on this round's */
    int sharing;          /* threads that take part in this round */
    dnncc_part part;
    void *const *arguments;
    int32_t extent;
    uint32_t seen[DNNCC_MAX_THREADS]; /* the round in which a thread was started */
    uint8_t *scratch[DNNCC_MAX_THREADS];
} dnncc_pool = {.busy = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static inline void dnncc_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static inline int32_t dnncc_share(int thread, int threads, int32_t extent) {
    return (int32_t)((int64_t)extent * thread / threads);
}

static void dnncc_work(int thread, uint8_t *scratch) {
    const int32_t first = dnncc_share(thread, dnncc_pool.sharing, dnncc_pool.extent);
    const int32_t last = dnncc_share(thread + 1, dnncc_pool.sharing, dnncc_pool.extent);
    if (first < last) {
        dnncc_pool.part(dnncc_pool.arguments, first, last, scratch);
    }
}

static void *dnncc_thread(void *number) {
    const int thread = (int)(intptr_t)number;
    uint32_t seen = dnncc_pool.seen[thread];
    for (;;) {
        int spins = 0;
        while (__atomic_load_n(&dnncc_pool.round, __ATOMIC_ACQUIRE) == seen && spins < DNNCC_SPINS) {
            dnncc_pause();
            ++spins;
        }
        if (spins == DNNCC_SPINS) {
            pthread_mutex_lock(&dnncc_pool.lock);
            while (__atomic_load_n(&dnncc_pool.round, __ATOMIC_ACQUIRE) == seen) {
                pthread_cond_wait(&dnncc_pool.wake, &dnncc_pool.lock);
            }
            pthread_mutex_unlock(&dnncc_pool.lock);
        }
        ++seen;
        if (thread < dnncc_pool.sharing) {
            dnncc_work(thread, dnncc_pool.scratch[thread]);
        }
        __atomic_sub_fetch(&dnncc_pool.pending, 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

/* A forked process has one thread only. */
static void dnncc_after_fork(void) {
    dnncc_pool.started = 0;
    dnncc_pool.round = 0;
    pthread_mutex_init(&dnncc_pool.busy, NULL);
    pthread_mutex_init(&dnncc_pool.lock, NULL);
    pthread_cond_init(&dnncc_pool.wake, NULL);
}

/* Starts what is missing; what cannot be started is done without. */
static int dnncc_start(int threads) {
    if (dnncc_pool.started == 0) {
        static int prepared = 0;
        if (!prepared) {
            prepared = pthread_atfork(NULL, NULL, dnncc_after_fork) == 0;
        }
        dnncc_pool.started = 1;
    }
    while (dnncc_pool.started < threads) {
        const int thread = dnncc_pool.started;
        pthread_t handle;
        void *memory = NULL;
        if (DNNCC_SCRATCH_BYTES > 0 && posix_memalign(&memory, 64, DNNCC_SCRATCH_BYTES) != 0) {
            break;
        }
        free(dnncc_pool.scratch[thread]);
        dnncc_pool.scratch[thread] = (uint8_t *)memory;
        dnncc_pool.seen[thread] = dnncc_pool.round;
        if (pthread_create(&handle, NULL, dnncc_thread, (void *)(intptr_t)thread) != 0) {
            break;
        }
        pthread_detach(handle);
        ++dnncc_pool.started;
    }
    return threads < dnncc_pool.started ? threads : dnncc_pool.started;
}

static int dnncc_threads(void) {
    int threads = __atomic_load_n(&dnncc_pool.threads, __ATOMIC_RELAXED);
    if (threads == 0) {
        const char *text = getenv("DNNCC_NUM_THREADS");
        threads = text == NULL ? 1 : atoi(text);
        threads = threads < 1 ? 1 : threads > DNNCC_MAX_THREADS ? DNNCC_MAX_THREADS : threads;
        __atomic_store_n(&dnncc_pool.threads, threads, __ATOMIC_RELAXED);
    }
    return threads;
}

DNNCC_UNUSED static void dnncc_set_threads(int threads) {
    threads = threads < 1 ? 1 : threads > DNNCC_MAX_THREADS ? DNNCC_MAX_THREADS : threads;
    __atomic_store_n(&dnncc_pool.threads, threads, __ATOMIC_RELAXED);
}

/* Runs a kernel; `scratch` is this thread's. While another inference uses the pool, this one does all by itself. */
DNNCC_UNUSED static void dnncc_parallel(dnncc_part part, void *const *arguments, int32_t extent, uint8_t *scratch) {
    const int threads = dnncc_threads();
    if (threads == 1 || pthread_mutex_trylock(&dnncc_pool.busy) != 0) {
        part(arguments, 0, extent, scratch);
        return;
    }
    dnncc_pool.sharing = dnncc_start(threads);
    dnncc_pool.part = part;
    dnncc_pool.arguments = arguments;
    dnncc_pool.extent = extent;
    __atomic_store_n(&dnncc_pool.pending, dnncc_pool.started - 1, __ATOMIC_RELAXED);
    if (dnncc_pool.started > 1) {
        pthread_mutex_lock(&dnncc_pool.lock);
        __atomic_add_fetch(&dnncc_pool.round, 1, __ATOMIC_RELEASE);
        pthread_cond_broadcast(&dnncc_pool.wake);
        pthread_mutex_unlock(&dnncc_pool.lock);
    }
    dnncc_work(0, scratch);
    while (__atomic_load_n(&dnncc_pool.pending, __ATOMIC_ACQUIRE) != 0) {
        dnncc_pause();
    }
    pthread_mutex_unlock(&dnncc_pool.busy);
}

#endif
