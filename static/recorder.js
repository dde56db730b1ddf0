// The sound as 16-bit PCM from an AudioWorklet. The last of it is kept: what the server has not got when a connection
// is lost is sent again by the next one.

import {Trouble} from "./trouble.js";

const RATE = 16000;
// As long as the server waits by default, and what was on its way before.
export const KEPT_S = 45;

export async function record(stream) {
  if (!window.AudioWorkletNode) throw new Trouble("old-browser");
  // Some browsers connect a microphone only at its own rate.
  for (const options of [{sampleRate: RATE}, {}]) {
    const context = new AudioContext(options);
    try {
      await context.audioWorklet.addModule("/static/pcm-worklet.js");
      const node = new AudioWorkletNode(context, "pcm", {numberOfInputs: 1, numberOfOutputs: 0, channelCount: 1,
        channelCountMode: "explicit"});
      context.createMediaStreamSource(stream).connect(node);
      await context.resume();
      const recorder = new Recorder(context.sampleRate, () => context.close());
      node.port.onmessage = ({data}) => recorder.hear(new Int16Array(data));
      return recorder;
    } catch (error) {
      await context.close();
      if (!("sampleRate" in options)) throw new Trouble("old-browser");
    }
  }
}

// `position` is how many samples were heard; samples are counted from 0.
export class Recorder {
  constructor(rate, close = () => {}, keptS = KEPT_S) {
    this.rate = rate;
    this.position = 0;
    this.blocks = [];
    this.kept = keptS * rate;
    this.take = null;
    this.stopped = false;
    this.close = close;
  }

  hear(block) {
    if (this.stopped) return;
    this.blocks.push({begin: this.position, block});
    this.position += block.length;
    while (this.position - this.blocks[0].begin - this.blocks[0].block.length >= this.kept) this.blocks.shift();
    this.take?.(block);
  }

  // What is heard from now on goes to `take`, after what is kept from sample `from` on. How many samples before that
  // are not kept any more.
  playTo(take, from = this.position) {
    const kept = this.blocks.length ? this.blocks[0].begin : this.position;
    for (const {begin, block} of this.blocks)
      if (begin + block.length > from) take(from > begin ? block.slice(from - begin) : block);
    this.take = take;
    return Math.max(0, kept - from);
  }

  // No more is wanted but what was heard.
  stop() {
    this.stopped = true;
  }
}
