// Products over the prime 2^56 - 2^20 + 1, columns of a Reed-Solomon code, and the hash tree over them (core/bounds).
//
// The same numbers and bytes as core/bounds finds without it. Everything here may depend in its time on lengths, and on
// the public questions of a proof: no branch and no address follows from a number of the update.
//
// A product by a fixed factor w is found with w' = floor(w 2^64 / p): a w - floor(a w' / 2^64) p lies in [0, 2 p) for
// every a of 64 bits (Shoup; Harvey, Journal of Symbolic Computation 60, 2014). Numbers between are kept below 4 p.

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PRIME ((UINT64_C(1) << 56) - (UINT64_C(1) << 20) + 1)
#define HASH 20
#define SALT 16

int supported(void) {
    const uint16_t one = 1;
    return *(const uint8_t *)&one == 1; // numbers are hashed as they lie in memory: the lowest byte first
}

// ------------------------------------------------------------------------------------------------ the code

static inline uint64_t less(uint64_t a, uint64_t p) { // a, or a - p where that is not negative
    uint64_t b = a - p;
    return b + (p & (uint64_t)((int64_t)b >> 63));
}

static inline uint64_t times(uint64_t a, uint64_t w, uint64_t shoup) { // in [0, 2 p)
    uint64_t quotient = (uint64_t)(((unsigned __int128)a * shoup) >> 64);
    return a * w - quotient * PRIME;
}

// One transform of `length` numbers below 2 p (Gentleman and Sande, 1966); each result is below 2 p, in bit-reversed
// order. `factors` are those of all levels, one level after the other, and their quotients.
static void transform(uint64_t *a, uint64_t length, const uint64_t *factors, const uint64_t *quotients) {
    for (uint64_t half = length / 2; half; half /= 2) {
        for (uint64_t start = 0; start < length; start += 2 * half) {
            uint64_t *low = a + start, *high = low + half;
            for (uint64_t i = 0; i < half; i++) {
                uint64_t x = low[i], y = high[i];
                low[i] = less(x + y, 2 * PRIME);
                high[i] = times(x + 2 * PRIME - y, factors[i], quotients[i]);
            }
        }
        factors += half;
        quotients += half;
    }
}

// out[row] = the transform of row `row`, in order. Args: out and numbers, below p: rows x length.
// Returns 0 if there is no memory.
int transform_rows(int64_t *out, const uint64_t *numbers, const uint64_t *factors, const uint64_t *quotients,
                   const int64_t *order, uint64_t rows, uint64_t length) {
    uint64_t *values = malloc(length * sizeof *values);
    if (!values) return 0;
    for (uint64_t row = 0; row < rows; row++, numbers += length) {
        memcpy(values, numbers, length * sizeof *values);
        transform(values, length, factors, quotients);
        for (uint64_t j = 0; j < length; j++) *out++ = (int64_t)less(values[order[j]], PRIME);
    }
    free(values);
    return 1;
}

// out[c length + j][row] = the value of polynomial `row` at the place j of coset c.
//
// coefficients: rows x length; shifts and their quotients: cosets x length; order: where each result of a transform
// stands. Returns 0 if there is no memory.
int encode_rows(int64_t *out, const uint64_t *coefficients, const uint64_t *shifts, const uint64_t *shift_quotients,
                const uint64_t *factors, const uint64_t *quotients, const int64_t *order, uint64_t rows,
                uint64_t length, uint64_t cosets) {
    uint64_t *buffer = malloc(length * rows * sizeof *buffer);
    if (!buffer) return 0;
    for (uint64_t coset = 0; coset < cosets; coset++) {
        const uint64_t *shift = shifts + coset * length, *quotient = shift_quotients + coset * length;
        for (uint64_t row = 0; row < rows; row++) {
            uint64_t *values = buffer + row * length;
            for (uint64_t i = 0; i < length; i++) values[i] = times(coefficients[row * length + i], shift[i], quotient[i]);
            transform(values, length, factors, quotients);
        }
        for (uint64_t j = 0; j < length; j++) {
            const uint64_t *from = buffer + order[j];
            for (uint64_t row = 0; row < rows; row++) *out++ = (int64_t)less(from[row * length], PRIME);
        }
    }
    free(buffer);
    return 1;
}

// ------------------------------------------------------------------------------------------------ products and sums

typedef unsigned __int128 Wide;

