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

#define INLINE TARGET static inline __attribute__((always_inline))

/* out <- (x y + z w + addend) / R mod n, lane by lane, and quotient <- m, with x y + z w + addend + m n = R out. Without
 * z, without an addend or without a quotient if that is NULL. Takes two limbs of a factor at a time, so that each sum is
 * read and written half as often; `limbs` is even. */
INLINE void reduced_product(Vector *out, const Vector *x, const Vector *y, const Vector *z, const Vector *w,
                            const Vector *addend, Vector *quotient, const uint64_t *modulus, uint64_t inverse,
                            uint64_t limbs) {
    const Vector zero = _mm512_setzero_si512();
    const Vector inverses = _mm512_set1_epi64((long long)inverse);
    const uint64_t top = limbs - 1;
    Vector n[MOST_LIMBS], sum[MOST_LIMBS];
    for (uint64_t j = 0; j < limbs; j++) {
        n[j] = _mm512_set1_epi64((long long)modulus[j]);
        sum[j] = addend ? addend[j] : zero;
    }
    for (uint64_t i = 0; i < limbs; i += 2) {
        const Vector y0 = y[i], y1 = y[i + 1], w0 = z ? w[i] : zero, w1 = z ? w[i + 1] : zero;

        Vector first = sum[0]; /* cleared by m0 times n */
        LOW(first, x[0], y0);
        if (z)
            LOW(first, z[0], w0);
        const Vector m0 = _mm512_madd52lo_epu64(zero, first, inverses);
        LOW(first, n[0], m0);

        Vector second = _mm512_add_epi64(sum[1], _mm512_srli_epi64(first, 52)); /* cleared by m1 times n */
        LOW(second, x[1], y0), LOW(second, n[1], m0);
        HIGH(second, x[0], y0), HIGH(second, n[0], m0);
        LOW(second, x[0], y1);
        if (z)
            LOW(second, z[1], w0), HIGH(second, z[0], w0), LOW(second, z[0], w1);
        const Vector m1 = _mm512_madd52lo_epu64(zero, second, inverses);
        LOW(second, n[0], m1);

        Vector carry = _mm512_srli_epi64(second, 52);
        for (uint64_t j = 2; j < limbs; j++) { /* everything moves two limbs down: the division by 2^104 */
            Vector word = _mm512_add_epi64(sum[j], carry), other = zero;
            LOW(word, x[j], y0), LOW(other, n[j], m0);
            HIGH(word, x[j - 1], y0), HIGH(other, n[j - 1], m0);
            LOW(word, x[j - 1], y1), LOW(other, n[j - 1], m1);
            HIGH(word, x[j - 2], y1), HIGH(other, n[j - 2], m1);
            if (z) {
                LOW(word, z[j], w0), HIGH(other, z[j - 1], w0);
                LOW(word, z[j - 1], w1), HIGH(other, z[j - 2], w1);
            }
            sum[j - 2] = _mm512_add_epi64(word, other);
            carry = zero;
        }
        Vector word = carry; /* not zero only if there are but two limbs */
        HIGH(word, x[top], y0), HIGH(word, n[top], m0);
        LOW(word, x[top], y1), LOW(word, n[top], m1);
        HIGH(word, x[top - 1], y1), HIGH(word, n[top - 1], m1);
        if (z)
            HIGH(word, z[top], w0), LOW(word, z[top], w1), HIGH(word, z[top - 1], w1);
        sum[limbs - 2] = word;
        word = zero;
        HIGH(word, x[top], y1), HIGH(word, n[top], m1);
        if (z)
            HIGH(word, z[top], w1);
        sum[limbs - 1] = word;
        if (quotient)
            quotient[i] = m0, quotient[i + 1] = m1;
    }
    const Vector mask = _mm512_set1_epi64(((long long)1 << 52) - 1);
    Vector carry = zero;
    for (uint64_t j = 0; j < limbs; j++) {
        const Vector word = _mm512_add_epi64(sum[j], carry);
        out[j] = _mm512_and_si512(word, mask);
        carry = _mm512_srli_epi64(word, 52);
    }
}

/* acc <- acc * b / R mod n, lane by lane. */
TARGET static void multiply_lanes(Vector *acc, const Vector *b, const uint64_t *modulus, uint64_t inverse,
                                  uint64_t limbs) {
    reduced_product(acc, acc, b, NULL, NULL, NULL, NULL, modulus, inverse, limbs);
}

TARGET static void square_lanes(Vector *acc, const uint64_t *modulus, uint64_t inverse, uint64_t limbs) {
    multiply_lanes(acc, acc, modulus, inverse, limbs);
}

