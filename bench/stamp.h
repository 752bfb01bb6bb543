// What the load writes into every payload and the relay finds again: a mark and the time of sending.
//
// Both are G.711 mu-law octets in the load, and the 16-bit samples they decode to in the relay, so
// that the way between them may decode but must not change them.
#ifndef STAMP_H
#define STAMP_H
#include <stdint.h>
#include <time.h>

enum {
    PAYLOAD_OCTETS = 160,
    MARK_OCTETS = 8,
    TIME_OCTETS = 16,  // one for each nibble of 64 bits of nanoseconds
    STAMP_OCTETS = 32, // the rest of the payload is a pattern that the agent checks
};

static const uint8_t MARK[MARK_OCTETS] = {0x10, 0x91, 0x22, 0xa3, 0x34, 0xb5, 0x46, 0xc7};

static inline uint8_t nibble_octet(unsigned nibble) { return (uint8_t)(0x80 | nibble << 3); }

// ITU-T G.711, mu-law to linear, 16-bit scale.
static inline int16_t ulaw_linear(uint8_t octet) {
    int inverted = ~octet & 0xff;
    int magnitude = (((inverted & 0x0f) << 3) + 0x84) << (inverted >> 4 & 7);
    return (int16_t)(inverted & 0x80 ? 0x84 - magnitude : magnitude - 0x84);
}

static inline uint64_t clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}
#endif
