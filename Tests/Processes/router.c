// Carries packets between network namespaces, each with a delay of its own per pair: sites and the distances between them.
//
//   router NAMESPACE|- ...    a TUN device "site" in each; - is the namespace this runs in
//
// Addresses are 10.77.SITE.x, SITE counting the arguments from 0. Commands come on standard input, one per line:
//   delay FROM TO MICROSECONDS    one way
//   cut FROM TO | join FROM TO    one way
// and each is answered with a line "ok". Ends with its standard input.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { sitesMax = 16, packetMax = 2048, queuedMax = 64 << 20 };

struct packet {
    struct packet *next;
    uint64_t due;
    int bytes;
    unsigned char body[];
};

struct link {
    struct packet *first, *last;
    uint64_t delay;
    size_t queued;
    int isCut;
};

static struct link links[sitesMax][sitesMax];
static int devices[sitesMax];
static int sites;

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

/// A TUN device in the namespace of this name; it stays there when this thread goes back.
static int makeDevice(const char *space, int home) {
    if (strcmp(space, "-") != 0) {
        char path[256];
        snprintf(path, sizeof path, "/run/netns/%s", space);
        int other = open(path, O_RDONLY | O_CLOEXEC);
        if (other < 0 || setns(other, CLONE_NEWNET) != 0) fail(path);
        close(other);
    }
    int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (device < 0) fail("/dev/net/tun");
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    strcpy(request.ifr_name, strcmp(space, "-") ? "site" : "sites");
    if (ioctl(device, TUNSETIFF, &request) != 0) fail("TUNSETIFF");
    if (setns(home, CLONE_NEWNET) != 0) fail("setns");
    return device;
}

static void take(int from) {
    for (int n = 0; n < 64; n++) {
        unsigned char body[packetMax];
        ssize_t bytes = read(devices[from], body, sizeof body);
        if (bytes <= 0) return;
        // IPv4 within the sites only.
        if (bytes < 20 || body[0] >> 4 != 4 || body[16] != 10 || body[17] != 77 || body[18] >= sites) continue;
        struct link *link = &links[from][body[18]];
        if (link->isCut || link->queued + (size_t)bytes > queuedMax) continue;
        struct packet *packet = malloc(sizeof *packet + (size_t)bytes);
        if (!packet) continue;
        packet->next = NULL;
        packet->due = now() + link->delay;
        packet->bytes = (int)bytes;
        memcpy(packet->body, body, (size_t)bytes);
        // A shorter delay overtakes nobody.
        if (link->last && packet->due < link->last->due) packet->due = link->last->due;
        if (link->last) link->last->next = packet; else link->first = packet;
        link->last = packet;
        link->queued += (size_t)bytes;
    }
}

/// Delivers what is due; answers when the next is.
static uint64_t deliver(void) {
    uint64_t time = now(), next = UINT64_MAX;
    for (int from = 0; from < sites; from++) {
        for (int to = 0; to < sites; to++) {
            struct link *link = &links[from][to];
            while (link->first && link->first->due <= time) {
                struct packet *packet = link->first;
                if (!link->isCut && write(devices[to], packet->body, (size_t)packet->bytes) < 0 && errno == EAGAIN) break;
                link->first = packet->next;
                if (!link->first) link->last = NULL;
                link->queued -= (size_t)packet->bytes;
                free(packet);
            }
            if (link->first && link->first->due < next) next = link->first->due;
        }
    }
    return next;
}

static void obey(char *line) {
    char verb[16];
    int from, to;
    long microseconds = 0;
    int count = sscanf(line, "%15s %d %d %ld", verb, &from, &to, &microseconds);
    if (count < 3 || from < 0 || to < 0 || from >= sites || to >= sites) {
        printf("not understood: %s", line);
    } else {
        if (!strcmp(verb, "delay")) links[from][to].delay = (uint64_t)microseconds * 1000;
        if (!strcmp(verb, "cut")) links[from][to].isCut = 1;
        if (!strcmp(verb, "join")) links[from][to].isCut = 0;
        printf("ok\n");
    }
    fflush(stdout);
}

int main(int count, char **arguments) {
    sites = count - 1;
    if (sites < 1 || sites > sitesMax) {
        fprintf(stderr, "usage: router NAMESPACE|- ...\n");
        return 2;
    }
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    for (int site = 0; site < sites; site++) devices[site] = makeDevice(arguments[site + 1], home);
    printf("ok\n");
    fflush(stdout);
    while (1) {
        struct pollfd all[sitesMax + 1];
        for (int site = 0; site < sites; site++) all[site] = (struct pollfd){.fd = devices[site], .events = POLLIN};
        all[sites] = (struct pollfd){.fd = 0, .events = POLLIN};
        uint64_t next = deliver(), time = now();
        uint64_t rest = next == UINT64_MAX ? 1000000000 : next > time ? next - time : 0;
        struct timespec wait = {.tv_sec = (time_t)(rest / 1000000000), .tv_nsec = (long)(rest % 1000000000)};
        if (ppoll(all, (nfds_t)sites + 1, &wait, NULL) < 0 && errno != EINTR) fail("poll");
        for (int site = 0; site < sites; site++) {
            if (all[site].revents & POLLIN) take(site);
        }
        if (all[sites].revents) {
            char line[256];
            // Whole lines come from whoever runs this, one at a time.
            ssize_t bytes = read(0, line, sizeof line - 1);
            if (bytes <= 0) return 0;
            line[bytes] = 0;
            obey(line);
        }
    }
}
