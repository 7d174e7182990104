# Program: the flat list of steps.  Arena: the memory of one run.

from cpython.buffer cimport PyBuffer_FillInfo
from cpython.exc cimport PyErr_NewException, PyErr_SetFromErrno
from libc.stdlib cimport free, malloc, realloc

cdef extern from "<sys/mman.h>" nogil:
    void *mmap(void *address, size_t bytes, int protection, int flags, int descriptor, long offset)
    int munmap(void *address, size_t bytes)
    void *MAP_FAILED
    int MAP_SHARED, PROT_READ

cdef extern from *:
    """
    #include <stdlib.h>
    #include <time.h>
    #ifdef __linux__
    #include <sys/mman.h>
    #include <unistd.h>
    #ifndef MADV_POPULATE_READ
    #define MADV_POPULATE_READ 22      /* Linux 5.14; older ones refuse it, and pages come by faults */
    #endif
    #endif
    /* Large blocks ask for huge pages: fewer faults on first touch (2 us for each 4 KiB, which is more than the first run
       of a small network computes), and panels that are streamed cross fewer pages.  A last page that would be half empty
       is left out.  64 bytes more than asked for may be read: integer kernels read bytes four at a time. */
    static void *tn_aligned_alloc(size_t bytes)
    {
        const size_t huge = 2 << 20;
        const size_t pages = (bytes + huge / 2) / huge;
        const size_t room = bytes > pages * huge ? bytes : pages * huge;
        void *memory = NULL;
        if (posix_memalign(&memory, pages ? huge : 64, room + 64))
            return NULL;
    #if defined(__linux__) && defined(MADV_HUGEPAGE)
        if (pages)
            madvise(memory, pages * huge, MADV_HUGEPAGE);
    #endif
        return memory;
    }
    /* Sum of little-endian 64-bit words, modulo 2^64.  Eight places are read at once: one after the other would leave memory
       waiting for a single core's prefetcher (1.7 times slower). */
    static uint64_t tn_sum(const char *data, int64_t words)
    {
        typedef uint64_t lanes __attribute__((vector_size(32), aligned(1), may_alias));
        const int64_t part = words / 8 & -4;        /* words of each place */
        const int64_t stride = 8 * part;
        lanes s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0}, s4 = {0}, s5 = {0}, s6 = {0}, s7 = {0};
        uint64_t total = 0, word;
    #ifdef __linux__
        /* All pages of a mapped file in one call, and not in a fault for every sixteen. */
        const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = (uintptr_t)data & -page;
        madvise((void *)first, (uintptr_t)data + 8 * words - first, MADV_POPULATE_READ);
    #endif
        for (const char *at = data; at < data + stride; at += 32) {
            s0 += *(const lanes *)at;
            s1 += *(const lanes *)(at + stride);
            s2 += *(const lanes *)(at + 2 * stride);
            s3 += *(const lanes *)(at + 3 * stride);
            s4 += *(const lanes *)(at + 4 * stride);
            s5 += *(const lanes *)(at + 5 * stride);
            s6 += *(const lanes *)(at + 6 * stride);
            s7 += *(const lanes *)(at + 7 * stride);
        }
        s0 += s1 + s2 + s3 + s4 + s5 + s6 + s7;
        for (int k = 0; k < 4; k++)
            total += s0[k];
        for (int64_t i = 8 * part; i < words; i++) {
            memcpy(&word, data + 8 * i, 8);
            total += word;
        }
        return total;
    }
    static int64_t tn_nanoseconds(void)
    {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    }
    """
    void *tn_aligned_alloc(size_t bytes) nogil
    int64_t tn_nanoseconds() nogil
    uint64_t tn_sum(const char *data, int64_t words) nogil

cdef enum:
    MAX_SPACES = 4096


def levels() -> list:
    """(name, usable on this CPU, level whose kernels for floats it has) of every instruction set level in this build,
    weakest first."""
    cdef int i = 0, usable = 0
    cdef const char *name
    cdef const char *base = NULL
    found = []
    while True:
        name = tn_level(i, &usable, &base)
        if name == NULL:
            return found
        found.append(((<bytes>name).decode(), bool(usable), (<bytes>base).decode()))
        i += 1


