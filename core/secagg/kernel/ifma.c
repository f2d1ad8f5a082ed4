/* Eight modular multiplications at once, with the 52-bit multipliers of AVX-512 IFMA.
 *
 * A number is `limbs` words of 52 bits each, lowest first. Montgomery's product of a and b is a b / R mod n with
 * R = 2^(52 limbs) (Montgomery, Math. Comp. 44, 1985). Because R > 4 n, factors below 2 n give a product below 2 n, and
 * nothing need be subtracted (Walter, Electronics Letters 35, 1999). Each lane of a vector holds a limb of another
 * number. What is done, when, and where in memory depends on no number but the table rows looked up in multiply_rows.
 *
 * A word has 64 bits: room to add 4 * limbs halves of products before any carry.
 */

#include <immintrin.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LANES 8
#define MOST_LIMBS 320 /* 16,640 bits: the square of the modulus of an 8192-bit key, and to spare */
#define WINDOW 5 /* bits of an exponent that power_rows takes at a time */
#define POWERS (1 << WINDOW)
#define IFMA __attribute__((target("avx512f,avx512ifma")))

int supported(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512ifma");
}

#define LOW(sum, x, y) sum = _mm512_madd52lo_epu64(sum, x, y)
#define HIGH(sum, x, y) sum = _mm512_madd52hi_epu64(sum, x, y)

/* acc <- acc * b / R mod n, lane by lane. Takes two limbs of b at a time, so that each sum is read and written half as
 * often; `limbs` is even. */
