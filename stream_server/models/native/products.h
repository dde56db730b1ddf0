// Numbers of rows by a matrix: weights in 8 bits, inputs in 14, summed exactly in 32.
//
// A product of 14 and 8 bits added up 2,048 times stays below 2^31, so that integers are exact whatever the order of
// sums, and a row's result is its own to the bit beside any neighbours.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

constexpr int64_t COLUMNS = 16;  // of a panel: two registers of eight sums
constexpr int64_t MOST_ROWS = 6;  // at once: twelve sums in registers, the others hold weights and an input
constexpr int64_t AHEAD = 4096;  // bytes of weights fetched before they are needed: the processor itself stops at pages
constexpr float INPUT_MOST = 8191.0f;
constexpr float LEAST = 1e-30f;  // in place of zero where it is divided by; its inverse is still a number

// Weights [outputs, inputs] in panels of 16 outputs, [outputs / 16, inputs / 2, 16, 2]; one output's step of weights.
struct Linear {
    const int8_t* panels;
    const float* steps;
    const float* bias;  // or null
    int64_t inputs, outputs;
};

struct Norm {
    const float* weight;
    const float* bias;
    int64_t size;
};

// Rows in integers, each with the size of its step.
struct Quantised {
    std::vector<int16_t> numbers;
    std::vector<float> steps;
    int64_t rows = 0, width = 0;

    void resize(int64_t some_rows, int64_t some_width) {
        rows = some_rows;
        width = some_width;
        if (numbers.size() < size_t(rows * width)) numbers.resize(rows * width);
        if (steps.size() < size_t(rows)) steps.resize(rows);
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
inline void quantise_row(const float* row, int64_t width, int16_t* numbers, float* step) {
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 most = _mm256_setzero_ps(), nothing = _mm256_setzero_ps();
    for (int64_t i = 0; i < width; i += 8) {
        const __m256 x = _mm256_loadu_ps(row + i);
        most = _mm256_max_ps(most, _mm256_andnot_ps(sign, x));
        nothing = _mm256_fmadd_ps(x, _mm256_setzero_ps(), nothing);
    }
    const float size = std::max(largest_of(most), LEAST);
    const __m256 inverse = _mm256_set1_ps(INPUT_MOST / size);
    for (int64_t i = 0; i < width; i += 8) {
        const __m256i x = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(row + i), inverse));
        const __m128i narrow = _mm_packs_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(numbers + i), narrow);
    }
    *step = size / INPUT_MOST + sum_of(nothing);
}

inline void quantise(const float* rows, int64_t count, int64_t width, Quantised& into) {
    into.resize(count, width);
    for (int64_t r = 0; r < count; r++)
        quantise_row(rows + r * width, width, into.numbers.data() + r * width, &into.steps[r]);
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
        quantise_row(row.data(), norm.size, into.numbers.data() + r * norm.size, &into.steps[r]);
    }
}

// `act` for 0 to COUNT - 1, as constants: arrays that these index stay in registers.
template <int... INDEX, typename Act>
inline __attribute__((always_inline)) void for_each(std::integer_sequence<int, INDEX...>, Act act) {
    (act(std::integral_constant<int, INDEX>()), ...);
}

template <int COUNT, typename Act>
inline __attribute__((always_inline)) void unrolled(Act act) {
    for_each(std::make_integer_sequence<int, COUNT>(), act);
}

// Left to itself, GCC computes all products of a turn first, for which there are not enough registers.
inline void accumulate(__m256i& sum, __m256i products) { asm("vpaddd %1, %0, %0" : "+x"(sum) : "x"(products)); }

