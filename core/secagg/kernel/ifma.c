/* Eight modular multiplications at once, with the 52-bit multipliers of AVX-512 IFMA.
 *
 * A number is `limbs` words of 52 bits each, lowest first. Montgomery's product of a and b is a b / R mod n with
 * R = 2^(52 limbs) (Montgomery, Math. Comp. 44, 1985). Because R > 4 n, factors below 2 n give a product below 2 n, and
 * nothing need be subtracted (Walter, Electronics Letters 35, 1999). Each lane of a vector holds a limb of another
 * number. What is done, when, and where in memory depends on no number but the table rows looked up in multiply_rows, and
 * on public exponents.
 *
 * A word has 64 bits: room to add 4 * limbs halves of products before any carry.
 */

#include <immintrin.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LANES 8
#define LIMB_BITS 52
#define MOST_LIMBS 320 /* 16,640 bits: the square of the modulus of an 8192-bit key, and to spare */
#define TARGET __attribute__((target("avx512f,avx512ifma")))
#define Vector __m512i
#define IN_ALL_LANES(x) _mm512_set1_epi64((long long)(x))
#define AND(x, y) _mm512_and_si512(x, y)
#define OR(x, y) _mm512_or_si512(x, y)
#define GATHER(places, table) _mm512_i64gather_epi64(_mm512_loadu_si512(places), (const long long *)(table), 8)
#define STORE(words, x) _mm512_storeu_si512(words, x)

int supported(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512ifma");
}

#define LOW(sum, x, y) sum = _mm512_madd52lo_epu64(sum, x, y)
#define HIGH(sum, x, y) sum = _mm512_madd52hi_epu64(sum, x, y)

/* acc <- acc * b / R mod n, lane by lane. Takes two limbs of b at a time, so that each sum is read and written half as
 * often; `limbs` is even. */
TARGET static void multiply_lanes(__m512i *restrict acc, const __m512i *restrict b, const uint64_t *restrict modulus,
                                uint64_t inverse, uint64_t limbs) {
    const __m512i zero = _mm512_setzero_si512();
    const __m512i inverses = _mm512_set1_epi64((long long)inverse);
    const uint64_t top = limbs - 1;
    __m512i n[MOST_LIMBS], sum[MOST_LIMBS];
    for (uint64_t j = 0; j < limbs; j++) {
        n[j] = _mm512_set1_epi64((long long)modulus[j]);
        sum[j] = zero;
    }
    for (uint64_t i = 0; i < limbs; i += 2) {
        const __m512i b0 = b[i], b1 = b[i + 1];

        __m512i first = sum[0]; /* cleared by m0 times n */
        LOW(first, acc[0], b0);
        const __m512i m0 = _mm512_madd52lo_epu64(zero, first, inverses);
        LOW(first, n[0], m0);

        __m512i second = _mm512_add_epi64(sum[1], _mm512_srli_epi64(first, 52)); /* cleared by m1 times n */
        LOW(second, acc[1], b0), LOW(second, n[1], m0);
        HIGH(second, acc[0], b0), HIGH(second, n[0], m0);
        LOW(second, acc[0], b1);
        const __m512i m1 = _mm512_madd52lo_epu64(zero, second, inverses);
        LOW(second, n[0], m1);

        __m512i carry = _mm512_srli_epi64(second, 52);
        for (uint64_t j = 2; j < limbs; j++) { /* everything moves two limbs down: the division by 2^104 */
            __m512i word = _mm512_add_epi64(sum[j], carry), other = zero;
            LOW(word, acc[j], b0), LOW(other, n[j], m0);
            HIGH(word, acc[j - 1], b0), HIGH(other, n[j - 1], m0);
            LOW(word, acc[j - 1], b1), LOW(other, n[j - 1], m1);
            HIGH(word, acc[j - 2], b1), HIGH(other, n[j - 2], m1);
            sum[j - 2] = _mm512_add_epi64(word, other);
            carry = zero;
        }
        __m512i word = carry; /* not zero only if there are but two limbs */
        HIGH(word, acc[top], b0), HIGH(word, n[top], m0);
        LOW(word, acc[top], b1), LOW(word, n[top], m1);
        HIGH(word, acc[top - 1], b1), HIGH(word, n[top - 1], m1);
        sum[limbs - 2] = word;
        word = zero;
        HIGH(word, acc[top], b1), HIGH(word, n[top], m1);
        sum[limbs - 1] = word;
    }
    const __m512i mask = _mm512_set1_epi64(((long long)1 << 52) - 1);
    __m512i carry = zero;
    for (uint64_t j = 0; j < limbs; j++) {
        const __m512i word = _mm512_add_epi64(sum[j], carry);
        acc[j] = _mm512_and_si512(word, mask);
        carry = _mm512_srli_epi64(word, 52);
    }
}

TARGET static void square_lanes(__m512i *restrict acc, const uint64_t *restrict modulus, uint64_t inverse,
                              uint64_t limbs) {
    __m512i copy[MOST_LIMBS];
    memcpy(copy, acc, limbs * sizeof(__m512i));
    multiply_lanes(acc, copy, modulus, inverse, limbs);
}

#include "lanes.h"
