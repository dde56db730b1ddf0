// An LSTM with both of its matrices in integers.
#pragma once

#include <cstdint>
#include <vector>

#include "attention.h"
#include "products.h"

struct Lstm {
    Linear inputs;  // [4 size, inputs], with both biases: input, forget, cell, output gate
    Linear hidden;  // [4 size, size], without
    int64_t size;
};

// Of eight numbers; of what is none the result is none.
inline __m256 sigmoid(__m256 x) {
    const __m256 sign = _mm256_set1_ps(-0.0f), one = _mm256_set1_ps(1.0f);
    const __m256 small = exponential(_mm256_or_ps(x, sign));
    return _mm256_div_ps(_mm256_blendv_ps(one, small, x), _mm256_add_ps(one, small));
}

inline __m256 tangent(__m256 x) {
    const __m256 sign = _mm256_set1_ps(-0.0f), one = _mm256_set1_ps(1.0f);
    const __m256 small = exponential(_mm256_or_ps(_mm256_add_ps(x, x), sign));
    const __m256 size = _mm256_div_ps(_mm256_sub_ps(one, small), _mm256_add_ps(one, small));
    return _mm256_or_ps(size, _mm256_and_ps(x, sign));
}

// A step's gates [4 size] to its `out` [size]; `cell` [size] is changed.
inline void pass_gates(const float* gates, int64_t size, float* cell, float* out) {
    for (int64_t i = 0; i < size; i += 8) {
        const __m256 let_in = sigmoid(_mm256_loadu_ps(gates + i)), keep = sigmoid(_mm256_loadu_ps(gates + size + i));
        const __m256 news = tangent(_mm256_loadu_ps(gates + 2 * size + i));
        const __m256 state = _mm256_fmadd_ps(keep, _mm256_loadu_ps(cell + i), _mm256_mul_ps(let_in, news));
        _mm256_storeu_ps(cell + i, state);
        const __m256 let_out = sigmoid(_mm256_loadu_ps(gates + 3 * size + i));
        _mm256_storeu_ps(out + i, _mm256_mul_ps(let_out, tangent(state)));
    }
}