static inline uint64_t remainder_of(Wide a) { // below 2^126, because 2^56 is 2^20 - 1 modulo the prime
    const uint64_t mask = (UINT64_C(1) << 56) - 1, rest = (UINT64_C(1) << 20) - 1;
    a = (a >> 56) * rest + ((uint64_t)a & mask); // below 2^91
    return less((uint64_t)(a >> 56) * rest + ((uint64_t)a & mask), PRIME); // was below 2^55 + 2^56
}

// out[i] = a[i] b[i]
void multiply_numbers(uint64_t *out, const uint64_t *a, const uint64_t *b, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) out[i] = remainder_of((Wide)a[i] * b[i]);
}

// out[i][j] = the sum over k of a[i][k] b[j][k]; at most 2^13 products, so that sums stay below 2^125.
void multiply_rows(uint64_t *out, const uint64_t *a, const uint64_t *b, uint64_t rows, uint64_t columns, uint64_t inner) {
    for (uint64_t i = 0; i < rows; i++, a += inner) {
        for (uint64_t j = 0; j < columns; j++) {
            const uint64_t *other = b + j * inner;
            Wide even = 0, odd = 0; // so that one addition need not wait for the other
            uint64_t k = 0;
            for (; k + 1 < inner; k += 2) {
                even += (Wide)a[k] * other[k];
                odd += (Wide)a[k + 1] * other[k + 1];
            }
            if (k < inner) even += (Wide)a[k] * other[k];
            *out++ = remainder_of(even + odd);
        }
    }
}

// Turn a square of 8 by 8 bits: bit c of byte r becomes bit r of byte c (Warren, Hacker's Delight, section 7-3).
static inline uint64_t turned(uint64_t x) {
    uint64_t t = (x ^ x >> 7) & UINT64_C(0x00AA00AA00AA00AA);
    x ^= t ^ t << 7;
    t = (x ^ x >> 14) & UINT64_C(0x0000CCCC0000CCCC);
    x ^= t ^ t << 14;
    t = (x ^ x >> 28) & UINT64_C(0x00000000F0F0F0F0);
    return x ^ t ^ t << 28;
}

static inline uint64_t eight(const uint8_t *bits, uint64_t row, uint64_t rows, uint64_t size) { // bytes of eight rows
    uint64_t x = 0;
    for (uint64_t i = 0; i < 8 && row + i < rows; i++) x |= (uint64_t)bits[(row + i) * size] << (8 * i);
    return x;
}

// out[j] = the sum over rows i of weights[i] (plus[i][j] - minus[i][j]), where plus and minus are bits, eight to a byte,
// the highest first: rows of `size` bytes. For each eight rows there is a table of the sums of their weights. out has
// room for 8 size numbers. Returns 0 if there is no memory, or if there are too many rows to add up.
int mix_bits(int64_t *out, const uint64_t *weights, const uint8_t *plus, const uint8_t *minus, uint64_t rows,
             uint64_t size) {
    uint64_t groups = (rows + 7) / 8;
    uint64_t *table = malloc(groups * 256 * sizeof *table);
    if (!table || groups > 255) {
        free(table);
        return 0;
    }
    for (uint64_t group = 0; group < groups; group++) {
        uint64_t *sums = table + 256 * group;
        sums[0] = 0;
        for (uint64_t i = 0; i < 8; i++) {
            uint64_t weight = 8 * group + i < rows ? weights[8 * group + i] : 0;
            for (uint64_t j = 0; j < UINT64_C(1) << i; j++) sums[j | UINT64_C(1) << i] = less(sums[j] + weight, PRIME);
        }
    }
    for (uint64_t at = 0; at < size; at++, out += 8) {
        uint64_t more[8] = {0}, fewer[8] = {0};
        for (uint64_t group = 0; group < groups; group++) {
            const uint64_t *sums = table + 256 * group;
            uint64_t x = turned(eight(plus + at, 8 * group, rows, size));
            uint64_t y = turned(eight(minus + at, 8 * group, rows, size));
            for (int j = 0; j < 8; j++, x >>= 8, y >>= 8) more[j] += sums[x & 255], fewer[j] += sums[y & 255];
        }
        for (int j = 0; j < 8; j++) out[7 - j] = (int64_t)less(more[j] % PRIME + PRIME - fewer[j] % PRIME, PRIME);
    }
    free(table);
    return 1;
}

// ------------------------------------------------------------------------------------------------ SHA-256 (FIPS 180-4)

