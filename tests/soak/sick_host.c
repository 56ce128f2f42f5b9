/* Loaded before libc: a wall clock that steps and a disk that is slow, as a file tells while the program runs.
 * The file named by SICK_HOST holds two doubles: seconds to add to the wall clock, seconds that a sync takes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile double *told;

__attribute__((constructor)) static void open_file(void) {
    const char *name = getenv("SICK_HOST");
    int fd = name == NULL ? -1 : open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    void *at = mmap(NULL, 2 * sizeof(double), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED) told = at;
}

static void shift(struct timespec *ts) {
    if (told == NULL || told[0] == 0) return;
    long long all = (long long)(told[0] * 1e9) + ts->tv_sec * 1000000000LL + ts->tv_nsec;
    ts->tv_sec = all / 1000000000LL;
    ts->tv_nsec = all % 1000000000LL;
}

int clock_gettime(clockid_t clock, struct timespec *ts) {
    static int (*real)(clockid_t, struct timespec *);
    if (real == NULL) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, ts);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) shift(ts);
    return result;
}

time_t time(time_t *where) {
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    if (where != NULL) *where = ts.tv_sec;
    return ts.tv_sec;
}

int gettimeofday(struct timeval *tv, void *zone) {
    struct timespec ts;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &ts);
    tv->tv_sec = ts.tv_sec;
    tv->tv_usec = ts.tv_nsec / 1000;
    return 0;
}

static void drag(void) {
    if (told == NULL || told[1] <= 0) return;
    struct timespec left = {(time_t)told[1], (long)((told[1] - (time_t)told[1]) * 1e9)};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {}
}

int fsync(int fd) {
    static int (*real)(int);
    if (real == NULL) real = dlsym(RTLD_NEXT, "fsync");
    drag();
    return real(fd);
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (real == NULL) real = dlsym(RTLD_NEXT, "fdatasync");
    drag();
    return real(fd);
}
