// Rows of numbers in 8 bits, and matrices of weights in 8 bits that they are multiplied by.
#pragma once

// GCC warns of what its own header of AVX512 leaves undefined on purpose.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>
#pragma GCC diagnostic pop

#include <algorithm>
#include <cstdint>
#include <vector>

constexpr int64_t COLUMNS = 16;  // of a panel
constexpr int64_t LINE = 64;     // bytes that are fetched together
constexpr float INPUT_MOST = 255.0f;
constexpr float LEAST = 1e-30f;  // in place of zero where it is divided by; its inverse is still a number

// Weights [outputs, inputs] in panels of 16 outputs, [outputs / 16, inputs / 4, 16, 4]; for each output its step of
// weights, and what inputs of one all over would give.
struct Linear {
    const int8_t* panels;
    const float* steps;
    const float* ones;
    const float* bias;  // or null
    int64_t inputs, outputs;
};

// Sixteen outputs of it.
struct Panel {
    const int8_t* weights;
    const float* steps;
    const float* ones;
    const float* bias;
};

inline Panel panel_of(const Linear& linear, int64_t column) {
    return {linear.panels + column * linear.inputs, linear.steps + column, linear.ones + column,
            linear.bias ? linear.bias + column : nullptr};
}

struct Norm {
    const float* weight;
    const float* bias;
    int64_t size;
};

// A number of a row in integers is so many steps above the row's least.
struct Scale {
    float step, least;
};

constexpr int64_t SPARE_ROWS = 16;  // that may be read past the last, whatever they hold

// Rows in integers, each with its scale.
struct Quantised {
    std::vector<uint8_t> numbers;
    std::vector<Scale> scales;
    int64_t rows = 0, width = 0;

    void resize(int64_t some_rows, int64_t some_width) {
        rows = some_rows;
        width = some_width;
        const size_t needed = (rows + SPARE_ROWS) * width + LINE;
        if (numbers.size() < needed) numbers.resize(needed);
        if (scales.size() < size_t(rows)) scales.resize(rows);
    }
};

enum class Then { put, put_relu, add };

inline float sum_of(__m256 x) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

inline float largest_of(__m256 x) {
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}

// A row that holds what is no number gets a step that is none, and so does what is computed of it.
inline Scale quantise_row(const float* row, int64_t width, uint8_t* numbers) {
    __m256 most = _mm256_loadu_ps(row), least = most, nothing = _mm256_setzero_ps();
    for (int64_t i = 0; i < width; i += 8) {
        const __m256 x = _mm256_loadu_ps(row + i);
        most = _mm256_max_ps(most, x);
        least = _mm256_min_ps(least, x);
        nothing = _mm256_fmadd_ps(x, _mm256_setzero_ps(), nothing);
    }
    const float bottom = -largest_of(_mm256_sub_ps(_mm256_setzero_ps(), least));
    const float range = std::max(largest_of(most) - bottom, LEAST);
    const __m256 inverse = _mm256_set1_ps(INPUT_MOST / range), zero = _mm256_set1_ps(bottom);
    for (int64_t i = 0; i < width; i += 8) {
        const __m256 above = _mm256_sub_ps(_mm256_loadu_ps(row + i), zero);
        const __m256i x = _mm256_cvtps_epi32(_mm256_mul_ps(above, inverse));
        const __m128i narrow = _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
        _mm_storel_epi64(reinterpret_cast<__m128i*>(numbers + i), _mm_packus_epi16(narrow, narrow));
    }
    return {range / INPUT_MOST + sum_of(nothing), bottom};
}

inline void quantise(const float* rows, int64_t count, int64_t width, Quantised& into) {
    into.resize(count, width);
    for (int64_t r = 0; r < count; r++)
        into.scales[r] = quantise_row(rows + r * width, width, into.numbers.data() + r * width);
}

inline void normalise_row(const float* row, const Norm& norm, float* into) {
    const int64_t size = norm.size;
    __m256 sum = _mm256_setzero_ps(), squares = _mm256_setzero_ps();
    for (int64_t i = 0; i < size; i += 8) sum = _mm256_add_ps(sum, _mm256_loadu_ps(row + i));
    const __m256 mean = _mm256_set1_ps(sum_of(sum) / size);
    for (int64_t i = 0; i < size; i += 8) {
        const __m256 x = _mm256_sub_ps(_mm256_loadu_ps(row + i), mean);
        squares = _mm256_fmadd_ps(x, x, squares);
    }
    const __m256 scale = _mm256_set1_ps(1.0f / __builtin_sqrtf(sum_of(squares) / size + 1e-12f));
    for (int64_t i = 0; i < size; i += 8) {
        const __m256 x = _mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(row + i), mean), scale);
        const __m256 y = _mm256_fmadd_ps(x, _mm256_loadu_ps(norm.weight + i), _mm256_loadu_ps(norm.bias + i));
        _mm256_storeu_ps(into + i, y);
    }
}

inline void normalise_and_quantise(const float* rows, int64_t count, const Norm& norm, Quantised& into) {
    into.resize(count, norm.size);
    std::vector<float> row(norm.size);
    for (int64_t r = 0; r < count; r++) {
        normalise_row(rows + r * norm.size, norm, row.data());
        into.scales[r] = quantise_row(row.data(), norm.size, into.numbers.data() + r * norm.size);
    }
}
