// Attention of a few queries to keys wherever they lie, and the memory block of SAN-M (arXiv 2006.01713); all in fp32.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "products.h"

constexpr int QUERIES = 3;  // at once, beside four keys: twelve sums in registers
constexpr int KEYS = 4;

// Of eight numbers up to 0; Cephes' coefficients for 2^x around 0. Below -87 the result is as good as none.
inline __m256 exponential(__m256 x) {
    // In this order the second is given where one is no number.
    x = _mm256_max_ps(_mm256_set1_ps(-87.0f), x);
    const __m256 whole = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504f)), _MM_FROUND_TO_NEAREST_INT);
    x = _mm256_fnmadd_ps(whole, _mm256_set1_ps(0.693359375f), x);
    x = _mm256_fnmadd_ps(whole, _mm256_set1_ps(-2.12194440e-4f), x);
    __m256 y = _mm256_set1_ps(1.9875691500e-4f);
    for (float coefficient : {1.3981999507e-3f, 8.3334519073e-3f, 4.1665795894e-2f, 1.6666665459e-1f, 5.0000001201e-1f})
        y = _mm256_fmadd_ps(y, x, _mm256_set1_ps(coefficient));
    y = _mm256_fmadd_ps(_mm256_mul_ps(x, x), y, _mm256_add_ps(x, _mm256_set1_ps(1.0f)));
    const __m256i exponent = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(127)), 23);
    return _mm256_mul_ps(y, _mm256_castsi256_ps(exponent));
}

// Four sums of eight numbers each.
inline __m128 sums_of(__m256 a, __m256 b, __m256 c, __m256 d) {
    const __m256 pairs = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    return _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps(pairs, 1));
}

// Scores [COUNT, stride] of queries, `apart` from each other, against all keys; their number is padded to one of KEYS.
template <int COUNT>
void score(const float* queries, int64_t apart, const std::vector<const float*>& keys, int64_t depth, float* scores,
           int64_t stride) {
    for (size_t key = 0; key < keys.size(); key += KEYS) {
        __m256 sums[COUNT][KEYS];
        unrolled<COUNT * KEYS>([&](auto i) __attribute__((always_inline)) {
            sums[i / KEYS][i % KEYS] = _mm256_setzero_ps();
        });
        for (int64_t d = 0; d < depth; d += 8) {
            __m256 query[COUNT];
            unrolled<COUNT>([&](auto q) __attribute__((always_inline)) {
                query[q] = _mm256_loadu_ps(queries + q * apart + d);
            });
            unrolled<KEYS>([&](auto k) __attribute__((always_inline)) {
                const __m256 x = _mm256_loadu_ps(keys[key + k] + d);
                unrolled<COUNT>([&](auto q) __attribute__((always_inline)) {
                    sums[q][k] = _mm256_fmadd_ps(query[q], x, sums[q][k]);
                });
            });
        }
        unrolled<COUNT>([&](auto q) __attribute__((always_inline)) {
            _mm_storeu_ps(scores + q * stride + key, sums_of(sums[q][0], sums[q][1], sums[q][2], sums[q][3]));
        });
    }
}

// The largest of the first `count` scores; those behind them, up to `padded`, become less than any that counts.
inline float pad_scores(float* scores, int64_t count, int64_t padded) {
    std::fill(scores + count, scores + padded, scores[0]);
    __m256 most = _mm256_loadu_ps(scores);
    for (int64_t k = 8; k < padded; k += 8) most = _mm256_max_ps(_mm256_loadu_ps(scores + k), most);
    std::fill(scores + count, scores + padded, -1e30f);
    return largest_of(most);
}

// Scores of one query to shares that add up to one; those from `count` on to zero.
inline void soften(float* scores, int64_t count, int64_t padded, float scale) {
    const __m256 top = _mm256_set1_ps(pad_scores(scores, count, padded)), factor = _mm256_set1_ps(scale);
    __m256 sum = _mm256_setzero_ps();
    for (int64_t k = 0; k < padded; k += 8) {
        const __m256 share = exponential(_mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(scores + k), top), factor));
        _mm256_storeu_ps(scores + k, share);
        sum = _mm256_add_ps(sum, share);
    }
    const __m256 inverse = _mm256_set1_ps(1.0f / sum_of(sum));
    for (int64_t k = 0; k < padded; k += 8)
        _mm256_storeu_ps(scores + k, _mm256_mul_ps(_mm256_loadu_ps(scores + k), inverse));
}