def span(buffer, /) -> tuple:
    """(address, bytes) of a contiguous buffer."""
    cdef Bytes whole = Bytes(buffer, PyBUF_SIMPLE)
    return <size_t>whole.view.buf, whole.view.len


cdef struct Sum:
    const char *data
    int64_t words
    uint64_t total[64]      # by thread


cdef void sum_job(void *argument, int thread, int threads, tn_team *team) noexcept nogil:
    cdef Sum *job = <Sum *>argument
    cdef tn_context c
    cdef int64_t first, last
    c.thread = thread
    c.threads = threads
    my_part(&c, job.words, 512, &first, &last)
    job.total[thread] = tn_sum(job.data + 8 * first, last - first)


def sum_words(buffer, int threads, /) -> int:
    """The buffer as little-endian 64-bit words, the last one filled up with zero bytes: their sum modulo 2^64."""
    cdef Bytes whole = Bytes(buffer, PyBUF_SIMPLE)
    cdef Sum job
    cdef uint64_t total = 0, rest = 0
    cdef int i
    job.data = <const char *>whole.view.buf
    job.words = whole.view.len // 8
    memset(job.total, 0, sizeof(job.total))
    with nogil:
        tn_run_job(sum_job, &job, threads)
    for i in range(64):
        total += job.total[i]
    for i in range(whole.view.len % 8):
        rest |= <uint64_t><uint8_t>job.data[8 * job.words + i] << 8 * i
    return total + rest


cdef class Mapping:
    """The first `nbytes` of an open file as a read-only buffer; other processes that map the file share its pages.  What
    Python's own mmap does, without an import that takes as long as reading a small network."""
    cdef void *memory
    cdef Py_ssize_t nbytes

    def __cinit__(self, int descriptor, Py_ssize_t nbytes, /):
        self.memory = mmap(NULL, nbytes, PROT_READ, MAP_SHARED, descriptor, 0)
        if self.memory == MAP_FAILED:
            self.memory = NULL
            PyErr_SetFromErrno(OSError)
        self.nbytes = nbytes

    def __dealloc__(self):
        if self.memory != NULL:
            munmap(self.memory, self.nbytes)

    def __len__(self):
        return self.nbytes

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.memory, self.nbytes, True, flags)


cdef class Arena:
    """64-byte aligned memory, touched for the first time by the run that uses it."""
    cdef char *memory
    cdef readonly Py_ssize_t nbytes
    cdef Py_ssize_t shape[1]
    cdef Py_ssize_t stride[1]

    def __cinit__(self, int64_t nbytes, /):
        if nbytes < 0:
            raise ValueError("an arena cannot have a negative size")
        if nbytes != <Py_ssize_t>nbytes:    # 32-bit processors
            raise MemoryError(f"cannot allocate an arena of {nbytes} bytes")
        self.nbytes = nbytes
        self.memory = <char *>tn_aligned_alloc(nbytes)
        if self.memory == NULL:
            raise MemoryError(f"cannot allocate an arena of {nbytes} bytes")

    def __dealloc__(self):
        free(self.memory)

    def __getbuffer__(self, Py_buffer *view, int flags):
        self.shape[0] = self.nbytes
        self.stride[0] = 1
        view.buf = self.memory
        view.obj = self
        view.len = self.nbytes
        view.readonly = 0
        view.itemsize = 1
        view.format = NULL
        view.ndim = 1
        view.shape = self.shape
        view.strides = self.stride
        view.suboffsets = NULL
        view.internal = NULL

    def __releasebuffer__(self, Py_buffer *view):
        pass


# Not a class statement, which brings Cython's functions with all their attributes into the module.
StepError = PyErr_NewException("tinynet.kernels.engine.StepError", RuntimeError, {
    "__doc__": "A kernel reported a failure; args: the step's number in the program, what the kernel returned."})


cdef struct Job:
    const tn_step *steps
    int64_t first, last
    char **base
    const tn_micro *micro
    const tn_int8 *int8
    int64_t *times        # [last - first] nanoseconds, or NULL
    int64_t step          # that runs now
    int status            # first failure
    int64_t failed