IFMA static void multiply_lanes(__m512i *restrict acc, const __m512i *restrict b, const uint64_t *restrict modulus,
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

IFMA static void square_lanes(__m512i *restrict acc, const uint64_t *restrict modulus, uint64_t inverse,
                              uint64_t limbs) {
    __m512i copy[MOST_LIMBS];
    memcpy(copy, acc, limbs * sizeof(__m512i));
    multiply_lanes(acc, copy, modulus, inverse, limbs);
}

/* Bring eight rows of a table side by side. */
IFMA static void load(__m512i *lanes, const uint64_t *table, const int64_t *rows, uint64_t limbs) {
    int64_t starts[LANES];
    for (int lane = 0; lane < LANES; lane++)
        starts[lane] = rows[lane] * (int64_t)limbs;
    const __m512i places = _mm512_loadu_si512(starts);
    for (uint64_t j = 0; j < limbs; j++)
        lanes[j] = _mm512_i64gather_epi64(places, (const long long *)(table + j), 8);
}

/* Write the first `count` lanes to rows one after the other. */
IFMA static void store(uint64_t *rows, const __m512i *lanes, uint64_t count, uint64_t limbs) {
    for (uint64_t j = 0; j < limbs; j++) {
        uint64_t words[LANES];
        _mm512_storeu_si512(words, lanes[j]);
        for (uint64_t lane = 0; lane < count; lane++)
            rows[lane * limbs + j] = words[lane];
    }
}

/* out[k] <- table[rows[0][k]] * table[rows[1][k]] * ... / R^(factors - 1) mod n, for k below `count`.
 *
 * Args: numbers as rows of `limbs` words; `rows` has the shape (factors, count).
 */
IFMA void multiply_rows(uint64_t *out, const uint64_t *table, const int64_t *rows, uint64_t factors, uint64_t count,
                        const uint64_t *modulus, uint64_t inverse, uint64_t limbs) {
    __m512i product[MOST_LIMBS], factor[MOST_LIMBS];
    for (uint64_t first = 0; first < count; first += LANES) {
        const uint64_t used = count - first < LANES ? count - first : LANES;
        for (uint64_t f = 0; f < factors; f++) {
            int64_t chosen[LANES];
            for (uint64_t lane = 0; lane < LANES; lane++) /* idle lanes do the last number again */
                chosen[lane] = rows[f * count + first + (lane < used ? lane : used - 1)];
            load(f ? factor : product, table, chosen, limbs);
            if (f)
                multiply_lanes(product, factor, modulus, inverse, limbs);
        }
        store(out + first * limbs, product, used, limbs);
    }
}

/* Copy powers[digit] without a trace of the digit: every power is read, and a mask takes the one that is wanted. */
IFMA static void select_power(__m512i *restrict chosen, const __m512i *restrict powers, uint64_t digit,
                              uint64_t limbs) {
    __m512i masks[POWERS];
    for (uint64_t p = 0; p < POWERS; p++) /* all ones where p is the digit: only then does p ^ digit less 1 wrap */
        masks[p] = _mm512_set1_epi64(-(long long)(((p ^ digit) - 1) >> 63));
    for (uint64_t j = 0; j < limbs; j++) {
        __m512i word = _mm512_setzero_si512();
        for (uint64_t p = 0; p < POWERS; p++)
            word = _mm512_or_si512(word, _mm512_and_si512(powers[p * limbs + j], masks[p]));
        chosen[j] = word;
    }
}

/* out[k] <- numbers[k] to the power of one exponent, all in Montgomery's form; false if there is no memory for it.
 *
 * `digits` are the exponent's, each below POWERS, the highest first; `one` is 1 in Montgomery's form. What is done and
 * which memory is read depends on how many digits there are, not on what they are.
 */
IFMA int power_rows(uint64_t *out, const uint64_t *numbers, uint64_t count, const uint8_t *digits, uint64_t length,
                    const uint64_t *one, const uint64_t *modulus, uint64_t inverse, uint64_t limbs) {
    __m512i *powers = aligned_alloc(64, (size_t)POWERS * limbs * sizeof(__m512i));
    if (!powers)
        return 0;
    __m512i result[MOST_LIMBS], factor[MOST_LIMBS];
    for (uint64_t first = 0; first < count; first += LANES) {
        const uint64_t used = count - first < LANES ? count - first : LANES;
        int64_t chosen[LANES];
        for (uint64_t lane = 0; lane < LANES; lane++)
            chosen[lane] = (int64_t)(first + (lane < used ? lane : used - 1));
        for (uint64_t j = 0; j < limbs; j++)
            powers[j] = _mm512_set1_epi64((long long)one[j]);
        load(powers + limbs, numbers, chosen, limbs);
        for (uint64_t p = 2; p < POWERS; p++) {
            memcpy(powers + p * limbs, powers + (p - 1) * limbs, limbs * sizeof(__m512i));
            multiply_lanes(powers + p * limbs, powers + limbs, modulus, inverse, limbs);
        }
        memcpy(result, powers, limbs * sizeof(__m512i));
        for (uint64_t d = 0; d < length; d++) {
            for (int bit = 0; bit < WINDOW; bit++)
                square_lanes(result, modulus, inverse, limbs);
            select_power(factor, powers, digits[d], limbs);
            multiply_lanes(result, factor, modulus, inverse, limbs);
        }
        store(out + first * limbs, result, used, limbs);
    }
    free(powers);
    return 1;
}

/* Cut numbers of `size` little-endian bytes into limbs. */
void to_limbs(uint64_t *out, const uint8_t *bytes, uint64_t count, uint64_t size, uint64_t limbs) {
    for (uint64_t k = 0; k < count; k++, bytes += size) {
        uint64_t held = 0, bits = 0, at = 0;
        for (uint64_t j = 0; j < limbs; j++) {
            while (bits < 52 && at < size) { /* at most 51 + 8 bits are held */
                held |= (uint64_t)bytes[at++] << bits;
                bits += 8;
            }
            out[k * limbs + j] = held & (((uint64_t)1 << 52) - 1);
            held >>= 52;
            bits = bits > 52 ? bits - 52 : 0;
        }
    }
}

/* The reverse; what does not fit into `size` bytes is cut off. */
void from_limbs(uint8_t *out, const uint64_t *numbers, uint64_t count, uint64_t size, uint64_t limbs) {
    for (uint64_t k = 0; k < count; k++, numbers += limbs) {
        uint64_t held = 0, bits = 0, next = 0;
        for (uint64_t at = 0; at < size; at++) {
            if (bits < 8 && next < limbs) { /* at most 7 + 52 bits are held */
                held |= numbers[next++] << bits;
                bits += 52;
            }
            out[k * size + at] = (uint8_t)held;
            held >>= 8;
            bits = bits > 8 ? bits - 8 : 0;
        }
    }
}
