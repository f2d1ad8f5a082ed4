/* What the kernels share: tables of numbers as rows of limbs, several of them side by side in the lanes of vectors.
 *
 * Included by a kernel after it has defined LANES, LIMB_BITS, MOST_LIMBS, TARGET, Vector and what is done with vectors,
 * and the functions multiply_lanes, square_lanes, multiply_pairs and square_pairs. A row has a word of 64 bits for each
 * limb, lowest first.
 *
 * Modulo n^2 two numbers (a, b) stand for a - b n, one after the other in a row. Montgomery's reduction of a c finds m
 * and t with a c = R t - m n, so
 *
 *     (a - b n) (c - d n) / R  =  t - (a d + b c + m) / R n        modulo n^2,
 *
 * where what is before the n counts modulo n only: three products and two reductions of half the length, which is 10
 * units of work where a product of whole length and its reduction are 16; a square, with 2 a b, is 8. If R > 16 n and a,
 * b, c, d are below 2 n, then so are both numbers of the result: (8 n^2 + R + R n) / R < 2 n.
 */

#define WINDOW 5 /* bits of an exponent that powers_of_rows takes at a time */
#define POWERS (1 << WINDOW)

/* acc <- acc * b / R modulo n, or with pairs modulo n^2. */
TARGET static void multiply(Vector *acc, const Vector *b, const uint64_t *modulus, uint64_t inverse, uint64_t limbs,
                            int pairs) {
    (pairs ? multiply_pairs : multiply_lanes)(acc, b, modulus, inverse, limbs);
}

/* Bring rows of a table side by side. */
TARGET static void load(Vector *lanes, const uint64_t *table, const int64_t *rows, uint64_t words) {
    int64_t starts[LANES];
    for (int lane = 0; lane < LANES; lane++)
        starts[lane] = rows[lane] * (int64_t)words;
    for (uint64_t j = 0; j < words; j++)
        lanes[j] = GATHER(starts, table + j);
}

/* Write the first `count` lanes to rows one after the other. */
TARGET static void store(uint64_t *rows, const Vector *lanes, uint64_t count, uint64_t words) {
    for (uint64_t j = 0; j < words; j++) {
        uint64_t word[LANES];
        STORE(word, lanes[j]);
        for (uint64_t lane = 0; lane < count; lane++)
            rows[lane * words + j] = word[lane];
    }
}

/* out[k] <- table[rows[0][k]] * table[rows[1][k]] * ... / R^(factors - 1) mod n, for k below `count`.
 *
 * Args: numbers as rows of `limbs` words, or of twice as many if they are pairs; `rows` has the shape (factors, count).
 */
TARGET void multiply_rows(uint64_t *out, const uint64_t *table, const int64_t *rows, uint64_t factors, uint64_t count,
                          const uint64_t *modulus, uint64_t inverse, uint64_t limbs, int pairs) {
    const uint64_t words = limbs << pairs;
    Vector product[MOST_LIMBS], factor[MOST_LIMBS];
    for (uint64_t first = 0; first < count; first += LANES) {
        const uint64_t used = count - first < LANES ? count - first : LANES;
        for (uint64_t f = 0; f < factors; f++) {
            int64_t chosen[LANES];
            for (uint64_t lane = 0; lane < LANES; lane++) /* idle lanes do the last number again */
                chosen[lane] = rows[f * count + first + (lane < used ? lane : used - 1)];
            load(f ? factor : product, table, chosen, words);
            if (f)
                multiply(product, factor, modulus, inverse, limbs, pairs);
        }
        store(out + first * words, product, used, words);
    }
}

/* Copy powers[digit] without a trace of the digit: every power is read, and a mask takes the one that is wanted. */
TARGET static void select_power(Vector *restrict chosen, const Vector *restrict powers, uint64_t digit,
                                uint64_t words) {
    Vector masks[POWERS];
    for (uint64_t p = 0; p < POWERS; p++) /* all ones where p is the digit: only then does p ^ digit less 1 wrap */
        masks[p] = IN_ALL_LANES(0 - (((p ^ digit) - 1) >> 63));
    for (uint64_t j = 0; j < words; j++) {
        Vector word = IN_ALL_LANES(0);
        for (uint64_t p = 0; p < POWERS; p++)
            word = OR(word, AND(powers[p * words + j], masks[p]));
        chosen[j] = word;
    }
}

