// What the kernel says of one socket ends that socket, and never the process or a listener.
//
// SwiftNIO takes EINVAL from read(2) for a mistake of its own and traps. Linux answers it for sockets as well: a connection whose
// peer lies behind `ip route add blackhole` ends with EINVAL when its retransmissions time out. And accept(2) hands on what befell
// the connection that was to be accepted ("Error handling" in its manual page); SwiftNIO closes the listener for all but a few of
// these. The definitions here stand in front of the C library's for the whole executable, and change such an errno only.
#define _GNU_SOURCE
#include "socket_errors.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int is_socket(int descriptor) {
    struct stat status;
    return fstat(descriptor, &status) == 0 && S_ISSOCK(status.st_mode);
}

ssize_t read(int descriptor, void *bytes, size_t count) {
    ssize_t result = syscall(SYS_read, descriptor, bytes, count);
    if (result < 0 && errno == EINVAL) errno = is_socket(descriptor) ? ECONNRESET : EINVAL;
    return result;
}

int accept4(int descriptor, struct sockaddr *restrict address, socklen_t *restrict length, int flags) {
    int result = (int)syscall(SYS_accept4, descriptor, address, length, flags);
    if (result >= 0) return result;
    switch (errno) {
    case EAGAIN: case EINTR: case EBADF: case EFAULT:
    // The process or the machine has no room: the listener waits a while.
    case EMFILE: case ENFILE: case ENOBUFS: case ENOMEM: break;
    default: errno = ECONNABORTED;
    }
    return result;
}
