/* Loaded in front of the C library: turns the wall clock and fails writes to the evidence as the test says.
 * What it says stands in a file that both have mapped. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct orders {
    volatile int64_t clock_offset_s;
    volatile int64_t fail_every;
    volatile int64_t with_errno;
    volatile int64_t writes;
};

static struct orders *orders(void) {
    static struct orders *mapped;
    static struct orders none;
    if (!mapped) {
        const char *path = getenv("SALLYPORT_TEST_FAULTS");
        int file = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
        void *at = file < 0 ? MAP_FAILED : mmap(0, sizeof none, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        mapped = at == MAP_FAILED ? &none : at;
    }
    return mapped;
}

int clock_gettime(clockid_t id, struct timespec *time) {
    int result = (int)syscall(SYS_clock_gettime, id, time);
    if (result == 0 && id == CLOCK_REALTIME)
        time->tv_sec += orders()->clock_offset_s;
    return result;
}

static int fails(int file) {
    char link[64], path[4096];
    struct orders *say = orders();
    if (say->fail_every <= 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    if (!strstr(path, "/wal/"))
        return 0;
    return __atomic_add_fetch(&say->writes, 1, __ATOMIC_SEQ_CST) % say->fail_every == 0;
}

static ssize_t failed(void) {
    errno = (int)orders()->with_errno;
    return -1;
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t at) {
    return fails(file) ? failed() : syscall(SYS_pwrite64, file, bytes, length, at);
}

ssize_t pwrite(int file, const void *bytes, size_t length, off_t at) {
    return fails(file) ? failed() : syscall(SYS_pwrite64, file, bytes, length, at);
}

ssize_t write(int file, const void *bytes, size_t length) {
    return fails(file) ? failed() : syscall(SYS_write, file, bytes, length);
}

int fsync(int file) {
    return fails(file) ? (int)failed() : (int)syscall(SYS_fsync, file);
}

int fdatasync(int file) {
    return fails(file) ? (int)failed() : (int)syscall(SYS_fdatasync, file);
}