/* The same with pairs, modulo the square of n (see lanes.h). */
TARGET static void multiply_pairs(Vector *acc, const Vector *b, const uint64_t *modulus, uint64_t inverse,
                                  uint64_t limbs) {
    Vector low[MOST_LIMBS], quotient[MOST_LIMBS];
    reduced_product(low, acc, b, NULL, NULL, NULL, quotient, modulus, inverse, limbs);
    reduced_product(acc + limbs, acc, b + limbs, acc + limbs, b, quotient, NULL, modulus, inverse, limbs);
    memcpy(acc, low, limbs * sizeof(Vector));
}

TARGET static void square_pairs(Vector *acc, const uint64_t *modulus, uint64_t inverse, uint64_t limbs) {
    const Vector mask = IN_ALL_LANES(((uint64_t)1 << 52) - 1);
    Vector low[MOST_LIMBS], quotient[MOST_LIMBS], twice[MOST_LIMBS], carry = IN_ALL_LANES(0);
    for (uint64_t j = 0; j < limbs; j++) {
        const Vector word = _mm512_add_epi64(_mm512_slli_epi64(acc[j], 1), carry);
        twice[j] = AND(word, mask);
        carry = _mm512_srli_epi64(word, 52);
    }
    reduced_product(low, acc, acc, NULL, NULL, NULL, quotient, modulus, inverse, limbs);
    reduced_product(acc + limbs, twice, acc + limbs, NULL, NULL, quotient, NULL, modulus, inverse, limbs);
    memcpy(acc, low, limbs * sizeof(Vector));
}

#include "lanes.h"

/* ---------------------------------------------------------------------------------------------- one pair alone
 *
 * Where there is but one number, its limbs lie side by side in the lanes, eight in a vector; `limbs` is a multiple of
 * eight. What the lowest limb holds is kept as a word of its own, because the next multiple of n follows from it.
 */

#define WORD_MASK (((uint64_t)1 << LIMB_BITS) - 1)
#define SIDE_BY_SIDE 8

/* One step of a reduction that is under way: what was added to the lowest limb, and all, is divided by 2^52.
 *
 * Args: `lowest` is what the lowest limb holds, with all that this step adds to it below 2^52; `above` is what the step
 * adds to it above that, which stays when all moves down. Returns the multiple of n that was added.
 */
INLINE uint64_t step_down(Vector *sum, uint64_t *lowest, uint64_t above, const Vector *n, uint64_t n0, uint64_t inverse,
                          const uint64_t vectors) {
    const uint64_t m = (*lowest * inverse) & WORD_MASK;
    const unsigned __int128 cleared = (unsigned __int128)n0 * m;
    const Vector ms = IN_ALL_LANES(m);
    for (uint64_t v = 0; v < vectors; v++)
        LOW(sum[v], n[v], ms);
    for (uint64_t v = 0; v + 1 < vectors; v++)
        sum[v] = _mm512_alignr_epi64(sum[v + 1], sum[v], 1);
    sum[vectors - 1] = _mm512_alignr_epi64(_mm512_setzero_si512(), sum[vectors - 1], 1);
    const uint64_t carry = (*lowest + ((uint64_t)cleared & WORD_MASK)) >> LIMB_BITS;
    const uint64_t next = (uint64_t)_mm_cvtsi128_si64(_mm512_castsi512_si128(sum[0]));
    *lowest = next + carry + above + (uint64_t)(cleared >> LIMB_BITS);
    for (uint64_t v = 0; v < vectors; v++)
        HIGH(sum[v], n[v], ms);
    return m;
}

/* Write a sum as limbs, the lowest of which is given apart. */
INLINE void carried(uint64_t *out, const Vector *sum, uint64_t lowest, uint64_t limbs) {
    uint64_t words[MOST_LIMBS], carry = 0;
    for (uint64_t v = 0; v < limbs / SIDE_BY_SIDE; v++)
        STORE(words + SIDE_BY_SIDE * v, sum[v]);
    words[0] = lowest;
    for (uint64_t j = 0; j < limbs; j++) {
        carry += words[j];
        out[j] = carry & WORD_MASK;
        carry >>= LIMB_BITS;
    }
}

