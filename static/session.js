// One run from Start to Stop: a source of sound, the way it is sent, and what comes back.

import * as webrtc from "./by-webrtc.js";
import * as websocket from "./by-websocket.js";
import {Trouble, ofClose, ofServer} from "./trouble.js";

const LAST_TEXT_WITHIN_MS = 15000;

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
  }

  async begin() {
    this.on.state("connecting");
    const handlers = {onMessage: message => this.receive(message), onClose: code => this.closed(code)};
    try {
      this.link = await this.connect(handlers);
    } catch (error) {
      this.end(error instanceof Trouble ? error : new Trouble("unreachable"));
      return;
    }
    if (this.over) this.link.close();
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
    return await websocket.connect(this.source.stream, this.wishes, handlers);
  }

  receive(message) {
    if (message.type === "ready") {
      this.open = true;
      this.on.state("listening");
      if (this.source.play) this.source.play(() => this.stop());
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
    if (this.open && !this.patience) this.link?.send({type: "hotwords", hotwords});
  }

  // Lets the server finish the last words.
  stop(trouble = null) {
    if (this.over || this.patience) return;
    this.trouble ??= trouble;
    if (!this.link) return this.end(trouble);
    this.on.state("stopping");
    this.link.stop();
    this.patience = setTimeout(() => this.link.close(), LAST_TEXT_WITHIN_MS);
  }

  closed(code) {
    this.end(this.trouble ?? ofClose(code));
  }

  end(trouble) {
    if (this.over) return;
    this.over = true;
    clearTimeout(this.patience);
    this.source.end();
    this.on.state("ended");
    this.on.ended(trouble);
  }
}
