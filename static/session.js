// One run from Start to Stop: a source of sound, the way it is sent, and what comes back.

import * as webrtc from "./by-webrtc.js";
import * as websocket from "./by-websocket.js";
import {record} from "./recorder.js";
import {Trouble, ofClose, ofServer} from "./trouble.js";

const LAST_TEXT_WITHIN_MS = 15000;
// Before each try to connect again.
const PAUSES_MS = [0, 300, 1000, 2000, 4000];
// By WebRTC the page knows only about when the session began, so that what is sent again begins earlier by this.
const OVERLAP_MS = 1000;
// Closed without a word, or because the door that had the session is gone.
const LOST = [1006, 1012];

export class Session {
  // `on`: state(name), message(message), note(key, values), ended(trouble or null).
  constructor(source, wishes, way, on) {
    this.source = source;
    this.wishes = wishes;
    this.way = way;
    this.on = on;
    this.link = null;
    this.trouble = null;
    this.over = false;
    this.patience = 0;
    this.open = false;
    this.recorder = null;
    this.ready = null;
    this.finals = 0;
    this.commands = [];
    this.origin = 0;
    this.overlapMs = 0;
    this.until = null;
    this.tries = 0;
    this.giveUp = 0;
  }

  async begin() {
    this.on.state("connecting");
    try {
      this.link = await this.connect(this.handlers());
    } catch (error) {
      if (this.over) this.recorder?.close();
      this.end(error instanceof Trouble ? error : new Trouble("unreachable"));
      return;
    }
    if (this.over) { this.link.close(); this.recorder?.close(); }
    else if (!this.recorder) this.record();
  }

  // Only what comes by the latest link counts.
  handlers() {
    const own = this.latest = {};
    return {
      onMessage: message => own === this.latest && this.receive(message),
      onClose: code => own === this.latest && this.closed(code),
    };
  }

  // Sound goes by a track; what is recorded beside it is for the day on which the connection is lost.
  async record() {
    const recorder = await record(this.source.stream).catch(() => null);
    if (!recorder || this.over) return recorder?.close();
    this.origin = recorder.position - Math.round((performance.now() - this.link.begunAt) / 1000 * recorder.rate);
    this.recorder = recorder;
  }

  async connect(handlers) {
    if (this.way !== "websocket") {
      try {
        return await webrtc.connect(this.source.stream, this.wishes, handlers);
      } catch (error) {
        // fetch raises a TypeError where there is no server at all.
        if (error instanceof TypeError) throw new Trouble("unreachable");
        const why = error instanceof webrtc.NoWay ? error : new webrtc.NoWay("why-browser");
        if (this.way === "webrtc") throw new Trouble("no-webrtc", why);
        this.on.note("fell-back", why);
      }
    }
    this.recorder = await record(this.source.stream);
    const start = {type: "start", ...this.wishes, sample_rate: this.recorder.rate};
    const link = await websocket.connect(this.recorder, start, handlers);
    this.origin = link.origin;
    return link;
  }

  // Goes on by a WebSocket, also where sound went by WebRTC: that gets through where anything does, and the sound of
  // the time between goes by it as well. Connections that are lost again before the server has said a word have one
  // end together.
  async resume() {
    if (this.until === null) {
      this.until = performance.now() + this.ready.resume_s * 1000;
      this.giveUp = setTimeout(() => { this.end(new Trouble("lost")); this.link.close(); }, this.ready.resume_s * 1000);
    }
    if (this.link.name === "WebRTC") this.overlapMs = OVERLAP_MS;
    const begunAt = this.link.begunAt;
    this.open = false;
    this.recorder.take = null;
    this.on.state("reconnecting");
    this.on.note("reconnecting-note");
    while (performance.now() < this.until && !this.over) {
      await new Promise(done => setTimeout(done, PAUSES_MS[Math.min(this.tries, PAUSES_MS.length - 1)]));
      this.tries++;
      const {rate} = this.recorder;
      const resume = {type: "resume", token: this.ready.resume, segments: this.finals, encoding: "pcm_s16le",
        sample_rate: rate, overlap_ms: this.overlapMs};
      try {
        this.link = await websocket.connect(this.recorder, resume, this.handlers(), this.origin, begunAt);
        return;
      } catch {
        // Nobody answers yet.
      }
    }
    this.end(new Trouble("lost"));
  }

  // The server has the session still: what it has not got follows.
  resumed({samples, messages, stopped}) {
    clearTimeout(this.giveUp);
    this.until = null;
    this.tries = 0;
    this.open = true;
    this.on.note(null);
    this.on.state(this.patience ? "stopping" : "listening");
    if (stopped) return;
    const lost = this.link.replay(samples - Math.round(this.overlapMs / 1000 * this.recorder.rate));
    if (lost) this.on.note("lost-some", {seconds: lost.toFixed(1)});
    for (const command of this.commands.slice(messages)) this.link.send(command);
  }

  receive(message) {
    if (message.type === "ready") {
      this.open = true;
      this.ready = message;
      this.on.state("listening");
      if (this.source.play) this.source.play(() => this.stop());
    } else if (message.type === "resumed") {
      this.resumed(message);
    } else if (message.type === "final") {
      this.finals++;
    } else if (message.type === "error" && message.field === "token") {
      this.trouble = new Trouble("not-resumed");
    } else if (message.type === "error") {
      if (message.fatal || message.code === "idle_timeout") this.trouble = ofServer(message);
      else if (message.code === "audio_dropped") this.on.note("dropped");
      else if (message.code === "engine_failed") this.on.note("engine-failed");
      else if (this.open && message.code === "bad_field") this.on.note("hotwords-refused", message);
      else if (message.code === "bad_field") { this.trouble = ofServer(message); this.link?.close(); }
    } else if (message.type === "hotwords" && message.unspelt.length) {
      this.on.note("hotwords-unspelt", {words: message.unspelt.join(", ")});
    }
    this.on.message(message);
  }

  sendHotwords(hotwords) {
    if (this.ready && !this.patience) this.tell({type: "hotwords", hotwords});
  }

  // Where the connection is being made anew, it goes with that.
  tell(command) {
    this.commands.push(command);
    this.link.send(command);
  }

  // Lets the server finish the last words.
  stop(trouble = null) {
    if (this.over || this.patience) return;
    this.trouble ??= trouble;
    if (!this.link) return this.end(trouble);
    this.on.state("stopping");
    // What is said from now on is nobody's, also where the connection is lost before the last words are here.
    this.recorder?.stop();
    this.commands.push({type: "stop"});
    this.link.stop();
    this.patience = setTimeout(() => this.link.close(), LAST_TEXT_WITHIN_MS);
  }

  closed(code) {
    if (!this.trouble && LOST.includes(code) && this.ready?.resume && this.recorder && !this.over) this.resume();
    else this.end(this.trouble ?? ofClose(code));
  }

  end(trouble) {
    if (this.over) return;
    this.over = true;
    clearTimeout(this.patience);
    clearTimeout(this.giveUp);
    this.latest = null;
    this.recorder?.close();
    this.source.end();
    this.on.state("ended");
    this.on.ended(trouble);
  }
}