/* acc <- acc * by / R modulo n^2; both are pairs, one half after the other. */
INLINE void multiply_pair(uint64_t *acc, const uint64_t *by, const uint64_t *modulus, uint64_t inverse,
                          const uint64_t limbs) {
    const uint64_t vectors = limbs / SIDE_BY_SIDE, a0 = acc[0], b0 = acc[limbs], n0 = modulus[0];
    Vector a[MOST_LIMBS / SIDE_BY_SIDE], b[MOST_LIMBS / SIDE_BY_SIDE], n[MOST_LIMBS / SIDE_BY_SIDE];
    Vector low[MOST_LIMBS / SIDE_BY_SIDE], high[MOST_LIMBS / SIDE_BY_SIDE];
    uint64_t lowest = 0, second = 0;
    for (uint64_t v = 0; v < vectors; v++) {
        a[v] = _mm512_loadu_si512(acc + SIDE_BY_SIDE * v);
        b[v] = _mm512_loadu_si512(acc + limbs + SIDE_BY_SIDE * v);
        n[v] = _mm512_loadu_si512(modulus + SIDE_BY_SIDE * v);
        low[v] = high[v] = _mm512_setzero_si512();
    }
    for (uint64_t i = 0; i < limbs; i++) {
        const unsigned __int128 ac = (unsigned __int128)a0 * by[i], ad = (unsigned __int128)a0 * by[limbs + i],
                                bc = (unsigned __int128)b0 * by[i];
        const Vector c = IN_ALL_LANES(by[i]), d = IN_ALL_LANES(by[limbs + i]);
        for (uint64_t v = 0; v < vectors; v++) {
            LOW(low[v], a[v], c);
            LOW(high[v], a[v], d);
            LOW(high[v], b[v], c);
        }
        lowest += (uint64_t)ac & WORD_MASK;
        const uint64_t m = step_down(low, &lowest, (uint64_t)(ac >> LIMB_BITS), n, n0, inverse, vectors);
        second += ((uint64_t)ad & WORD_MASK) + ((uint64_t)bc & WORD_MASK) + m;
        step_down(high, &second, (uint64_t)(ad >> LIMB_BITS) + (uint64_t)(bc >> LIMB_BITS), n, n0, inverse, vectors);
        for (uint64_t v = 0; v < vectors; v++) {
            HIGH(low[v], a[v], c);
            HIGH(high[v], a[v], d);
            HIGH(high[v], b[v], c);
        }
    }
    carried(acc, low, lowest, limbs);
    carried(acc + limbs, high, second, limbs);
}

/* The same for moduli of 1024, 2048, 3072 and 4096 bits, each compiled apart: only a length that is known is fast. */
TARGET static void multiply_alone(uint64_t *acc, const uint64_t *by, const uint64_t *modulus, uint64_t inverse,
                                  uint64_t limbs) {
    if (limbs == 24)
        multiply_pair(acc, by, modulus, inverse, 24);
    else if (limbs == 40)
        multiply_pair(acc, by, modulus, inverse, 40);
    else if (limbs == 64)
        multiply_pair(acc, by, modulus, inverse, 64);
    else if (limbs == 80)
        multiply_pair(acc, by, modulus, inverse, 80);
    else
        abort(); /* `alone` in alone.py lets no other length come here */
}

/* pair <- pair squared so many times. */
TARGET static void square_alone(uint64_t *pair, uint64_t times, const uint64_t *modulus, uint64_t inverse,
                                uint64_t limbs) {
    uint64_t same[2 * MOST_LIMBS];
    for (uint64_t t = 0; t < times; t++) {
        memcpy(same, pair, 2 * limbs * sizeof(uint64_t));
        multiply_alone(pair, same, modulus, inverse, limbs);
    }
}

/* out[k] <- pair^(2^(times k)) for k below `count`; pair is used up. */
TARGET void squares_alone(uint64_t *out, uint64_t *pair, uint64_t times, uint64_t count, const uint64_t *modulus,
                          uint64_t inverse, uint64_t limbs) {
    for (uint64_t k = 0; k < count; k++) {
        if (k)
            square_alone(pair, times, modulus, inverse, limbs);
        memcpy(out + 2 * limbs * k, pair, 2 * limbs * sizeof(uint64_t));
    }
}

/* pair <- pair to the power of a public exponent, all in Montgomery's form; false if there is no memory for it.
 *
 * Args: as of powers_of_rows, for one pair.
 */
TARGET int power_alone(uint64_t *pair, const uint8_t *digits, uint64_t length, const uint64_t *one,
                       const uint64_t *modulus, uint64_t inverse, uint64_t limbs) {
    const uint64_t size = 2 * limbs * sizeof(uint64_t);
    uint64_t *powers = malloc(POWERS * size);
    if (!powers)
        return 0;
    memcpy(powers, one, size);
    memcpy(powers + 2 * limbs, pair, size);
    for (uint64_t p = 2; p < POWERS; p++) {
        memcpy(powers + 2 * limbs * p, powers + 2 * limbs * (p - 1), size);
        multiply_alone(powers + 2 * limbs * p, pair, modulus, inverse, limbs);
    }
    memcpy(pair, one, size);
    for (uint64_t d = 0; d < length; d++) {
        square_alone(pair, WINDOW, modulus, inverse, limbs);
        if (digits[d])
            multiply_alone(pair, powers + 2 * limbs * digits[d], modulus, inverse, limbs);
    }
    free(powers);
    return 1;
}