cdef inline tn_context context_of(Job *job, int thread, int threads, tn_team *team) noexcept nogil:
    cdef tn_context c
    c.base = job.base
    c.micro = job.micro
    c.int8 = job.int8
    c.thread = thread
    c.threads = threads
    c.team = team
    return c


cdef inline void run_step(Job *job, tn_context *c) noexcept nogil:
    cdef const tn_step *step = &job.steps[job.step]
    cdef int status = step.kernel(step, c)
    if status and job.status == 0:
        job.status = status
        job.failed = job.step


cdef void run_part(void *argument, int thread, int threads, tn_team *team) noexcept nogil:
    """What each thread of a crew does."""
    cdef Job *job = <Job *>argument
    cdef tn_context c = context_of(job, thread, threads, team)
    run_step(job, &c)


cdef void run_steps(Job *job, int threads) noexcept nogil:
    """Steps [first, last): small ones on this thread, the others on all that have come."""
    cdef int64_t i, started = 0, patience = 0
    cdef bint crew
    cdef tn_context alone = context_of(job, 0, 1, tn_team_of_one())
    for i in range(job.first, job.last):
        patience += job.steps[i].patience
    crew = patience > 0 and tn_call_crew(threads, patience)
    for i in range(job.first, job.last):
        if job.times != NULL:
            started = tn_nanoseconds()
        job.step = i
        if crew and job.steps[i].patience:
            tn_region(run_part, job, job.steps[i].patience)
        else:
            run_step(job, &alone)
        if job.times != NULL:
            job.times[i - job.first] += tn_nanoseconds() - started
    if crew:
        tn_dismiss_crew()


def multiply_add(str isa, int64_t n, /) -> int:
    """n turns of multiply-adds in registers: what a benchmark measures the peak with.  Floating-point operations done."""
    name = isa.encode()
    cdef const tn_micro *micro = tn_micro_find(name)
    if micro == NULL:
        raise ValueError(f"instruction set level {isa!r} is not available on this CPU")
    return micro.multiply_add(n)


def multiply_add_int8(str isa, int64_t n, /) -> int:
    """The same for integers: multiply-accumulates of 8-bit numbers (16-bit ones where there is no dot product) done."""
    name = isa.encode()
    cdef const tn_int8 *int8 = tn_int8_find(name)
    if int8 == NULL:
        raise ValueError(f"instruction set level {isa!r} is not available on this CPU")
    return int8.multiply_add(n)


cdef void nothing(void *argument, int thread, int threads, tn_team *team) noexcept nogil:
    (<int64_t *>argument)[8 * thread] += 1


def empty_regions(int threads, int64_t n, /) -> tuple:
    """(nanoseconds that n regions of nothing take, in how many of them every thread took part)."""
    cdef int64_t counts[8 * 64]
    cdef int64_t i, started
    memset(counts, 0, sizeof(counts))
    if not 1 <= threads <= 64:
        raise ValueError(f"{threads} threads")
    with nogil:
        started = tn_nanoseconds()
        if tn_call_crew(threads, 1 << 40):
            for i in range(n):
                tn_region(nothing, counts, 1 << 40)
            tn_dismiss_crew()
        started = tn_nanoseconds() - started
    return started, min([counts[8 * i] for i in range(threads)])


def vector_floats(str isa, /) -> int:
    name = isa.encode()
    cdef const tn_micro *micro = tn_micro_find(name)
    if micro == NULL:
        raise ValueError(f"instruction set level {isa!r} is not available on this CPU")
    return micro.vector_floats


def packed_params(str kernel, dict params, /) -> bytes:
    """A kernel's parameters as its struct lies in memory, for a kernel that runs another one's work as a part of its own."""
    cdef int64_t[TN_MAX_PARAMS] out
    write_params(kernel, params, out)
    return (<char *>out)[:8 * len(params)]


def parameter(str kernel, str name, /) -> int:
    """Where a parameter stands among those of its kernel."""
    return [parameter for parameter, _ in _parameters(kernel)].index(name)


