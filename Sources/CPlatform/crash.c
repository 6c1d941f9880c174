#define _GNU_SOURCE
#include "crash.h"

#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static size_t add(char *line, size_t length, size_t size, const char *text) {
    while (*text != 0 && length + 1 < size) line[length++] = *text++;
    return length;
}

static size_t add_number(char *line, size_t length, size_t size, uint64_t number, unsigned base) {
    char digits[24];
    size_t count = 0;
    do {
        digits[count++] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number > 0);
    while (count > 0 && length + 1 < size) line[length++] = digits[--count];
    return length;
}

/// Only calls that a signal handler may make; and no write that could wait for a reader.
static void report(int number, siginfo_t *information, void *context) {
    (void)context;
    char line[256], thread[17] = "";
    prctl(PR_GET_NAME, thread);
    size_t length = add(line, 0, sizeof line, "critical weft: this process ends by signal ");
    length = add_number(line, length, sizeof line, (uint64_t)number, 10);
    length = add(line, length, sizeof line, " in thread ");
    length = add(line, length, sizeof line, thread);
    length = add(line, length, sizeof line, " at 0x");
    length = add_number(line, length, sizeof line, (uint64_t)(uintptr_t)information->si_addr, 16);
    length = add(line, length, sizeof line, ": a broken invariant; what was acknowledged is on disk. Please report it\n");
    struct pollfd log = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&log, 1, 100) > 0) {
        ssize_t written = write(STDERR_FILENO, line, length);
        (void)written;
    }
    signal(number, SIG_DFL);
    raise(number);
}

void weft_report_crashes(void) {
    static const int signals[] = {SIGILL, SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGABRT};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = report;
    action.sa_flags = SA_SIGINFO | SA_RESETHAND | SA_NODEFER;
    for (size_t place = 0; place < sizeof signals / sizeof signals[0]; place++) {
        sigaction(signals[place], &action, NULL);
    }
}
