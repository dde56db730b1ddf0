// A room's captions as they come: an EventSource, which reconnects by itself, and a new one where it gives up.

const AGAIN_AFTER_MS = 2000;
const AGAIN_AT_MOST_MS = 20000;
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
    // A network that is back need not be waited for.
    addEventListener("online", () => { if (this.again) this.open(); });
    this.open();
  }

  open() {
    clearTimeout(this.again);
    this.again = 0;
    const source = this.source = new EventSource(`${this.path}/live${this.last ? `?after=${this.last}` : ""}`);
    source.onopen = () => {
      this.patience = AGAIN_AFTER_MS;
      this.on.state("live");
    };
    for (const name of EVENTS) {
      source.addEventListener(name, ({data, lastEventId}) => {
        if (lastEventId) this.last = lastEventId;
        this.on[name](JSON.parse(data));
      });
    }
    source.addEventListener("ended", () => {
      source.close();
      this.on.state("ended");
    });
    source.onerror = () => {
      // What the server refuses, a browser does not ask for again.
      if (source.readyState === EventSource.CLOSED) this.refused();
      else this.on.state("lost");
    };
  }

  async refused() {
    const known = await fetch(this.path).then(answer => answer.status !== 404, () => true);
    if (!known) return this.on.state("unknown");
    this.on.state("lost");
    this.again = setTimeout(() => this.open(), this.patience);
    this.patience = Math.min(2 * this.patience, AGAIN_AT_MOST_MS);
  }
}
