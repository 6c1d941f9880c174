// Preloaded into a process, gives it the clocks of another machine: they run fast or slow, and the wall clock jumps.
//
//   WEFT_CLOCK_RATE=1.05   how many seconds all clocks count in a second; read at start
//   WEFT_CLOCK_JUMP=FILE   a 64-bit number: milliseconds that the wall clock is ahead; the test may change it at any time
//
// Waits end by the clocks that the process sees. A jump does not end a wait by the wall clock that has begun. glibc's own look
// at the clock and system calls made without glibc are not changed; the time a process has used of a processor is the true one.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include <linux/futex.h>

#define SECOND 1000000000LL
#define FILES_MAX 65536
// Waits are cut to a year: the end of time does not fit into a timespec of another clock.
#define WAIT_MAX (366 * 86400 * SECOND)

static const int64_t no_jump = 0;
static const volatile int64_t *jump_milliseconds = &no_jump;
static double rate = 1;
// The clock of each timer, by its file; 0 is CLOCK_REALTIME.
static clockid_t timer_clocks[FILES_MAX];

__attribute__((constructor))
static void begin(void) {
    const char *text = getenv("WEFT_CLOCK_RATE");
    if (text != NULL) rate = strtod(text, NULL);
    if (!(rate >= 0.1 && rate <= 10)) abort();
    const char *path = getenv("WEFT_CLOCK_JUMP");
    if (path == NULL) return;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) abort();
    void *map = mmap(NULL, sizeof *jump_milliseconds, PROT_READ, MAP_SHARED, file, 0);
    if (map == MAP_FAILED) abort();
    close(file);
    jump_milliseconds = map;
}

// The function of the library behind this one, at its default version.
#define BEHIND(name) \
    static __typeof__(&name) behind; \
    if (behind == NULL) behind = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static int is_wall(clockid_t clock) { return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE; }

static int is_changed(clockid_t clock) {
    return is_wall(clock) || clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_RAW || clock == CLOCK_MONOTONIC_COARSE
        || clock == CLOCK_BOOTTIME;
}

static int64_t nanoseconds(const struct timespec *time) {
    if (time->tv_sec > INT64_MAX / SECOND - 1) return INT64_MAX;
    return time->tv_sec * SECOND + time->tv_nsec;
}

static struct timespec timespec_of(int64_t nanoseconds) {
    return (struct timespec){ .tv_sec = nanoseconds / SECOND, .tv_nsec = nanoseconds % SECOND };
}

// No clock of the true machine goes through this file.
static int64_t true_now(clockid_t clock) {
    BEHIND(clock_gettime);
    struct timespec time;
    behind(clock, &time);
    return nanoseconds(&time);
}

// What the process sees: a clock since boot is scaled, so that it goes on where it was when the process is started again.
static int64_t now(clockid_t clock) {
    int64_t real = true_now(clock);
    if (!is_changed(clock)) return real;
    if (!is_wall(clock)) return (int64_t)((double)real * rate);
    return real + (int64_t)((double)true_now(CLOCK_BOOTTIME) * (rate - 1)) + *jump_milliseconds * 1000000;
}

static int64_t true_length(int64_t length) {
    double scaled = (double)length / rate;
    return scaled > (double)WAIT_MAX ? WAIT_MAX : scaled < 0 ? 0 : (int64_t)scaled + 1;
}

// When the true clock shows what comes when the process's clock shows `deadline`.
static struct timespec true_deadline(clockid_t clock, const struct timespec *deadline) {
    int64_t left = nanoseconds(deadline) - now(clock);
    return timespec_of(true_now(clock) + true_length(left < 0 ? 0 : left));
}

// By which clock a deadline is meant. A clock since boot shows a second of the wall clock's only after 31 years.
static clockid_t clock_of(const struct timespec *deadline) {
    return deadline->tv_sec < 1000000000 ? CLOCK_MONOTONIC : CLOCK_REALTIME;
}

static int true_milliseconds(int milliseconds) {
    if (milliseconds <= 0) return milliseconds;
    double scaled = milliseconds / rate + 0.999;
    return scaled > INT32_MAX ? INT32_MAX : (int)scaled;
}

// Clocks

int clock_gettime(clockid_t clock, struct timespec *time) {
    if (!is_changed(clock)) {
        BEHIND(clock_gettime);
        return behind(clock, time);
    }
    *time = timespec_of(now(clock));
    return 0;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    (void)zone;
    int64_t wall = now(CLOCK_REALTIME);
    *time = (struct timeval){ .tv_sec = wall / SECOND, .tv_usec = wall % SECOND / 1000 };
    return 0;
}

time_t time(time_t *place) {
    time_t seconds = now(CLOCK_REALTIME) / SECOND;
    if (place != NULL) *place = seconds;
    return seconds;
}

// Waits until a time

int pthread_cond_timedwait(pthread_cond_t *restrict arrival, pthread_mutex_t *restrict lock,
                           const struct timespec *restrict deadline) {
    BEHIND(pthread_cond_timedwait);
    struct timespec end = true_deadline(clock_of(deadline), deadline);
    return behind(arrival, lock, &end);
}

