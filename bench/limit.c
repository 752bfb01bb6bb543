// The least that has to be done: recvmmsg of every port and one TCP write per tick, in C.
//
//   limit STREAMS TCP_PORT MESSAGE_BYTES TICK_MS
// It prints "ports P...", and every tick takes what came on each port and writes MESSAGE_BYTES for
// every two packets (one call's tick) to the TCP port. Nothing is looked at, ordered or decoded.
// Line "count" on stdin: "packets N".
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { AT_ONCE = 8, DATAGRAM = 512, RECEIVE_BUFFER = 212992 };

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int bound_socket(int *port) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), size = RECEIVE_BUFFER;
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof here;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (bind(fd, (void *)&here, sizeof here) || getsockname(fd, (void *)&here, &length)) fail("bind");
    *port = ntohs(here.sin_port);
    return fd;
}

static int connected(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in there = {.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(fd, (void *)&there, sizeof there)) fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    int count = atoi(argv[1]), sink = connected(atoi(argv[2]));
    size_t message_bytes = (size_t)atoi(argv[3]), limit = (size_t)count * 64 * message_bytes;
    uint64_t tick_ns = (uint64_t)atoi(argv[4]) * 1000000ull, packets = 0;
    int *sockets = calloc((size_t)count, sizeof *sockets);
    uint8_t *out = calloc(1, limit);
    printf("ports");
    for (int i = 0, port; i < count; i++) {
        sockets[i] = bound_socket(&port);
        printf(" %d", port);
    }
    printf("\n");
    fflush(stdout);
    fcntl(0, F_SETFL, O_NONBLOCK);
    static uint8_t data[AT_ONCE][DATAGRAM];
    static struct iovec rooms[AT_ONCE];
    static struct mmsghdr messages[AT_ONCE];
    for (int i = 0; i < AT_ONCE; i++) {
        rooms[i] = (struct iovec){data[i], DATAGRAM};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &rooms[i], .msg_iovlen = 1};
    }
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    for (;;) {
        uint64_t next = (uint64_t)at.tv_sec * 1000000000ull + (uint64_t)at.tv_nsec + tick_ns;
        at = (struct timespec){(time_t)(next / 1000000000u), (long)(next % 1000000000u)};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, 0) == EINTR) continue;
        uint64_t before = packets;
        for (int i = 0; i < count; i++) {
            int got;
            do {
                got = recvmmsg(sockets[i], messages, AT_ONCE, MSG_DONTWAIT, 0);
                if (got > 0) packets += (uint64_t)got;
            } while (got == AT_ONCE);
        }
        size_t size = (size_t)(packets - before) * message_bytes / 2;
        if (size > limit) size = limit;
        for (size_t done = 0; done < size;) {
            ssize_t wrote = write(sink, out + done, size - done);
            if (wrote < 0) fail("write");
            done += (size_t)wrote;
        }
        char order[64];
        ssize_t got = read(0, order, sizeof order);
        if (got == 0) return 0;
        if (got > 0) {
            printf("packets %llu\n", (unsigned long long)packets);
            fflush(stdout);
        }
    }
}
