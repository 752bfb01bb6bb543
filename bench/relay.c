// TCP relay that times audio: from the RTP packet's sending to its bytes' arrival in this socket.
//
//   relay TARGET_PORT     0 = whatever comes is thrown away
// It prints "port P" and forwards every connection to 127.0.0.1:TARGET_PORT. Times are the kernel's
// (SO_TIMESTAMPNS), so being scheduled late here adds nothing. On stdin:
//   report     "frames N p50_us A p99_us B max_us C bytes D", since the last report
//   quit
#define _GNU_SOURCE
#include "stamp.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PAIRS = 64, CHUNK = 1 << 18, BIN_US = 50, BINS = 40000, STAMP_BYTES = 2 * (MARK_OCTETS + TIME_OCTETS) };

typedef struct {
    int near, far;
    size_t kept; // bytes of a stamp that the last read cut in two
    uint8_t tail[STAMP_BYTES];
} Pair;

static Pair pairs[PAIRS];
static int pair_count, target;
static uint32_t bins[BINS];
static uint64_t frames, longest_us, bytes;
static int16_t mark[MARK_OCTETS], nibbles[16];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t arrival_ns(struct msghdr *message) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPNS) {
            struct timespec at;
            memcpy(&at, CMSG_DATA(c), sizeof at);
            return (uint64_t)at.tv_sec * 1000000000ull + (uint64_t)at.tv_nsec;
        }
    return clock_ns(CLOCK_REALTIME);
}

static void note(const uint8_t *stamp, uint64_t arrived) {
    uint64_t sent = 0;
    for (int at = 0; at < TIME_OCTETS; at++) {
        int16_t sample;
        memcpy(&sample, stamp + 2 * (MARK_OCTETS + at), 2);
        unsigned nibble = 0;
        while (nibble < 16 && nibbles[nibble] != sample) nibble++;
        if (nibble == 16) return;
        sent = sent << 4 | nibble;
    }
    uint64_t us = arrived > sent ? (arrived - sent) / 1000 : 0;
    bins[us / BIN_US < BINS ? us / BIN_US : BINS - 1]++;
    if (us > longest_us) longest_us = us;
    frames++;
}

static void find_stamps(Pair *pair, uint8_t *data, size_t size, uint64_t arrived) {
    uint8_t *end = data + size, *at = data;
    while ((at = memmem(at, (size_t)(end - at), mark, sizeof mark)) && end - at >= STAMP_BYTES) {
        note(at, arrived);
        at += STAMP_BYTES;
    }
    pair->kept = 0;
    if (at) { // a whole mark, not its whole time
        pair->kept = (size_t)(end - at);
    } else if (size >= sizeof mark) { // perhaps the beginning of a mark
        for (size_t some = sizeof mark - 1; some && !pair->kept; some--)
            if (!memcmp(end - some, mark, some)) pair->kept = some;
    }
    memcpy(pair->tail, end - pair->kept, pair->kept);
}

static void write_all(int fd, const uint8_t *data, size_t size) {
    while (size) {
        ssize_t done = send(fd, data, size, MSG_NOSIGNAL);
        if (done < 0 && errno == EAGAIN) {
            struct pollfd ready = {fd, POLLOUT, 0};
            poll(&ready, 1, 1000);
        } else if (done < 0) {
            return;
        } else {
            data += done, size -= (size_t)done;
        }
    }
}

static int forward(Pair *pair) {
    static uint8_t buffer[STAMP_BYTES + CHUNK];
    uint8_t control[128];
    memcpy(buffer, pair->tail, pair->kept);
    struct iovec room = {buffer + pair->kept, CHUNK};
    struct msghdr message = {.msg_iov = &room, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t got = recvmsg(pair->near, &message, 0);
    if (got <= 0) return got < 0 && errno == EAGAIN;
    bytes += (uint64_t)got;
    size_t kept = pair->kept;
    if (pair->far >= 0) write_all(pair->far, buffer + kept, (size_t)got);
    find_stamps(pair, buffer, kept + (size_t)got, arrival_ns(&message));
    return 1;
}

static int back(Pair *pair) {
    static uint8_t buffer[CHUNK];
    ssize_t got = recv(pair->far, buffer, sizeof buffer, 0);
    if (got <= 0) return got < 0 && errno == EAGAIN;
    write_all(pair->near, buffer, (size_t)got);
    return 1;
}

static void take_connection(int listener) {
    int on = 1, near = accept4(listener, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC), far = -1;
    if (near < 0) return;
    if (pair_count == PAIRS) {
        close(near);
        return;
    }
    if (target) {
        struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons((uint16_t)target), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        far = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(far, (void *)&there, sizeof there)) fail("connect");
        setsockopt(far, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        fcntl(far, F_SETFL, O_NONBLOCK);
    }
    setsockopt(near, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(near, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
    pairs[pair_count++] = (Pair){near, far, 0, {0}};
}

static void drop(int index) {
    close(pairs[index].near);
    if (pairs[index].far >= 0) close(pairs[index].far);
    pairs[index] = pairs[--pair_count];
}

static uint64_t quantile_us(double share) {
    uint64_t below = 0;
    for (uint64_t bin = 0; bin < BINS; bin++)
        if ((double)(below += bins[bin]) >= share * (double)frames) return frames ? (bin + 1) * BIN_US : 0;
    return longest_us;
}

static void take_order(void) {
    char line[64] = {0};
    if (read(0, line, sizeof line - 1) <= 0 || !strncmp(line, "quit", 4)) exit(0);
    if (strncmp(line, "report", 6)) return;
    printf("frames %llu p50_us %llu p99_us %llu max_us %llu bytes %llu\n", (unsigned long long)frames,
           (unsigned long long)quantile_us(0.5), (unsigned long long)quantile_us(0.99),
           (unsigned long long)longest_us, (unsigned long long)bytes);
    fflush(stdout);
    memset(bins, 0, sizeof bins);
    frames = longest_us = bytes = 0;
}

int main(int argc, char **argv) {
    target = argc > 1 ? atoi(argv[1]) : 0;
    for (int i = 0; i < MARK_OCTETS; i++) mark[i] = ulaw_linear(MARK[i]);
    for (unsigned i = 0; i < 16; i++) nibbles[i] = ulaw_linear(nibble_octet(i));
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof here;
    if (bind(listener, (void *)&here, sizeof here) || listen(listener, PAIRS)) fail("listen");
    getsockname(listener, (void *)&here, &size);
    printf("port %d\n", ntohs(here.sin_port));
    fflush(stdout);
    for (;;) {
        struct pollfd ready[2 + 2 * PAIRS] = {{0, POLLIN, 0}, {listener, POLLIN, 0}};
        for (int i = 0; i < pair_count; i++) {
            ready[2 + 2 * i] = (struct pollfd){pairs[i].near, POLLIN, 0};
            ready[3 + 2 * i] = (struct pollfd){pairs[i].far, POLLIN, 0};
        }
        int watched = pair_count;
        if (poll(ready, (nfds_t)(2 + 2 * watched), -1) < 0) continue;
        for (int i = watched - 1; i >= 0; i--) {
            int alive = 1;
            if (ready[2 + 2 * i].revents) alive = forward(&pairs[i]);
            if (alive && ready[3 + 2 * i].revents) alive = back(&pairs[i]);
            if (!alive) drop(i);
        }
        if (ready[1].revents) take_connection(listener);
        if (ready[0].revents) take_order();
    }
}
