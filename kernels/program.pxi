# Program: the flat list of steps.  Arena: the memory of one run.

from libc.stdlib cimport free, malloc, realloc

cdef extern from *:
    """
    #include <stdlib.h>
    #include <time.h>
    #ifdef __linux__
    #include <sys/mman.h>
    #endif
    /* Large blocks ask for huge pages: fewer faults on first touch, and panels that are streamed cross fewer pages. */
    static void *tn_aligned_alloc(size_t bytes)
    {
        const size_t huge = 2 << 20;
        void *memory = NULL;
        if (posix_memalign(&memory, bytes >= 2 * huge ? huge : 64, bytes ? bytes : 64))
            return NULL;
    #if defined(__linux__) && defined(MADV_HUGEPAGE)
        if (bytes >= 2 * huge)
            madvise(memory, bytes / huge * huge, MADV_HUGEPAGE);
    #endif
        return memory;
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

cdef enum:
    MAX_SPACES = 4096


def kernel_params() -> dict:
    """Kernel name -> names of its parameters; a trailing * marks a double."""
    return {name: names for name, (_, names) in _KERNELS.items()}


def levels() -> list:
    """(name, usable on this CPU) of every instruction set level in this build, weakest first."""
    cdef int i = 0, usable = 0
    cdef const char *name
    found = []
    while True:
        name = tn_micro_level(i, &usable)
        if name == NULL:
            return found
        found.append(((<bytes>name).decode(), bool(usable)))
        i += 1


cdef class Arena:
    """64-byte aligned memory, touched for the first time by the run that uses it."""
    cdef char *memory
    cdef readonly Py_ssize_t nbytes
    cdef Py_ssize_t shape[1]
    cdef Py_ssize_t stride[1]

    def __cinit__(self, Py_ssize_t nbytes):
        if nbytes < 0:
            raise ValueError("an arena cannot have a negative size")
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


cdef struct Job:
    const tn_step *steps
    int64_t first, last
    char **base
    const tn_micro *micro
    int64_t *times        # [last - first] nanoseconds, or NULL
    int status            # first failure
    int64_t failed


cdef void run_steps(void *argument, int thread, int threads, tn_team *team) noexcept nogil:
    """What each thread of the team does.  Split steps end with a barrier; a run of small steps is done by thread 0
    alone, with one barrier before the next split step."""
    cdef Job *job = <Job *>argument
    cdef tn_context mine, alone
    cdef int64_t i, started = 0
    cdef int status
    cdef bint pending = False      # thread 0 has done steps that the others have not waited for
    mine.base = job.base
    mine.micro = job.micro
    mine.thread = thread
    mine.threads = threads
    mine.team = team
    for i in range(job.first, job.last):
        if job.times != NULL and thread == 0:
            started = tn_nanoseconds()
        if threads > 1 and not job.steps[i].parallel:
            if thread == 0:
                run_alone(job, i)
            pending = True
        else:
            if pending:
                tn_barrier(team)
                pending = False
            status = job.steps[i].kernel(&job.steps[i], &mine)
            if status and job.status == 0:
                job.status = status
                job.failed = i
            tn_barrier(team)
        if job.times != NULL and thread == 0:
            job.times[i - job.first] += tn_nanoseconds() - started


cdef void single_step(void *argument, int thread, int threads, tn_team *team) noexcept nogil:
    cdef Job *job = <Job *>argument
    cdef tn_context c
    cdef int status
    c.base = job.base
    c.micro = job.micro
    c.thread = 0
    c.threads = 1
    c.team = team
    status = job.steps[job.first].kernel(&job.steps[job.first], &c)
    if status and job.status == 0:
        job.status = status
        job.failed = job.first


cdef inline void run_alone(Job *job, int64_t i) noexcept nogil:
    """Step i on this thread with a team of one, so that its barriers are free."""
    cdef Job one = job[0]
    one.first = i
    one.status = 0
    tn_run_job(single_step, &one, 1)
    if one.status and job.status == 0:
        job.status = one.status
        job.failed = i


cdef class Program:
    """Steps with their memory operands as (space, byte offset); the addresses of the spaces come with each run."""
    cdef tn_step *steps
    cdef readonly int64_t count
    cdef int64_t room
    cdef const tn_micro *micro
    cdef readonly str isa

    def __cinit__(self, str isa):
        name = isa.encode()
        self.micro = tn_micro_find(name)
        if self.micro == NULL:
            raise ValueError(f"instruction set level {isa!r} is not available on this CPU")
        self.isa = isa

    def __dealloc__(self):
        free(self.steps)

    def add(self, str kernel, list operands, dict params, bint parallel) -> int:
        """Append a step and return its number.  operands: (space, byte offset) or None each."""
        if kernel not in _KERNELS:
            raise ValueError(f"no kernel is called {kernel!r}")
        address, names = _KERNELS[kernel]
        if len(operands) > TN_MAX_OPERANDS:
            raise ValueError(f"{kernel}: {len(operands)} operands, at most {TN_MAX_OPERANDS} are possible")
        expected = {n.rstrip("*") for n in names}
        if expected != params.keys():
            raise ValueError(f"{kernel}: parameters {sorted(expected ^ params.keys())} are missing or unknown")
        if self.count == self.room:
            self.grow()
        cdef tn_step *s = &self.steps[self.count]
        cdef int i
        memset(s, 0, sizeof(tn_step))
        s.kernel = <tn_kernel><size_t>address
        s.parallel = parallel
        for i in range(TN_MAX_OPERANDS):
            s.space[i] = -1
        for i, place in enumerate(operands):
            if place is not None:
                s.space[i] = place[0]
                s.offset[i] = place[1]
                if not 0 <= s.space[i] < MAX_SPACES:
                    raise ValueError(f"{kernel}: memory space {place[0]} does not exist")
        for i, label in enumerate(names):
            if label.endswith("*"):
                (<double *>s.param)[i] = params[label[:-1]]
            else:
                s.param[i] = params[label]
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

    def run(self, int64_t first, int64_t last, spaces, int threads, times=None):
        """Run steps [first, last).  spaces: one buffer per memory space; times: a writable buffer of int64 per step to
        which nanoseconds are added.  Raises RuntimeError if a kernel reports a failure."""
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
            job.status = 0
            job.failed = -1
            with nogil:
                tn_run_job(run_steps, &job, threads)
            if job.status:
                raise RuntimeError(f"step {job.failed} failed with status {job.status}")
        finally:
            for i in range(held):
                PyBuffer_Release(&views[i])
            free(views)
            free(base)
