// Numbers of rows by a matrix: weights and inputs in 8 bits, summed exactly.
//
// The processor multiplies bytes in pairs and adds them up in 16 bits, and cuts what does not fit. Weights are such
// that four products always fit (quantised.py), so that two such pairs are added before they are widened to 32 bits.
// Integers are exact whatever the order of sums: a row's result is its own to the bit beside any neighbours.
#pragma once

#include <immintrin.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

constexpr int64_t COLUMNS = 16;  // of a panel: two registers of eight sums
constexpr int64_t MOST_ROWS = 5;  // at once: ten sums in registers, the others hold products and an input
constexpr int64_t TURN = 8;  // inputs in a turn: two by four
constexpr int64_t LINE = 64;  // bytes that are fetched together
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

// Rows in integers, each with its scale.
struct Quantised {
    std::vector<uint8_t> numbers;
    std::vector<Scale> scales;
    int64_t rows = 0, width = 0;

    void resize(int64_t some_rows, int64_t some_width) {
        rows = some_rows;
        width = some_width;
        if (numbers.size() < size_t(rows * width)) numbers.resize(rows * width);
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
inline void accumulate_narrow(__m256i& sum, __m256i products) { asm("vpaddw %1, %0, %0" : "+x"(sum) : "x"(products)); }

inline __m256i four_of(const uint8_t* numbers) {
    int32_t four;
    __builtin_memcpy(&four, numbers, sizeof four);
    return _mm256_set1_epi32(four);
}

// Sums of `ROWS` rows by a panel, put where `then` says, for the panel's first `columns` outputs. Meanwhile weights from
// `ahead` on are fetched, `pace` bytes a turn.
template <int ROWS>
void multiply_block(const uint8_t* rows, const Scale* scales, int64_t inputs, const Panel& panel, const int8_t* ahead,
                    int64_t pace, int64_t columns, Then then, float* out, int64_t out_stride) {
    __m256i low_sums[ROWS], high_sums[ROWS];
    const __m256i widen = _mm256_set1_epi16(1);
    unrolled<ROWS>([&](auto r) __attribute__((always_inline)) { low_sums[r] = high_sums[r] = _mm256_setzero_si256(); });
    const __m256i* weights = reinterpret_cast<const __m256i*>(panel.weights);
    for (int64_t k = 0; k < inputs; k += TURN, weights += 4, ahead += pace) {
        _mm_prefetch(reinterpret_cast<const char*>(ahead), _MM_HINT_T0);
        _mm_prefetch(reinterpret_cast<const char*>(ahead + LINE), _MM_HINT_T0);
        unrolled<ROWS>([&](auto r) __attribute__((always_inline)) {
            const __m256i x = four_of(rows + r * inputs + k), y = four_of(rows + r * inputs + k + TURN / 2);
            __m256i low = _mm256_maddubs_epi16(x, weights[0]), high = _mm256_maddubs_epi16(x, weights[1]);
            accumulate_narrow(low, _mm256_maddubs_epi16(y, weights[2]));
            accumulate_narrow(high, _mm256_maddubs_epi16(y, weights[3]));
            accumulate(low_sums[r], _mm256_madd_epi16(low, widen));
            accumulate(high_sums[r], _mm256_madd_epi16(high, widen));
        });
    }
    const __m256 low_steps = _mm256_loadu_ps(panel.steps), high_steps = _mm256_loadu_ps(panel.steps + 8);
    const __m256 low_ones = _mm256_loadu_ps(panel.ones), high_ones = _mm256_loadu_ps(panel.ones + 8);
    const __m256 low_bias = panel.bias ? _mm256_loadu_ps(panel.bias) : _mm256_setzero_ps();
    const __m256 high_bias = panel.bias ? _mm256_loadu_ps(panel.bias + 8) : _mm256_setzero_ps();
    unrolled<ROWS>([&](auto r) __attribute__((always_inline)) {
        const __m256 step = _mm256_set1_ps(scales[r].step), least = _mm256_set1_ps(scales[r].least);
        __m256 low = _mm256_fmadd_ps(least, low_ones, low_bias), high = _mm256_fmadd_ps(least, high_ones, high_bias);
        low = _mm256_fmadd_ps(_mm256_cvtepi32_ps(low_sums[r]), _mm256_mul_ps(step, low_steps), low);
        high = _mm256_fmadd_ps(_mm256_cvtepi32_ps(high_sums[r]), _mm256_mul_ps(step, high_steps), high);
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

// Outputs `first` to `first + count` of `linear` for all of `x`; `first` is a multiple of 16. Steps, ones and bias are
// padded to a multiple of 16. `out` is where the first of these outputs of the first row goes.
inline void multiply(const Quantised& x, const Linear& linear, int64_t first, int64_t count, Then then, float* out,
                     int64_t out_stride) {
    using Block = decltype(&multiply_block<1>);
    static const Block blocks[] = {multiply_block<1>, multiply_block<2>, multiply_block<3>, multiply_block<4>,
                                   multiply_block<5>};
    const int64_t parts = (x.rows + MOST_ROWS - 1) / MOST_ROWS, bytes = COLUMNS * linear.inputs;
    if (!parts) return;
    // All parts take the same panel, and each fetches its share of the next: fetched by the first alone, weights would
    // come slower than it multiplies.
    const int64_t lines = bytes / LINE, pace = (TURN * COLUMNS + parts - 1) / parts;
    for (int64_t c = 0; c < count; c += COLUMNS) {
        const Panel panel = panel_of(linear, first + c);
        const int8_t* next = panel.weights + bytes;
        for (int64_t part = 0; part < parts; part++) {
            // In parts as equal as can be: of six rows two blocks of three take less than one of five and one of one.
            const int64_t from = part * x.rows / parts, rows = (part + 1) * x.rows / parts - from;
            blocks[rows - 1](x.numbers.data() + from * x.width, x.scales.data() + from, linear.inputs, panel,
                             next + part * lines / parts * LINE, pace, std::min(COLUMNS, count - c), then,
                             out + from * out_stride + c, out_stride);
        }
    }
}

inline void multiply(const Quantised& x, const Linear& linear, Then then, float* out) {
    multiply(x, linear, 0, linear.outputs, then, out, linear.outputs);
}