/* out[k] <- numbers[k] to the power of one exponent, all in Montgomery's form; false if there is no memory for it.
 *
 * `digits` are the exponent's, each below POWERS, the highest first; `one` is 1 in Montgomery's form. If the exponent is
 * secret, what is done and which memory is read depends on how many digits there are, not on what they are.
 */
TARGET int powers_of_rows(uint64_t *out, const uint64_t *numbers, uint64_t count, const uint8_t *digits, uint64_t length,
                      int secret, const uint64_t *one, const uint64_t *modulus, uint64_t inverse, uint64_t limbs,
                      int pairs) {
    const uint64_t words = limbs << pairs;
    Vector *powers = aligned_alloc(64, (size_t)POWERS * words * sizeof(Vector));
    if (!powers)
        return 0;
    Vector result[MOST_LIMBS], factor[MOST_LIMBS];
    for (uint64_t first = 0; first < count; first += LANES) {
        const uint64_t used = count - first < LANES ? count - first : LANES;
        int64_t chosen[LANES];
        for (uint64_t lane = 0; lane < LANES; lane++)
            chosen[lane] = (int64_t)(first + (lane < used ? lane : used - 1));
        for (uint64_t j = 0; j < words; j++)
            powers[j] = IN_ALL_LANES(one[j]);
        load(powers + words, numbers, chosen, words);
        for (uint64_t p = 2; p < POWERS; p++) {
            memcpy(powers + p * words, powers + (p - 1) * words, words * sizeof(Vector));
            multiply(powers + p * words, powers + words, modulus, inverse, limbs, pairs);
        }
        memcpy(result, powers, words * sizeof(Vector));
        for (uint64_t d = 0; d < length; d++) {
            for (int bit = 0; bit < WINDOW; bit++)
                (pairs ? square_pairs : square_lanes)(result, modulus, inverse, limbs);
            if (secret) {
                select_power(factor, powers, digits[d], words);
                multiply(result, factor, modulus, inverse, limbs, pairs);
            } else if (digits[d]) {
                multiply(result, powers + digits[d] * words, modulus, inverse, limbs, pairs);
            }
        }
        store(out + first * words, result, used, words);
    }
    free(powers);
    return 1;
}

/* Cut numbers of `size` little-endian bytes into limbs. */
void to_limbs(uint64_t *out, const uint8_t *bytes, uint64_t count, uint64_t size, uint64_t limbs) {
    uint8_t padded[MOST_LIMBS * LIMB_BITS / 8 + 16] = {0};
    const uint64_t most = (limbs * LIMB_BITS + 7) / 8, taken = size < most ? size : most;
    for (uint64_t k = 0; k < count; k++) {
        memcpy(padded, bytes + k * size, taken);
        for (uint64_t j = 0; j < limbs; j++) {
            uint64_t word; /* has at least 57 bits of what follows */
            memcpy(&word, padded + j * LIMB_BITS / 8, sizeof word);
            out[k * limbs + j] = word >> (j * LIMB_BITS % 8) & (((uint64_t)1 << LIMB_BITS) - 1);
        }
    }
}

/* The reverse; what does not fit into `size` bytes is cut off. */
void from_limbs(uint8_t *out, const uint64_t *numbers, uint64_t count, uint64_t size, uint64_t limbs) {
    for (uint64_t k = 0; k < count; k++, numbers += limbs) {
        uint64_t held = 0, bits = 0, next = 0;
        for (uint64_t at = 0; at < size; at++) {
            if (bits < 8 && next < limbs) {
                held |= numbers[next++] << bits;
                bits += LIMB_BITS;
            }
            out[k * size + at] = (uint8_t)held;
            held >>= 8;
            bits = bits > 8 ? bits - 8 : 0;
        }
    }
}