cdef int write_params(str kernel, dict params, int64_t *out) except -1:
    cdef tuple wanted = _parameters(kernel)
    cdef int i = 0
    if len(wanted) != len(params) or not all([name in params for name, _ in wanted]):
        raise ValueError(f"{kernel}: parameters {sorted({name for name, _ in wanted} ^ params.keys())} are missing or unknown")
    for name, double in wanted:
        if double:
            (<double *>out)[i] = params[name]
        else:
            out[i] = params[name]
        i += 1
    return 0


cdef class Program:
    """Steps with their memory operands as (space, byte offset); the addresses of the spaces come with each run."""
    cdef tn_step *steps
    cdef readonly int64_t count
    cdef int64_t room
    cdef const tn_micro *micro
    cdef const tn_int8 *int8
    cdef readonly str isa

    def __cinit__(self, str isa, /):
        name = isa.encode()
        self.micro = tn_micro_find(name)
        self.int8 = tn_int8_find(name)
        if self.micro == NULL:
            raise ValueError(f"instruction set level {isa!r} is not available on this CPU")
        self.isa = isa

    def __dealloc__(self):
        free(self.steps)

    def add(self, str kernel, list operands, dict params, int64_t patience, /) -> int:
        """Append a step and return its number.  operands: (space, byte offset) or None each.  patience: nanoseconds to wait
        for missing threads; 0: the step runs on one."""
        if kernel not in _KERNELS:
            raise ValueError(f"no kernel is called {kernel!r}")
        address = _KERNELS[kernel][0]
        if len(operands) > TN_MAX_OPERANDS:
            raise ValueError(f"{kernel}: {len(operands)} operands, at most {TN_MAX_OPERANDS} are possible")
        if self.count == self.room:
            self.grow()
        cdef tn_step *s = &self.steps[self.count]
        cdef int i
        memset(s, 0, sizeof(tn_step))
        s.kernel = <tn_kernel><size_t>address
        s.patience = patience
        for i in range(TN_MAX_OPERANDS):
            s.space[i] = -1
        for i, place in enumerate(operands):
            if place is not None:
                s.space[i] = place[0]
                s.offset[i] = place[1]
                if not 0 <= s.space[i] < MAX_SPACES:
                    raise ValueError(f"{kernel}: memory space {place[0]} does not exist")
        write_params(kernel, params, s.param)
        self.count += 1
        return self.count - 1

    cdef int grow(self) except -1:
        cdef int64_t room = max(<int64_t>64, 2 * self.room)
        cdef tn_step *steps = <tn_step *>realloc(self.steps, room * sizeof(tn_step))
        if steps == NULL:
            raise MemoryError(f"cannot allocate {room} steps")
        self.steps = steps
        self.room = room
        return 0

    def run(self, int64_t first, int64_t last, spaces, int threads, times=None, /):
        """Run steps [first, last).  spaces: one buffer per memory space; times: a writable buffer of int64 per step to
        which nanoseconds are added.  Raises StepError if a kernel reports a failure."""
        cdef int64_t n = len(spaces), i, held = 0
        cdef char **base = <char **>malloc(max(n, 1) * sizeof(void *))
        cdef Py_buffer *views = <Py_buffer *>malloc((n + 1) * sizeof(Py_buffer))
        cdef Job job
        if not 0 <= first <= last <= self.count:
            free(base)
            free(views)
            raise ValueError(f"steps {first} to {last} of {self.count}")
        try:
            if base == NULL or views == NULL:
                raise MemoryError("cannot allocate the table of memory spaces")
            for i in range(n):
                PyObject_GetBuffer(spaces[i], &views[i], PyBUF_SIMPLE)
                held = i + 1
                base[i] = <char *>views[i].buf
            job.times = NULL
            if times is not None:
                PyObject_GetBuffer(times, &views[n], PyBUF_WRITABLE)
                held = n + 1
                if views[n].len < (last - first) * 8:
                    raise ValueError("too few counters")
                job.times = <int64_t *>views[n].buf
            job.steps = self.steps
            job.first = first
            job.last = last
            job.base = base
            job.micro = self.micro
            job.int8 = self.int8
            job.status = 0
            job.failed = -1
            with nogil:
                run_steps(&job, threads)
            if job.status:
                raise StepError(job.failed, job.status)
        finally:
            for i in range(held):
                PyBuffer_Release(&views[i])
            free(views)
            free(base)
