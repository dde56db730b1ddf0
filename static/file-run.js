// A file on its way to the server: a WebSocket of its own, as fast as the server takes it.

import {open} from "./sound-file.js";
import {Trouble, ofClose, ofServer} from "./trouble.js";

// What waits in the browser while the server, which stops reading when it has enough, pushes back.
const MOST_WAITING_BYTES = 256 * 1024;
const HIDDEN_TIMES = 64;
const LOOK_AGAIN_MS = 20;
const CONNECT_WITHIN_MS = 15000;
// What is to be done is another for a file than for a microphone.
const OWN_SENTENCES = ["overloaded", "engine-away", "lost", "unreachable", "going-away", "refused", "internal"];

export class FileRun {
  // `on`: progress(seconds recognised, seconds in all), message(message), note(key, values), ended(trouble or null).
  constructor(file, wishes, on) {
    this.file = file;
    this.wishes = wishes;
    this.on = on;
    this.socket = null;
    this.trouble = null;
    this.over = false;
    this.heard = 0;
  }

  async begin() {
    try {
      this.sound = await open(this.file);
      if (this.over) return;
      this.on.progress(0, this.sound.seconds);
      await this.connect();
      if (!this.over) await this.send();
    } catch (error) {
      this.end(error instanceof Trouble ? error : new Trouble("internal", {message: error.message}));
    }
  }

  // What has been recognised by now stands.
  cancel() {
    this.end(null);
  }

  connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = this.socket = new WebSocket(`${scheme}://${location.host}/v1/stream`);
    return new Promise((done, fail) => {
      const timer = setTimeout(() => fail(new Trouble("unreachable")), CONNECT_WITHIN_MS);
      // A file is there still: whoever lost the connection chooses it again.
      socket.onopen = () => socket.send(JSON.stringify(
        {type: "start", ...this.wishes, sample_rate: this.sound.rate, resumable: false}));
      socket.onmessage = ({data}) => {
        const message = JSON.parse(data);
        if (message.type === "ready") { clearTimeout(timer); done(); }
        this.receive(message);
      };
      socket.onclose = ({code}) => {
        clearTimeout(timer);
        this.end(this.trouble ?? (this.heard || code !== 1006 ? ofClose(code) : new Trouble("unreachable")));
        done();
      };
    });
  }

  async send() {
    for await (const block of this.sound.blocks()) {
      // Timers of a page that nobody sees ring once a second or less: more has to lie ready there.
      while (!this.over && this.socket.bufferedAmount > (document.hidden ? HIDDEN_TIMES : 1) * MOST_WAITING_BYTES)
        await new Promise(done => setTimeout(done, LOOK_AGAIN_MS));
      if (this.over || this.socket.readyState !== WebSocket.OPEN) return;
      this.socket.send(block);
    }
    this.socket.send(JSON.stringify({type: "stop"}));
  }

  receive(message) {
    if (this.over) return;
    if (message.type === "error") {
      if (message.code === "engine_failed") this.on.note("engine-failed");
      else this.trouble = ofServer(message);
      if (message.code === "bad_field") this.socket.close();
    }
    if (message.type === "hotwords" && message.unspelt.length)
      this.on.note("hotwords-unspelt", {words: message.unspelt.join(", ")});
    this.heard += 1;
    this.on.message(message);
    if (message.type === "ended") this.on.progress(this.sound.seconds, this.sound.seconds);
    else if (message.end_ms) this.on.progress(Math.min(message.end_ms / 1000, this.sound.seconds), this.sound.seconds);
  }

  end(trouble) {
    if (this.over) return;
    this.over = true;
    if (trouble && OWN_SENTENCES.includes(trouble.key)) trouble = new Trouble(`file-${trouble.key}`, trouble.values);
    this.socket?.close(1000);
    this.on.ended(trouble);
  }
}
