// Samples as 16-bit PCM, in messages of 60 ms.

class Pcm extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Int16Array(Math.round(sampleRate * 0.06));
    this.filled = 0;
  }

  process([channels]) {
    for (const sample of channels[0] ?? []) {
      this.block[this.filled++] = Math.round(32767 * Math.max(-1, Math.min(1, sample)));
      if (this.filled === this.block.length) {
        const whole = this.block;
        this.block = new Int16Array(whole.length);
        this.filled = 0;
        this.port.postMessage(whole.buffer, [whole.buffer]);
      }
    }
    return true;
  }
}

registerProcessor("pcm", Pcm);
