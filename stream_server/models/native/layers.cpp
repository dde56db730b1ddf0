// Whole layers of the streaming Paraformer for a batch of rows, on x86 from AVX2 on. What they compute is said in
// encoder.py and decoder.py; matrices are those of products.h, everything else is fp32. One thread; no state but how
// matrices are multiplied.

#include <cstring>

#include "attention.h"
#include "lstm.h"
#include "products.h"
#include "whole.h"

struct EncoderLayer {
    Norm norm1;
    Linear queries_keys_values;
    const float* taps;  // [kernel, size]
    Linear out;
    Norm norm2;
    Linear w_1, w_2;
    int64_t size, heads, kernel;
};

struct DecoderLayer {
    Norm norm1;
    Linear w_1;
    Norm hidden_norm;
    Linear w_2;
    Norm norm2;
    const float* taps;
    Norm norm3;
    Linear queries, keys_values, out;
    int64_t size, heads, kernel;
};

// A ring's layer: rows of keys and values [slots, capacity, 2 D]; a stream's are the first `counts` of its slot.
struct Past {
    const float* frames;
    int64_t slot_apart;
    const int64_t* slots;
    const int64_t* counts;
};

static KeysValues past_of(const Past& past, int64_t row, int64_t size) {
    return {past.frames + past.slots[row] * past.slot_apart, past.counts[row], 2 * size};
}