int pthread_cond_clockwait(pthread_cond_t *restrict arrival, pthread_mutex_t *restrict lock, clockid_t clock,
                           const struct timespec *restrict deadline) {
    BEHIND(pthread_cond_clockwait);
    struct timespec end = true_deadline(clock, deadline);
    return behind(arrival, lock, clock, &end);
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict lock, const struct timespec *restrict deadline) {
    BEHIND(pthread_mutex_timedlock);
    struct timespec end = true_deadline(CLOCK_REALTIME, deadline);
    return behind(lock, &end);
}

int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict deadline) {
    BEHIND(sem_timedwait);
    struct timespec end = true_deadline(CLOCK_REALTIME, deadline);
    return behind(semaphore, &end);
}

int sem_clockwait(sem_t *restrict semaphore, clockid_t clock, const struct timespec *restrict deadline) {
    BEHIND(sem_clockwait);
    struct timespec end = true_deadline(clock, deadline);
    return behind(semaphore, clock, &end);
}

int timerfd_create(clockid_t clock, int flags) {
    BEHIND(timerfd_create);
    int file = behind(clock, flags);
    if (file >= FILES_MAX) abort();
    if (file >= 0) timer_clocks[file] = clock;
    return file;
}

int timerfd_settime(int file, int flags, const struct itimerspec *new, struct itimerspec *old) {
    BEHIND(timerfd_settime);
    struct itimerspec set = *new;
    if (nanoseconds(&new->it_interval) > 0) set.it_interval = timespec_of(true_length(nanoseconds(&new->it_interval)));
    // A value of zero disarms the timer.
    if (nanoseconds(&new->it_value) > 0) {
        set.it_value = flags & TFD_TIMER_ABSTIME ? true_deadline(timer_clocks[file], &new->it_value)
                                                 : timespec_of(true_length(nanoseconds(&new->it_value)));
    }
    return behind(file, flags, &set, old);
}

// Waits for a length of time

int epoll_wait(int file, struct epoll_event *events, int count, int milliseconds) {
    BEHIND(epoll_wait);
    return behind(file, events, count, true_milliseconds(milliseconds));
}

int poll(struct pollfd *files, nfds_t count, int milliseconds) {
    BEHIND(poll);
    return behind(files, count, true_milliseconds(milliseconds));
}

int ppoll(struct pollfd *files, nfds_t count, const struct timespec *length, const sigset_t *signals) {
    BEHIND(ppoll);
    struct timespec scaled = length != NULL ? timespec_of(true_length(nanoseconds(length))) : (struct timespec){ 0 };
    return behind(files, count, length != NULL ? &scaled : NULL, signals);
}

int select(int count, fd_set *restrict read, fd_set *restrict write, fd_set *restrict except, struct timeval *restrict length) {
    BEHIND(select);
    if (length == NULL) return behind(count, read, write, except, NULL);
    int64_t scaled = true_length(length->tv_sec * SECOND + length->tv_usec * 1000);
    struct timeval end = { .tv_sec = scaled / SECOND, .tv_usec = scaled % SECOND / 1000 };
    return behind(count, read, write, except, &end);
}

static int rest(int64_t length, struct timespec *left) {
    BEHIND(nanosleep);
    struct timespec scaled = timespec_of(true_length(length)), remaining = { 0 };
    int code = behind(&scaled, &remaining);
    if (code != 0 && left != NULL) *left = timespec_of((int64_t)((double)nanoseconds(&remaining) * rate));
    return code;
}

int nanosleep(const struct timespec *length, struct timespec *left) { return rest(nanoseconds(length), left); }

int usleep(useconds_t microseconds) { return rest(microseconds * 1000LL, NULL); }

unsigned sleep(unsigned seconds) {
    struct timespec left = { 0 };
    return rest(seconds * SECOND, &left) == 0 ? 0 : (unsigned)left.tv_sec + 1;
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *time, struct timespec *left) {
    if (flags == 0) return rest(nanoseconds(time), left) == 0 ? 0 : errno;
    BEHIND(clock_nanosleep);
    struct timespec end = true_deadline(clock, time);
    return behind(clock, flags, &end, NULL);
}

// Dispatch waits for futexes by itself: for a length of time, or until one with FUTEX_WAIT_BITSET.
long syscall(long number, ...) {
    BEHIND(syscall);
    va_list list;
    va_start(list, number);
    long a = va_arg(list, long), b = va_arg(list, long), c = va_arg(list, long), d = va_arg(list, long),
         e = va_arg(list, long), f = va_arg(list, long);
    va_end(list);
    if (number != SYS_futex || d == 0) return behind(number, a, b, c, d, e, f);
    int operation = (int)b & FUTEX_CMD_MASK;
    struct timespec end;
    if (operation == FUTEX_WAIT) {
        end = timespec_of(true_length(nanoseconds((struct timespec *)d)));
    } else if (operation == FUTEX_WAIT_BITSET || operation == FUTEX_LOCK_PI) {
        clockid_t clock = operation == FUTEX_LOCK_PI || (int)b & FUTEX_CLOCK_REALTIME ? CLOCK_REALTIME : CLOCK_MONOTONIC;
        end = true_deadline(clock, (struct timespec *)d);
    } else {
        return behind(number, a, b, c, d, e, f);
    }
    return behind(number, a, b, c, (long)&end, e, f);
}
