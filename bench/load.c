// RTP load: many streams of 50 packets/s, each from a socket of its own, told what to do on stdin.
//
//   load STREAMS [LOSE_EVERY [SWAP_EVERY]]     leaves out one packet in LOSE_EVERY, swaps one pair
//                                              of neighbours in SWAP_EVERY (0 = never)
// It prints "ports P..." (one a stream, bound on 127.0.0.1), then answers each line of stdin:
//   to STREAM PORT     this stream goes there, and hears only from there
//   go | stop          every stream that has somewhere to go
//   only FIRST END     of them, these alone send
//   count              "sent S left_out L received R late_ms M": packets since the start; the most
//                      a slot began after its time since the last count
//   sum FIRST END STEP "sent S": of these streams alone
//   quit
#define _GNU_SOURCE
#include "stamp.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SLOTS = 20, SLOT_NS = 1000000, HEADER = 12, FIRST_SEQUENCE = 65000 };

typedef struct {
    int fd;
    int aimed;
    uint32_t packet; // number of the next one
    int swapped;     // the one before it has been sent in its place: now send that
    uint32_t sent;
} Stream;

static Stream *streams;
static int stream_count, lose_every, swap_every, going, fresh, first_sent, end_sent = INT32_MAX;
static uint64_t sent, left_out, received, latest_ns;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int open_socket(void) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || bind(fd, (void *)&here, sizeof here)) fail("socket");
    return fd;
}

static int port_of(int fd) {
    struct sockaddr_in here;
    socklen_t size = sizeof here;
    if (getsockname(fd, (void *)&here, &size)) fail("getsockname");
    return ntohs(here.sin_port);
}

static void send_packet(int index, uint32_t number) {
    if (lose_every && number > 5 && (number * 7u + (unsigned)index * 13u) % (unsigned)lose_every == 0) {
        left_out++;
        return;
    }
    uint8_t data[HEADER + PAYLOAD_OCTETS] = {0x80, number ? 0 : 0x80};
    uint16_t sequence = htons((uint16_t)(FIRST_SEQUENCE + number));
    uint32_t timestamp = htonl(number * PAYLOAD_OCTETS), ssrc = htonl(0x10000000u + (unsigned)index);
    memcpy(data + 2, &sequence, 2);
    memcpy(data + 4, &timestamp, 4);
    memcpy(data + 8, &ssrc, 4);
    uint8_t *payload = data + HEADER;
    memcpy(payload, MARK, MARK_OCTETS);
    uint8_t octet = (uint8_t)((unsigned)index * 31u + number * 7u);
    for (int at = STAMP_OCTETS; at < PAYLOAD_OCTETS; at++, octet += 3) payload[at] = octet;
    uint64_t now = clock_ns(CLOCK_REALTIME);
    for (int at = 0; at < TIME_OCTETS; at++)
        payload[MARK_OCTETS + at] = nibble_octet(now >> (60 - 4 * at) & 0xf);
    if (send(streams[index].fd, data, sizeof data, 0) >= 0) sent++, streams[index].sent++;
}

static void send_next(int index) {
    Stream *stream = &streams[index];
    uint32_t number = stream->packet++;
    if (stream->swapped) {
        stream->swapped = 0;
        send_packet(index, number - 1);
    } else if (swap_every && number > 5 && (number + (unsigned)index) % (unsigned)swap_every == 7) {
        stream->swapped = 1;
        send_packet(index, number + 1);
    } else {
        send_packet(index, number);
    }
}

static void hear(int index) {
    uint8_t data[2048];
    while (recv(streams[index].fd, data, sizeof data, 0) >= 0) received++;
}

static void answer(const char *line) {
    int index, port;
    if (sscanf(line, "to %d %d", &index, &port) == 2 && index >= 0 && index < stream_count) {
        struct sockaddr_in there = {.sin_family = AF_INET,
                                    .sin_port = htons((uint16_t)port),
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        if (connect(streams[index].fd, (void *)&there, sizeof there)) fail("connect");
        streams[index].aimed = 1;
        return;
    }
    int end, step;
    if (sscanf(line, "only %d %d", &index, &end) == 2) first_sent = index, end_sent = end;
    if (sscanf(line, "sum %d %d %d", &index, &end, &step) == 3 && index >= 0 && step > 0) {
        uint64_t sum = 0;
        for (; index < end && index < stream_count; index += step) sum += streams[index].sent;
        printf("sent %llu\n", (unsigned long long)sum);
        fflush(stdout);
    }
    if (!strcmp(line, "quit")) exit(0);
    if (!strcmp(line, "go")) going = fresh = 1;
    if (!strcmp(line, "stop")) going = 0;
    if (!strcmp(line, "count")) {
        printf("sent %llu left_out %llu received %llu late_ms %llu\n", (unsigned long long)sent,
               (unsigned long long)left_out, (unsigned long long)received,
               (unsigned long long)(latest_ns / 1000000));
        fflush(stdout);
        latest_ns = 0;
    }
}

static void take_orders(void) {
    static char buffer[1 << 16];
    static size_t filled;
    ssize_t got = read(0, buffer + filled, sizeof buffer - 1 - filled);
    if (got == 0) exit(0);
    if (got < 0) return;
    filled += (size_t)got;
    buffer[filled] = 0;
    char *start = buffer, *end;
    while ((end = strchr(start, '\n'))) {
        *end = 0;
        answer(start);
        start = end + 1;
    }
    filled -= (size_t)(start - buffer);
    memmove(buffer, start, filled);
}

int main(int argc, char **argv) {
    stream_count = argc > 1 ? atoi(argv[1]) : 0;
    lose_every = argc > 2 ? atoi(argv[2]) : 0;
    swap_every = argc > 3 ? atoi(argv[3]) : 0;
    streams = calloc((size_t)stream_count + 1, sizeof *streams);
    printf("ports");
    for (int i = 0; i < stream_count; i++) printf(" %d", port_of(streams[i].fd = open_socket()));
    printf("\n");
    fflush(stdout);
    fcntl(0, F_SETFL, O_NONBLOCK);
    uint64_t due = clock_ns(CLOCK_MONOTONIC);
    for (unsigned slot = 0;; slot = (slot + 1) % SLOTS) {
        due += SLOT_NS;
        struct timespec at = {(time_t)(due / 1000000000u), (long)(due % 1000000000u)};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, 0) == EINTR) continue;
        uint64_t late = clock_ns(CLOCK_MONOTONIC) - due;
        if (late > latest_ns) latest_ns = late;
        take_orders();
        if (fresh) due = clock_ns(CLOCK_MONOTONIC), fresh = 0; // no stream begins behind its time
        for (int i = 0; i < stream_count; i++) {
            // The legs of a call are neighbours, and no two streams' clocks agree: 7 slots apart.
            if (!streams[i].aimed || (unsigned)i * 7 % SLOTS != slot) continue;
            hear(i);
            if (going && i >= first_sent && i < end_sent) send_next(i);
        }
    }
}
