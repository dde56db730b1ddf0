// A room's captions as they come: an EventSource, which reconnects by itself, and a new one where it gives up.

const AGAIN_AFTER_MS = 2000;
const AGAIN_AT_MOST_MS = 20000;
// The server says something every 15 s. A connection may die without a word, and the browser would wait for ever.
const SILENT_FOR_MS = 45_000;
const LOOK_EVERY_MS = 5000;
const EVENTS = ["room", "final", "partial", "speaker"];

export class RoomStream {
  // `on`: room, final, partial, speaker (each with the event's object), and state(name): "live", "lost", "ended",
  // "unknown". After the last two nothing comes.
  constructor(token, on) {
    this.path = `/v1/rooms/${encodeURIComponent(token)}`;
    this.on = on;
    this.patience = AGAIN_AFTER_MS;
    this.again = 0;
    this.last = null;
    this.over = false;
    this.heardAt = Date.now();
    setInterval(() => { if (Date.now() - this.heardAt > SILENT_FOR_MS) this.beginAgain(); }, LOOK_EVERY_MS);
    // A network that is back need not be waited for.
    addEventListener("online", () => { if (this.again) this.open(); });
    this.open();
  }

  beginAgain() {
    if (this.over || this.again) return;
    this.on.state("lost");
    this.open();
  }

  open() {
    this.heardAt = Date.now();
    clearTimeout(this.again);
    this.again = 0;
    this.source?.close();
    const source = this.source = new EventSource(`${this.path}/live${this.last ? `?after=${this.last}` : ""}`);
    source.addEventListener("beat", () => { this.heardAt = Date.now(); });
    source.onopen = () => {
      this.heardAt = Date.now();
      this.patience = AGAIN_AFTER_MS;
      this.on.state("live");
    };
    for (const name of EVENTS) {
      source.addEventListener(name, ({data, lastEventId}) => {
        this.heardAt = Date.now();
        if (lastEventId) this.last = lastEventId;
        this.on[name](JSON.parse(data));
      });
    }
    source.addEventListener("ended", () => this.end("ended"));
    source.onerror = () => {
      // What the server refuses, a browser does not ask for again.
      if (source.readyState === EventSource.CLOSED) this.refused();
      else this.on.state("lost");
    };
  }

  async refused() {
    const known = await fetch(this.path).then(answer => answer.status !== 404, () => true);
    if (!known) return this.end("unknown");
    this.on.state("lost");
    this.again = setTimeout(() => this.open(), this.patience);
    this.patience = Math.min(2 * this.patience, AGAIN_AT_MOST_MS);
  }

  end(state) {
    this.over = true;
    this.source.close();
    this.on.state(state);
  }
}