#pragma GCC visibility push(default)
extern "C" {

// To be raised with every change of a function's arguments: library.py has it too.
int64_t stream_version() { return 5; }

// Of a structure, for those who declare it in another language.
int64_t stream_size_of(const char* name) {
    const std::pair<const char*, size_t> sizes[] = {{"Norm", sizeof(Norm)},
                                                    {"Linear", sizeof(Linear)},
                                                    {"EncoderLayer", sizeof(EncoderLayer)},
                                                    {"DecoderLayer", sizeof(DecoderLayer)},
                                                    {"Past", sizeof(Past)},
                                                    {"Lstm", sizeof(Lstm)}};
    for (const auto& [known, size] : sizes)
        if (!std::strcmp(known, name)) return size;
    return 0;
}

// How products are computed, by its name in products.h; null where they cannot be here.
const char* stream_way() { return way_in_use ? way_in_use->name : nullptr; }

// For who compares them, while nothing is computed: whether it runs here, and is used from now on.
bool stream_use_way(const char* name) {
    for (const Way& way : WAYS)
        if (!std::strcmp(way.name, name) && way.runs_here()) {
            way_in_use = &way;
            return true;
        }
    return false;
}

// `out` [rows, outputs] of `rows` [rows, inputs], normalised first where there is a norm.
void stream_linear(const Norm* norm, const Linear* linear, const float* rows, int64_t count, float* out) {
    Quantised x;
    if (norm)
        normalise_and_quantise(rows, count, *norm, x);
    else
        quantise(rows, count, linear->inputs, x);
    multiply(x, *linear, Then::put, out);
}

// An encoder's layer in parts, each for rows or heads that are nobody else's. First, of `count` rows `x` [count, width]:
// queries [count, size], keys and values [count, 2 size], and `y` [count, size], what is to be added to.
void stream_encoder_project(const EncoderLayer* layer, const float* x, int64_t count, float* queries,
                            float* keys_values, float* y) {
    static thread_local Quantised numbers;
    const int64_t size = layer->size;
    normalise_and_quantise(x, count, layer->norm1, numbers);
    multiply(numbers, layer->queries_keys_values, 0, size, Then::put, queries, size);
    multiply(numbers, layer->queries_keys_values, size, 2 * size, Then::put, keys_values, 2 * size);
    // The first layer, whose input is wider than its output, has no residual around its attention.
    if (layer->norm1.size != size)
        std::memset(y, 0, count * size * sizeof(float));
    else if (y != x)
        std::memcpy(y, x, count * size * sizeof(float));
}

// What some heads of a window or segment attend to; `frames` of which `there` are. By what the row itself has: its result
// is its own beside any neighbours.
static void attend_row(const EncoderLayer& layer, const float* queries, KeysValues before, const float* keys_values,
                       int64_t there, int64_t frames, Heads some, float* attended) {
    const KeysValues present = {keys_values, there, 2 * layer.size};
    if (!before.count && there >= WHOLE_FROM)
        attend_whole(queries, frames, layer.size, present, layer.heads, some, layer.size, attended);
    else
        attend(queries, frames, layer.size, before, present, layer.heads, some, layer.size, attended);
}

// Then, of a segment that has no past: what one head attends to, into its columns of `attended` [frames, size].
void stream_encoder_attend(const EncoderLayer* layer, int64_t head, const float* queries, const float* keys_values,
                           int64_t there, int64_t frames, float* attended) {
    attend_row(*layer, queries, {nullptr, 0, 0}, keys_values, there, frames, {head, head + 1}, attended);
}

// And its memory block, added to `y` [frames, size].
void stream_encoder_remember(const EncoderLayer* layer, const float* keys_values, int64_t there, int64_t frames,
                             float* y) {
    const int64_t size = layer->size;
    const float* values = keys_values + size;
    for (int64_t i = 0; i < there; i++)
        for (int64_t d = 0; d < size; d++) y[i * size + d] += values[i * 2 * size + d];
    remember(values, 2 * size, there, layer->kernel / 2, layer->taps, layer->kernel, size, y, size, frames);
}

// Last, of `count` rows `attended`: what they add to `y`, and the feed-forward.
void stream_encoder_feed(const EncoderLayer* layer, const float* attended, int64_t count, float* y) {
    static thread_local Quantised numbers;
    static thread_local std::vector<float> hidden;
    hidden.resize(count * layer->w_1.outputs);
    quantise(attended, count, layer->size, numbers);
    multiply(numbers, layer->out, Then::add, y);
    normalise_and_quantise(y, count, layer->norm2, numbers);
    multiply(numbers, layer->w_1, Then::put_relu, hidden.data());
    quantise(hidden.data(), count, layer->w_1.outputs, numbers);
    multiply(numbers, layer->w_2, Then::add, y);
}

// The window's rows `x` [batch * frames, width] to `y` [batch * frames, size], which may be `x` where they are of one
// size, and keys and values [batch, frames, 2 D].
// `inside` [batch]: frames of a row that are there, from its first on.
void stream_encoder_layer(const EncoderLayer* layer, const float* x, const Past* past, const int64_t* inside,
                          int64_t batch, int64_t frames, float* y, float* keys_values) {
    static thread_local std::vector<float> queries, attended;
    const int64_t size = layer->size, count = batch * frames;
    queries.resize(count * size);
    attended.resize(count * size);
    stream_encoder_project(layer, x, count, queries.data(), keys_values, y);
    for (int64_t row = 0; row < batch; row++) {
        const int64_t first = row * frames * size;
        attend_row(*layer, queries.data() + first, past_of(*past, row, size), keys_values + 2 * first, inside[row],
                   frames, {0, layer->heads}, attended.data() + first);
        stream_encoder_remember(layer, keys_values + 2 * first, inside[row], frames, y + first);
    }
    stream_encoder_feed(layer, attended.data(), count, y);
}

// Steps of an LSTM: `x` [batch, steps, inputs] to `out` [batch, steps, size]; `hidden` and `cell` [batch, size] are those
// before the first step, and become those of the last.
void stream_lstm(const Lstm* lstm, const float* x, int64_t batch, int64_t steps, float* hidden, float* cell,
                 float* out) {
    static thread_local Quantised numbers;
    static thread_local std::vector<float> gates;
    const int64_t size = lstm->size;
    gates.resize(batch * steps * 4 * size);
    quantise(x, batch * steps, lstm->inputs.inputs, numbers);
    multiply(numbers, lstm->inputs, Then::put, gates.data());
    for (int64_t step = 0; step < steps; step++) {
        quantise(hidden, batch, size, numbers);
        multiply(numbers, lstm->hidden, 0, 4 * size, Then::add, gates.data() + step * 4 * size, steps * 4 * size);
        for (int64_t row = 0; row < batch; row++) {
            pass_gates(gates.data() + (row * steps + step) * 4 * size, size, cell + row * size, hidden + row * size);
            std::memcpy(out + (row * steps + step) * size, hidden + row * size, size * sizeof(float));
        }
    }
}

// y [count, outputs of w_2]: the decoder's feed-forward, without a residual.
void stream_decoder_feed_forward(const Norm* norm, const Linear* w_1, const Norm* hidden_norm, const Linear* w_2,
                                 const float* x, int64_t count, float* y) {
    static thread_local Quantised numbers;
    static thread_local std::vector<float> hidden;
    hidden.resize(count * w_1->outputs);
    normalise_and_quantise(x, count, *norm, numbers);
    multiply(numbers, *w_1, Then::put_relu, hidden.data());
    normalise_and_quantise(hidden.data(), count, *hidden_norm, numbers);
    multiply(numbers, *w_2, Then::put, y);
}

// All streams' tokens `x` [tokens, size], changed in place; those of row b are `starts`[b] to `starts`[b + 1].
//
// memory       [batch, frames, size]      the encoder's output, there where `inside` [batch]
// history      [slots, kernel - 1, size]  inputs of the memory block, of the row's slot
// recent       [batch, kernel - 1, size]  what is to be kept of them
// keys_values  [batch, frames, 2 size]    of the window
void stream_decoder_layer(const DecoderLayer* layer, float* x, const int64_t* starts, const float* memory,
                          const int64_t* inside, const Past* past, const float* history, int64_t batch, int64_t frames,
                          float* recent, float* keys_values) {
    static thread_local Quantised numbers;
    static thread_local std::vector<float> said, latest, queries, attended;
    const int64_t size = layer->size, kept = layer->kernel - 1, tokens = starts[batch];
    said.resize(tokens * size);
    queries.resize(tokens * size);
    attended.resize(tokens * size);
    stream_decoder_feed_forward(&layer->norm1, &layer->w_1, &layer->hidden_norm, &layer->w_2, x, tokens, said.data());
    for (int64_t t = 0; t < tokens; t++) normalise_row(said.data() + t * size, layer->norm2, said.data() + t * size);
    for (int64_t row = 0; row < batch; row++) {
        const int64_t first = starts[row], count = starts[row + 1] - first;
        latest.resize((kept + count) * size);
        std::memcpy(latest.data(), history + past->slots[row] * kept * size, kept * size * sizeof(float));
        std::memcpy(latest.data() + kept * size, said.data() + first * size, count * size * sizeof(float));
        float* place = x + first * size;
        for (int64_t i = 0; i < count * size; i++) place[i] += said[first * size + i];
        remember(latest.data(), size, kept + count, 0, layer->taps, layer->kernel, size, place, size, count);
        std::memcpy(recent + row * kept * size, latest.data() + count * size, kept * size * sizeof(float));
    }
    quantise(memory, batch * frames, size, numbers);
    multiply(numbers, layer->keys_values, Then::put, keys_values);
    normalise_and_quantise(x, tokens, layer->norm3, numbers);
    multiply(numbers, layer->queries, Then::put, queries.data());
    for (int64_t row = 0; row < batch; row++) {
        const int64_t first = starts[row];
        attend(queries.data() + first * size, starts[row + 1] - first, size, past_of(*past, row, size),
               {keys_values + row * frames * 2 * size, inside[row], 2 * size}, layer->heads, {0, layer->heads}, size,
               attended.data() + first * size);
    }
    quantise(attended.data(), tokens, size, numbers);
    multiply(numbers, layer->out, Then::add, x);
}
}
#pragma GCC visibility pop
