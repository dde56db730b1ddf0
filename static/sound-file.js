// The sound of a file, as blocks of 16-bit samples of one channel: WAV piece by piece, whatever its length; everything
// else decoded whole by the browser, and so bounded.

import {Trouble} from "./trouble.js";

const BLOCK_S = 1;
const RATE = 16000;
const RATES = [8000, 48000];
const MOST_BYTES = 200 * 2 ** 20;
const MOST_S = 3600;
// Of a file that does not say how long it is.
const MOST_UNKNOWN_BYTES = 20 * 2 ** 20;
const HEADER_BYTES = 64 * 1024;
const LENGTH_WITHIN_MS = 5000;

// How a sample is written, by the WAV format's number and bits.
const SAMPLES = {
  "1/16": (view, at) => view.getInt16(at, true),
  "1/24": (view, at) => (view.getInt16(at + 1, true)) + view.getUint8(at) / 256,
  "1/32": (view, at) => view.getInt32(at, true) / 65536,
  "3/32": (view, at) => 32768 * view.getFloat32(at, true),
};

// {seconds, rate, blocks}: blocks() gives Int16Arrays, one after the other. Throws a Trouble where there is no sound.
export async function open(file) {
  if (!file.size) throw new Trouble("file-empty", {name: file.name});
  const header = await read(file, 0, Math.min(HEADER_BYTES, file.size));
  const wav = parse(header, file.size);
  if (wav) return {seconds: wav.bytes / wav.frame / wav.rate, rate: wav.rate, blocks: () => slices(file, wav)};
  return await decoded(file);
}

// The parts of a WAV header that matter; null where it is none that can be read piece by piece.
export function parse(header, size) {
  const word = at => String.fromCharCode(...new Uint8Array(header.buffer, header.byteOffset + at, 4));
  if (header.byteLength < 44 || word(0) !== "RIFF" || word(8) !== "WAVE") return null;
  let about = null;
  for (let at = 12; at + 8 <= header.byteLength;) {
    const length = header.getUint32(at + 4, true);
    if (word(at) === "fmt " && at + 24 <= header.byteLength) about = described(header, at + 8, length);
    if (word(at) === "data") {
      if (!about) return null;
      // A recorder that was cut off, or that wrote to a pipe, left no length.
      const offset = at + 8, there = size - offset;
      const bytes = length && length <= there ? length : there;
      return {...about, offset, bytes: bytes - bytes % about.frame};
    }
    at += 8 + length + length % 2;
  }
  return null;
}

function described(header, at, length) {
  const channels = header.getUint16(at + 2, true), rate = header.getUint32(at + 4, true);
  const bits = header.getUint16(at + 14, true);
  let format = header.getUint16(at, true);
  // "Extensible": the format's number comes later.
  if (format === 0xfffe && length >= 26 && at + 26 <= header.byteLength) format = header.getUint16(at + 24, true);
  const sample = SAMPLES[`${format}/${bits}`];
  if (!sample || !channels || rate < RATES[0] || rate > RATES[1]) return null;
  return {channels, rate, sample, width: bits / 8, frame: channels * bits / 8};
}

async function* slices(file, {offset, bytes, frame, channels, rate, sample, width}) {
  const step = Math.round(BLOCK_S * rate) * frame;
  for (let begin = 0; begin < bytes; begin += step) {
    const view = await read(file, offset + begin, offset + Math.min(begin + step, bytes));
    const block = new Int16Array(view.byteLength / frame);
    for (let number = 0; number < block.length; number += 1) {
      let sum = 0;
      for (let channel = 0; channel < channels; channel += 1) sum += sample(view, number * frame + channel * width);
      block[number] = within(sum / channels);
    }
    yield block;
  }
}

async function decoded(file) {
  const allowed = {name: file.name, megabytes: MOST_BYTES / 2 ** 20, minutes: MOST_S / 60};
  if (file.size > MOST_BYTES) throw new Trouble("file-too-large", allowed);
  // Asked before it is decoded: an hour of sound takes gigabytes on the way.
  const seconds = await length(file);
  if (seconds > MOST_S) throw new Trouble("file-too-long", allowed);
  if (!seconds && file.size > MOST_UNKNOWN_BYTES)
    throw new Trouble("file-too-large", {...allowed, megabytes: MOST_UNKNOWN_BYTES / 2 ** 20});
  let sound;
  try {
    sound = await new OfflineAudioContext(1, 1, RATE).decodeAudioData((await read(file, 0, file.size)).buffer);
  } catch (error) {
    throw error instanceof Trouble ? error : new Trouble("file-not-sound", {name: file.name});
  }
  if (sound.duration > MOST_S) throw new Trouble("file-too-long", allowed);
  return {seconds: sound.duration, rate: RATE, blocks: () => mixed(sound)};
}

async function* mixed(sound) {
  const channels = Array.from({length: sound.numberOfChannels}, (_, number) => sound.getChannelData(number));
  for (let begin = 0; begin < sound.length; begin += BLOCK_S * RATE) {
    const block = new Int16Array(Math.min(BLOCK_S * RATE, sound.length - begin));
    for (let number = 0; number < block.length; number += 1)
      block[number] = within(32768 * channels.reduce((sum, samples) => sum + samples[begin + number], 0) / channels.length);
    yield block;
  }
}

// In seconds, by what the file says of itself; 0 where it does not say.
function length(file) {
  return new Promise(done => {
    const element = document.createElement("video"), address = URL.createObjectURL(file);
    const tell = seconds => { URL.revokeObjectURL(address); done(Number.isFinite(seconds) ? seconds : 0); };
    element.preload = "metadata";
    element.onloadedmetadata = () => tell(element.duration);
    element.onerror = () => tell(0);
    setTimeout(() => tell(0), LENGTH_WITHIN_MS);
    element.src = address;
  });
}

async function read(file, begin, end) {
  try {
    return new DataView(await file.slice(begin, end).arrayBuffer());
  } catch {
    // It was changed or taken away meanwhile, or may not be read.
    throw new Trouble("file-unreadable", {name: file.name});
  }
}

function within(sample) {
  return Math.max(-32768, Math.min(32767, Math.round(sample)));
}
