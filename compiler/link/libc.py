"""Stubs of the C library: what an artifact may use, by the library that has it.

The linker needs to know only names, so it is given empty libraries made here. References
stay unversioned: the same artifact then runs with every later C library of its kind.
"""

from __future__ import annotations

from . import bionic


def _words(text: str) -> list[str]:
    return text.split()


_LIBC = _words("""
    __errno_location __sched_cpucount abort calloc clock_gettime close free getauxval getenv malloc
    memcmp memcpy memmove memset open posix_memalign read rename sched_getaffinity sched_getcpu
    sched_setaffinity sigfillset snprintf strcmp strcspn strlen strstr syscall unlink
    vsnprintf write
""")

_THREADS = _words("""
    pthread_attr_destroy pthread_attr_init pthread_attr_setstacksize pthread_create pthread_join
    pthread_sigmask
""")

#: what the agent uses beyond that; of glibc, also the names for files of any size
_AGENT = _words("""
    __fxstat64 __fxstatat64 __libc_start_main __xstat64 _exit accept4 bcmp bind closedir
    connect dirfd dprintf exit fchmod fcntl fdopendir flock fork freeaddrinfo ftruncate
    ftruncate64 getaddrinfo getpid getppid getsockname getsockopt inet_pton kill listen
    memchr memmem mkdir mmap mmap64 munmap nanosleep open64 openat openat64 opendir poll ppoll
    prctl pread pread64 pwrite pwrite64 qsort raise readdir readdir64 realpath
    recv rmdir sched_yield send setitimer setpgid setrlimit setrlimit64 setsockopt shutdown
    sigaction sigaddset sigaltstack sigemptyset signal sigprocmask sleep socket
    socketpair sprintf strchr strerror strncmp strnlen strrchr strsep strspn
    strtod strtoll strtoul strtoull sysconf time umask unlinkat usleep utimensat
    vdprintf waitid waitpid
""")

#: what bindings open artifacts with
_LOADER = _words("dlclose dlerror dlopen dlsym")

_DOUBLE = _words("""
    acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh erf erfc exp exp2 expm1 fabs
    floor fma fmax fmin fmod hypot ldexp lgamma llrint llround log log10 log1p log2 lrint lround
    nearbyint nextafter pow remainder rint round sin sinh sqrt tan tanh tgamma trunc
""")

MATHEMATICS = [*_DOUBLE, *(f"{name}f" for name in _DOUBLE)]


def libraries(triple: str) -> dict[str, list[str]]:
    """Name that the loader looks for -> functions, for the C library of a zig triple."""
    _, system, libc = triple.split("-")
    if system == "freestanding" or "." in system:
        return {}  # the runtime brings what it uses, or zig's linker knows it (macho_format.py)
    if libc.startswith("gnu"):
        return {
            "libc.so.6": _LIBC, "libpthread.so.0": _THREADS, "libdl.so.2": _LOADER,
            "libm.so.6": MATHEMATICS,
        }  # fmt: skip
    if bionic.is_android(triple):
        return bionic.libraries(bionic.level_of(triple))
    return {"libc.so": [*_LIBC, *_THREADS, *_LOADER, *MATHEMATICS]}


def program_libraries(triple: str) -> dict[str, list[str]]:
    """The same for the agent, which may do more than an artifact."""
    found = libraries(triple)
    if "libc.so.6" in found:
        found["libc.so.6"] = [*_LIBC, *_AGENT]
        found["libpthread.so.0"] = [*_THREADS, "pthread_mutex_lock", "pthread_mutex_unlock"]
    return found


def stub(functions: list[str]) -> str:
    """Assembly of a library that has these functions in name only."""
    return "".join(f".globl {f}\n.type {f}, %function\n{f}:\n" for f in functions)
