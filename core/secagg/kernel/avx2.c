/* Four modular multiplications at once, with the 32-bit multipliers of AVX2, for processors without AVX-512 IFMA.
 *
 * A number is `limbs` words of 27 bits each, lowest first; a product of two takes 54 bits, so a word of 64 has room for
 * the 4 * limbs products that come together in it before any carry. The rest is as in ifma.c: R = 2^(27 limbs) > 4 n,
 * factors below 2 n give a product below 2 n, each lane of a vector holds a limb of another number, and nothing that is
 * done depends on the numbers.
 */

#include <immintrin.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LANES 4
#define LIMB_BITS 27
#define MOST_LIMBS 480 /* 12,960 bits: the cube of the modulus of a 4096-bit key, and to spare */
#define TARGET __attribute__((target("avx2")))
#define Vector __m256i
#define IN_ALL_LANES(x) _mm256_set1_epi64x((long long)(x))
#define AND(x, y) _mm256_and_si256(x, y)
#define OR(x, y) _mm256_or_si256(x, y)
#define GATHER(places, table)                                                                                         \
    _mm256_i64gather_epi64((const long long *)(table), _mm256_loadu_si256((const __m256i *)(places)), 8)
#define STORE(words, x) _mm256_storeu_si256((__m256i *)(words), x)
#define ADD(x, y) _mm256_add_epi64(x, y)
#define PRODUCT(x, y) _mm256_mul_epu32(x, y)
#define CARRY(x) _mm256_srli_epi64(x, LIMB_BITS)
#define INLINE TARGET static inline __attribute__((always_inline))

int supported(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2");
}

#define ROWS 8 /* limbs of one factor that are taken at a time, or half as many */

/* t[j] += a[j] b[0] + a[j - 1] b[1] + ... for `rows` limbs of b, and those of a from `first` on; at least `rows`. */
INLINE void add_rows(Vector *restrict t, const Vector *restrict a, uint64_t first, uint64_t limbs,
                     const Vector *restrict b, const uint64_t rows) {
    Vector factor[ROWS];
#pragma GCC unroll 8
    for (uint64_t r = 0; r < rows; r++)
        factor[r] = b[r];
#pragma GCC unroll 8
    for (uint64_t j = 0; j < rows - 1; j++) {
        Vector sum = t[first + j];
#pragma GCC unroll 8
        for (uint64_t r = 0; r <= j; r++)
            sum = ADD(sum, PRODUCT(a[first + j - r], factor[r]));
        t[first + j] = sum;
    }
    for (uint64_t j = first + rows - 1; j < limbs; j++) {
        Vector even = ADD(t[j], PRODUCT(a[j], factor[0])), odd = PRODUCT(a[j - 1], factor[1]);
#pragma GCC unroll 8
        for (uint64_t r = 2; r < rows; r += 2) {
            even = ADD(even, PRODUCT(a[j - r], factor[r]));
            odd = ADD(odd, PRODUCT(a[j - r - 1], factor[r + 1]));
        }
        t[j] = ADD(even, odd);
    }
#pragma GCC unroll 8
    for (uint64_t j = 0; j < rows - 1; j++) {
        Vector sum = t[limbs + j];
#pragma GCC unroll 8
        for (uint64_t r = j + 1; r < rows; r++)
            sum = ADD(sum, PRODUCT(a[limbs + j - r], factor[r]));
        t[limbs + j] = sum;
    }
}

/* Clear the lowest `rows` sums at t by m times n, and hand their carry on. */
INLINE void clear_rows(Vector *restrict t, const Vector *restrict n, Vector *restrict m, Vector inverse, uint64_t limbs,
                       const uint64_t rows) {
    const Vector mask = IN_ALL_LANES((1 << LIMB_BITS) - 1);
    Vector carry = IN_ALL_LANES(0);
#pragma GCC unroll 8
    for (uint64_t r = 0; r < rows; r++) {
        Vector sum = ADD(t[r], carry);
#pragma GCC unroll 8
        for (uint64_t s = 0; s < r; s++)
            sum = ADD(sum, PRODUCT(n[r - s], m[s]));
        m[r] = AND(PRODUCT(AND(sum, mask), inverse), mask);
        carry = CARRY(ADD(sum, PRODUCT(n[0], m[r])));
    }
    t[rows] = ADD(t[rows], carry);
#pragma GCC unroll 8
    for (uint64_t j = rows; j < 2 * rows - 1; j++) { /* the other products of the lowest limbs of n */
        Vector sum = t[j];
#pragma GCC unroll 8
        for (uint64_t r = j - rows + 1; r < rows; r++)
            sum = ADD(sum, PRODUCT(n[j - r], m[r]));
        t[j] = sum;
    }
    add_rows(t, n, rows, limbs, m, rows);
}

/* acc <- t / R mod n, and quotient <- m, with t + m n = R acc; t has twice as many sums as there are limbs, and is used
 * up. */
TARGET static void reduce(Vector *restrict acc, Vector *restrict t, Vector *restrict quotient,
                          const uint64_t *restrict modulus, uint64_t inverse, uint64_t limbs) {
    const Vector inverses = IN_ALL_LANES(inverse), mask = IN_ALL_LANES((1 << LIMB_BITS) - 1);
    Vector n[MOST_LIMBS], carry = IN_ALL_LANES(0);
    for (uint64_t j = 0; j < limbs; j++)
        n[j] = IN_ALL_LANES(modulus[j]);
    uint64_t i = 0;
    for (; limbs >= 2 * ROWS && i + ROWS <= limbs; i += ROWS)
        clear_rows(t + i, n, quotient + i, inverses, limbs, ROWS);
    for (; i < limbs; i += ROWS / 2)
        clear_rows(t + i, n, quotient + i, inverses, limbs, ROWS / 2);
    for (uint64_t j = 0; j < limbs; j++) {
        const Vector word = ADD(t[limbs + j], carry);
        acc[j] = AND(word, mask);
        carry = CARRY(word);
    }
}

