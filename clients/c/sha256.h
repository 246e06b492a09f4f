/* SHA-256 (FIPS 180-4), which the C library does not have: the first 16 bytes of it, for short data. */
#ifndef SHA256_H
#define SHA256_H
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static void sha256(const unsigned char *data, size_t n, char hex[33]) { /* n < 4000 */
    static uint32_t k[64]; uint32_t h[8], w[64], v[8];
    unsigned char m[4096] = {0};
    if (!k[0]) /* fractional parts of the cube roots of the first 64 primes, by integer search */
        for (int i = 0, p = 2; i < 64; p++) {
            int prime = 1;
            for (int d = 2; d * d <= p; d++) prime &= p % d != 0;
            if (!prime) continue;
            unsigned __int128 low = 0, high = (unsigned __int128)8 << 32; /* the cube root of p, times 2^32 */
            while (high - low > 1) { unsigned __int128 mid = (low + high) / 2; if (mid * mid * mid > (unsigned __int128)p << 96) high = mid; else low = mid; }
            k[i++] = (uint32_t)low;
        }
    static const uint32_t begin[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(h, begin, sizeof h);
    memcpy(m, data, n); m[n] = 0x80;
    size_t blocks = (n + 9 + 63) / 64;
    for (int i = 0; i < 8; i++) m[blocks * 64 - 1 - i] = (unsigned char)((uint64_t)n * 8 >> 8 * i);
#define ROT(x, s) ((x) >> (s) | (x) << (32 - (s)))
    for (const unsigned char *b = m; blocks--; b += 64) {
        for (int i = 0; i < 16; i++) w[i] = (uint32_t)b[4 * i] << 24 | b[4 * i + 1] << 16 | b[4 * i + 2] << 8 | b[4 * i + 3];
        for (int i = 16; i < 64; i++)
            w[i] = w[i - 16] + (ROT(w[i - 15], 7) ^ ROT(w[i - 15], 18) ^ w[i - 15] >> 3) + w[i - 7] + (ROT(w[i - 2], 17) ^ ROT(w[i - 2], 19) ^ w[i - 2] >> 10);
        memcpy(v, h, sizeof v);
        for (int i = 0; i < 64; i++) {
            uint32_t a = v[7] + (ROT(v[4], 6) ^ ROT(v[4], 11) ^ ROT(v[4], 25)) + ((v[4] & v[5]) ^ (~v[4] & v[6])) + k[i] + w[i];
            uint32_t c = (ROT(v[0], 2) ^ ROT(v[0], 13) ^ ROT(v[0], 22)) + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
            memmove(v + 1, v, 7 * sizeof *v); v[4] += a; v[0] = a + c;
        }
        for (int i = 0; i < 8; i++) h[i] += v[i];
    }
    for (int i = 0; i < 4; i++) sprintf(hex + 8 * i, "%08x", h[i]);
}

#endif