// Sums of values, each weighted by its share, for `COUNT` queries and 32 numbers of the depth at once, or 8.
template <int COUNT, int WIDE>
void mix(const float* shares, int64_t stride, const std::vector<const float*>& keys, int64_t count, int64_t to_value,
         float* out, int64_t apart) {
    __m256 sums[COUNT][WIDE];
    unrolled<COUNT * WIDE>([&](auto i) __attribute__((always_inline)) {
        sums[i / WIDE][i % WIDE] = _mm256_setzero_ps();
    });
    for (int64_t k = 0; k < count; k++) {
        const float* value = keys[k] + to_value;
        __m256 share[COUNT];
        unrolled<COUNT>([&](auto q) __attribute__((always_inline)) {
            share[q] = _mm256_broadcast_ss(shares + q * stride + k);
        });
        unrolled<WIDE>([&](auto w) __attribute__((always_inline)) {
            const __m256 x = _mm256_loadu_ps(value + 8 * w);
            unrolled<COUNT>([&](auto q) __attribute__((always_inline)) {
                sums[q][w] = _mm256_fmadd_ps(share[q], x, sums[q][w]);
            });
        });
    }
    unrolled<COUNT * WIDE>([&](auto i) __attribute__((always_inline)) {
        _mm256_storeu_ps(out + i / WIDE * apart + 8 * (i % WIDE), sums[i / WIDE][i % WIDE]);
    });
}

template <int COUNT>
void attend_some(const float* queries, int64_t apart, const std::vector<const float*>& keys, int64_t count,
                 int64_t depth, int64_t to_value, float* scores, float* out, int64_t out_apart) {
    const int64_t padded = (count + 7) / 8 * 8;
    score<COUNT>(queries, apart, keys, depth, scores, padded);
    for (int q = 0; q < COUNT; q++)
        soften(scores + q * padded, count, padded, 1.0f / __builtin_sqrtf(float(depth)));
    int64_t d = 0;
    for (; d + 32 <= depth; d += 32)
        mix<COUNT, 4>(scores, padded, keys, count, to_value + d, out + d, out_apart);
    for (; d < depth; d += 8) mix<COUNT, 1>(scores, padded, keys, count, to_value + d, out + d, out_apart);
}

// Rows of keys and values [rows, 2 D], keys first, `apart` from each other.
struct KeysValues {
    const float* rows;
    int64_t count, apart;
};

// Some of `heads`.
struct Heads {
    int64_t from, to;
};

// What `queries` [count, D], `apart` from each other, attend to in `past` and `present`; zero where there is no key.
inline void attend(const float* queries, int64_t count, int64_t apart, KeysValues past, KeysValues present,
                   int64_t heads, Heads some, int64_t size, float* out) {
    const int64_t seen = past.count + present.count, depth = size / heads;
    if (!seen) {
        std::fill(out, out + count * size, 0.0f);
        return;
    }
    const int64_t padded = (seen + 7) / 8 * 8;
    std::vector<float> scores(QUERIES * padded);
    std::vector<const float*> keys(padded);
    for (int64_t head = some.from; head < some.to; head++) {
        for (int64_t k = 0; k < padded; k++) {
            // The last key again fills the last block; nobody reads its scores.
            const int64_t row = std::min(k, seen - 1);
            keys[k] = (row < past.count ? past.rows + row * past.apart
                                        : present.rows + (row - past.count) * present.apart) + head * depth;
        }
        for (int64_t q = 0; q < count; q += QUERIES) {
            const float* few = queries + q * apart + head * depth;
            float* place = out + q * size + head * depth;
            switch (std::min<int64_t>(QUERIES, count - q)) {
                case 1: attend_some<1>(few, apart, keys, seen, depth, size, scores.data(), place, size); break;
                case 2: attend_some<2>(few, apart, keys, seen, depth, size, scores.data(), place, size); break;
                default: attend_some<3>(few, apart, keys, seen, depth, size, scores.data(), place, size);
            }
        }
    }
}

// A filter over time for each of `size` channels, `taps` [kernel, size]: frame t of `out`, `out_apart` from the next,
// gains what the kernel sees in frames t - before to t - before + kernel - 1, where those from 0 to `there` are.
inline void remember(const float* frames, int64_t apart, int64_t there, int64_t before, const float* taps,
                     int64_t kernel, int64_t size, float* out, int64_t out_apart, int64_t count) {
    for (int64_t t = 0; t < count; t++) {
        const int64_t first = std::max<int64_t>(0, before - t), last = std::min(kernel, there + before - t);
        for (int64_t d = 0; d < size; d += 8) {
            __m256 sum = _mm256_loadu_ps(out + t * out_apart + d);
            for (int64_t tap = first; tap < last; tap++)
                sum = _mm256_fmadd_ps(_mm256_loadu_ps(frames + (t - before + tap) * apart + d),
                                      _mm256_loadu_ps(taps + tap * size + d), sum);
            _mm256_storeu_ps(out + t * out_apart + d, sum);
        }
    }
}