// Sums of `ROWS` rows by a panel, put where `then` says, for the panel's first `columns` outputs.
template <int ROWS>
void multiply_block(const int16_t* rows, const float* row_steps, int64_t inputs, const int8_t* panel,
                    const float* steps, const float* bias, int64_t columns, Then then, float* out,
                    int64_t out_stride) {
    __m256i low_sums[ROWS], high_sums[ROWS];
    unrolled<ROWS>([&](auto r) __attribute__((always_inline)) { low_sums[r] = high_sums[r] = _mm256_setzero_si256(); });
    for (int64_t k = 0; k < inputs; k += 2, panel += 2 * COLUMNS) {
        const __m256i low = _mm256_cvtepi8_epi16(_mm_load_si128(reinterpret_cast<const __m128i*>(panel)));
        const __m256i high = _mm256_cvtepi8_epi16(_mm_load_si128(reinterpret_cast<const __m128i*>(panel + COLUMNS)));
        _mm_prefetch(reinterpret_cast<const char*>(panel + AHEAD), _MM_HINT_T1);
        unrolled<ROWS>([&](auto r) __attribute__((always_inline)) {
            int32_t pair;
            __builtin_memcpy(&pair, rows + r * inputs + k, sizeof pair);
            const __m256i x = _mm256_set1_epi32(pair);
            accumulate(low_sums[r], _mm256_madd_epi16(x, low));
            accumulate(high_sums[r], _mm256_madd_epi16(x, high));
        });
    }
    const __m256 low_steps = _mm256_loadu_ps(steps), high_steps = _mm256_loadu_ps(steps + 8);
    const __m256 low_bias = bias ? _mm256_loadu_ps(bias) : _mm256_setzero_ps();
    const __m256 high_bias = bias ? _mm256_loadu_ps(bias + 8) : _mm256_setzero_ps();
    unrolled<ROWS>([&](auto r) __attribute__((always_inline)) {
        const __m256 step = _mm256_set1_ps(row_steps[r]);
        __m256 low = _mm256_fmadd_ps(_mm256_cvtepi32_ps(low_sums[r]), _mm256_mul_ps(step, low_steps), low_bias);
        __m256 high = _mm256_fmadd_ps(_mm256_cvtepi32_ps(high_sums[r]), _mm256_mul_ps(step, high_steps), high_bias);
        if (then == Then::put_relu) {
            // In this order the second is given where one is no number.
            low = _mm256_max_ps(_mm256_setzero_ps(), low);
            high = _mm256_max_ps(_mm256_setzero_ps(), high);
        }
        float* place = out + r * out_stride;
        if (columns == COLUMNS) {
            if (then == Then::add) {
                low = _mm256_add_ps(_mm256_loadu_ps(place), low);
                high = _mm256_add_ps(_mm256_loadu_ps(place + 8), high);
            }
            _mm256_storeu_ps(place, low);
            _mm256_storeu_ps(place + 8, high);
            return;
        }
        float some[COLUMNS];
        _mm256_storeu_ps(some, low);
        _mm256_storeu_ps(some + 8, high);
        for (int64_t c = 0; c < columns; c++) place[c] = then == Then::add ? place[c] + some[c] : some[c];
    });
}

// Outputs `first` to `first + count` of `linear` for all of `x`; `first` is a multiple of 16. Steps and bias are padded
// to a multiple of 16. `out` is where the first of these outputs of the first row goes.
inline void multiply(const Quantised& x, const Linear& linear, int64_t first, int64_t count, Then then, float* out,
                     int64_t out_stride) {
    using Block = decltype(&multiply_block<1>);
    static const Block blocks[] = {multiply_block<1>, multiply_block<2>, multiply_block<3>,
                                   multiply_block<4>, multiply_block<5>, multiply_block<6>};
    const int64_t parts = (x.rows + MOST_ROWS - 1) / MOST_ROWS;
    for (int64_t c = 0; c < count; c += COLUMNS) {
        const int8_t* panel = linear.panels + (first + c) * linear.inputs;
        const float* bias = linear.bias ? linear.bias + first + c : nullptr;
        for (int64_t part = 0; part < parts; part++) {
            // In parts as equal as can be: three blocks of five rows take less than two of six and one of three.
            const int64_t from = part * x.rows / parts, rows = (part + 1) * x.rows / parts - from;
            blocks[rows - 1](x.numbers.data() + from * x.width, x.steps.data() + from, linear.inputs, panel,
                             linear.steps + first + c, bias, std::min(COLUMNS, count - c), then,
                             out + from * out_stride + c, out_stride);
        }
    }
}

inline void multiply(const Quantised& x, const Linear& linear, Then then, float* out) {
    multiply(x, linear, 0, linear.outputs, then, out, linear.outputs);
}