/* t += a b; `limbs` is a multiple of four, and at least eight. */
TARGET static void add_product(Vector *restrict t, const Vector *restrict a, const Vector *restrict b,
                               uint64_t limbs) {
    uint64_t i = 0;
    for (; i + ROWS <= limbs; i += ROWS)
        add_rows(t + i, a, 0, limbs, b + i, ROWS);
    for (; i < limbs; i += ROWS / 2)
        add_rows(t + i, a, 0, limbs, b + i, ROWS / 2);
}

/* acc <- acc * b / R mod n, lane by lane. */
TARGET static void multiply_lanes(Vector *restrict acc, const Vector *restrict b, const uint64_t *restrict modulus,
                                  uint64_t inverse, uint64_t limbs) {
    Vector t[2 * MOST_LIMBS], quotient[MOST_LIMBS];
    memset(t, 0, 2 * limbs * sizeof *t);
    add_product(t, acc, b, limbs);
    reduce(acc, t, quotient, modulus, inverse, limbs);
}

/* Add to t the products of `rows` limbs of a number, from limb i on, with each other and with twice those above. */
INLINE void add_square_rows(Vector *restrict t, const Vector *restrict a, const Vector *restrict twice, uint64_t i,
                            uint64_t limbs, const uint64_t rows) {
#pragma GCC unroll 16
    for (uint64_t j = 0; j < 2 * rows - 1; j++) {
        Vector sum = j % 2 ? t[2 * i + j] : ADD(t[2 * i + j], PRODUCT(a[i + j / 2], a[i + j / 2]));
#pragma GCC unroll 8
        for (uint64_t low = j < rows ? 0 : j - rows + 1; 2 * low < j; low++)
            sum = ADD(sum, PRODUCT(twice[i + j - low], a[i + low]));
        t[2 * i + j] = sum;
    }
    if (i + rows < limbs)
        add_rows(t + i, twice, i + rows, limbs, a + i, rows);
}

/* t <- a^2: products of two different limbs are computed once, with `twice` a. */
TARGET static void square(Vector *restrict t, const Vector *restrict a, const Vector *restrict twice, uint64_t limbs) {
    memset(t, 0, 2 * limbs * sizeof *t);
    for (uint64_t i = 0; i < limbs;) {
        const uint64_t left = limbs - i;
        if (left == ROWS || left >= 2 * ROWS)
            add_square_rows(t, a, twice, i, limbs, ROWS), i += ROWS;
        else
            add_square_rows(t, a, twice, i, limbs, ROWS / 2), i += ROWS / 2;
    }
}

/* twice <- 2 a, in words of one bit more. */
TARGET static void add_to_itself(Vector *restrict twice, const Vector *restrict a, uint64_t limbs) {
    for (uint64_t j = 0; j < limbs; j++)
        twice[j] = ADD(a[j], a[j]);
}

/* acc <- acc^2 / R mod n, lane by lane. */
TARGET static void square_lanes(Vector *restrict acc, const uint64_t *restrict modulus, uint64_t inverse,
                                uint64_t limbs) {
    Vector t[2 * MOST_LIMBS], quotient[MOST_LIMBS], twice[MOST_LIMBS];
    add_to_itself(twice, acc, limbs);
    square(t, acc, twice, limbs);
    reduce(acc, t, quotient, modulus, inverse, limbs);
}

/* The same with pairs, modulo the square of n (see lanes.h). */
TARGET static void multiply_pairs(Vector *restrict acc, const Vector *restrict b, const uint64_t *restrict modulus,
                                  uint64_t inverse, uint64_t limbs) {
    Vector t[2 * MOST_LIMBS], quotient[MOST_LIMBS], low[MOST_LIMBS];
    memset(t, 0, 2 * limbs * sizeof *t);
    add_product(t, acc, b, limbs);
    reduce(low, t, quotient, modulus, inverse, limbs);
    memcpy(t, quotient, limbs * sizeof *t);
    memset(t + limbs, 0, limbs * sizeof *t);
    add_product(t, acc, b + limbs, limbs);
    add_product(t, acc + limbs, b, limbs);
    reduce(acc + limbs, t, quotient, modulus, inverse, limbs);
    memcpy(acc, low, limbs * sizeof *acc);
}

TARGET static void square_pairs(Vector *restrict acc, const uint64_t *restrict modulus, uint64_t inverse,
                                uint64_t limbs) {
    Vector t[2 * MOST_LIMBS], quotient[MOST_LIMBS], low[MOST_LIMBS], twice[MOST_LIMBS];
    add_to_itself(twice, acc, limbs);
    square(t, acc, twice, limbs);
    reduce(low, t, quotient, modulus, inverse, limbs);
    memcpy(t, quotient, limbs * sizeof *t);
    memset(t + limbs, 0, limbs * sizeof *t);
    add_product(t, twice, acc + limbs, limbs);
    reduce(acc + limbs, t, quotient, modulus, inverse, limbs);
    memcpy(acc, low, limbs * sizeof *acc);
}

#include "lanes.h"