static const uint32_t K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t rotate(uint32_t x, int by) { return x >> by | x << (32 - by); }

static void compress_anywhere(uint32_t state[8], const uint8_t *block) {
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 |
               block[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[i - 7] + (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
    }
    memcpy(s, state, sizeof s);
    for (int i = 0; i < 64; i++) {
        uint32_t a = s[0], e = s[4];
        uint32_t first = s[7] + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & s[5]) ^ (~e & s[6])) + K[i] + w[i];
        uint32_t second = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += first;
        s[0] = first + second;
    }
    for (int i = 0; i < 8; i++) state[i] += s[i];
}

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

int has_sha(void) { // the SHA extensions, SSSE3 and SSE4.1
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b >> 29 & 1)) return 0;
    return __get_cpuid(1, &a, &b, &c, &d) && (c >> 9 & 1) && (c >> 19 & 1);
}

__attribute__((target("sha,sse4.1,ssse3"))) static void compress_sha(uint32_t state[8], const uint8_t *block) {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    __m128i dcba = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)state), 0xb1);
    __m128i hgfe = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(state + 4)), 0x1b);
    __m128i abef = _mm_alignr_epi8(dcba, hgfe, 8), cdgh = _mm_blend_epi16(hgfe, dcba, 0xf0);
    const __m128i abef_before = abef, cdgh_before = cdgh;
    __m128i w[4];
    for (int i = 0; i < 4; i++) w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(block + 16 * i)), swap);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) { // four rounds each
        __m128i now = w[i & 3];
        if (i >= 4) {
            __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(now, w[(i + 1) & 3]),
                                        _mm_alignr_epi8(w[(i + 3) & 3], w[(i + 2) & 3], 4));
            now = w[i & 3] = _mm_sha256msg2_epu32(sum, w[(i + 3) & 3]);
        }
        __m128i added = _mm_add_epi32(now, _mm_loadu_si128((const __m128i *)(K + 4 * i)));
        cdgh = _mm_sha256rnds2_epu32(cdgh, abef, added);
        abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(added, 0x0e));
    }
    abef = _mm_add_epi32(abef, abef_before);
    cdgh = _mm_add_epi32(cdgh, cdgh_before);
    __m128i feba = _mm_shuffle_epi32(abef, 0x1b), dchg = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}
#else
int has_sha(void) { return 0; }
#define compress_sha compress_anywhere
#endif

typedef void (*Compress)(uint32_t state[8], const uint8_t *block);

// The first 20 bytes of the hash of a message that stands in a buffer with room for 72 bytes more.
static void hash(uint8_t out[HASH], uint8_t *message, uint64_t size, Compress compress) {
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    uint64_t padded = (size + 8) / 64 * 64 + 64;
    message[size] = 0x80;
    memset(message + size + 1, 0, padded - size - 9);
    for (int i = 0; i < 8; i++) message[padded - 1 - i] = (uint8_t)(8 * size >> (8 * i));
    for (uint64_t at = 0; at < padded; at += 64) compress(state, message + at);
    for (int i = 0; i < HASH; i++) out[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
}

// out: the hashes of all levels of a tree, the leaves first: 20 (2 count - 1) bytes. A leaf is the hash of the tag, a salt
// and a column of `size` bytes; a node that of `node` and its two children. Returns 0 if there is no memory.
int hash_tree(uint8_t *out, uint8_t tag, uint8_t node, const uint8_t *salts, const uint8_t *columns, uint64_t count,
              uint64_t size, int with_sha) {
    Compress compress = with_sha ? compress_sha : compress_anywhere;
    uint8_t *message = malloc(1 + SALT + size + 72);
    if (!message) return 0;
    for (uint64_t i = 0; i < count; i++) {
        message[0] = tag;
        memcpy(message + 1, salts + i * SALT, SALT);
        memcpy(message + 1 + SALT, columns + i * size, size);
        hash(out + i * HASH, message, 1 + SALT + size, compress);
    }
    free(message);
    uint8_t pair[128];
    for (uint8_t *level = out, *next; count > 1; count /= 2, level = next) {
        next = level + count * HASH;
        for (uint64_t i = 0; i < count / 2; i++) {
            pair[0] = node;
            memcpy(pair + 1, level + 2 * i * HASH, 2 * HASH);
            hash(next + i * HASH, pair, 1 + 2 * HASH, compress);
        }
    }
    return 1;
}
