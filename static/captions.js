// The captions on the page: each segment a line, firm text dark, the tail that may still change lighter.

const NEAR_END_PX = 40;

export function clock(ms) {
  const seconds = Math.floor(ms / 1000), minutes = Math.floor(seconds / 60), hours = Math.floor(minutes / 60);
  const two = number => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes % 60)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

export class Captions {
  // `follows(false)` is called when someone scrolls back, `follows(true)` when the end is in sight again.
  constructor({transcript, segments, spoken, follows}) {
    this.finals = [];
    this.transcript = transcript;
    this.list = segments;
    this.spoken = spoken;
    this.following = true;
    this.top = 0;
    this.offset = 0;
    this.open = new Map();
    transcript.addEventListener("scroll", () => {
      const top = transcript.scrollTop, near = transcript.scrollHeight - top - transcript.clientHeight < NEAR_END_PX;
      // Lines that came since move the end away, but only people move the view back.
      const following = near || (this.following && top >= this.top);
      this.top = top;
      if (following !== this.following) follows(this.following = following);
    });
    new ResizeObserver(() => this.follow()).observe(transcript);
  }

  // A new session's times begin at 0 again: they go on after what stands here.
  begin() {
    this.open.clear();
    this.offset = this.finals.length ? this.finals.at(-1).end_ms + 1000 : 0;
  }

  // Whatever was not final when the connection ended stands as it was last seen.
  end() {
    for (const [segment, line] of this.open) {
      const text = line.firm.data + line.loose.textContent;
      if (text) this.keep({segment, text, start_ms: line.startMs, end_ms: line.endMs, reason: "lost", tokens: []}, line);
      else line.item.remove();
    }
    this.open.clear();
  }

  speech({segment, start_ms}) {
    this.line(segment, start_ms + this.offset);
  }

  partial({segment, text, stable, start_ms, end_ms}) {
    const line = this.line(segment, start_ms + this.offset);
    line.endMs = end_ms + this.offset;
    const characters = [...text];
    change(line.firm, characters.slice(0, stable).join(""));
    change(line.loose.firstChild, characters.slice(stable).join(""));
    this.follow();
  }

  final(message) {
    const line = this.line(message.segment, message.start_ms + this.offset);
    this.open.delete(message.segment);
    if (!message.text) return line.item.remove();
    const later = time => time + this.offset;
    this.keep({...message, start_ms: later(message.start_ms), end_ms: later(message.end_ms),
      tokens: message.tokens.map(([text, start, end]) => [text, later(start), later(end)])}, line);
  }

  keep(final, line) {
    this.finals.push(final);
    change(line.firm, final.text);
    change(line.loose.firstChild, "");
    mark(line.firm, final.hotwords ?? []);
    line.item.classList.add("final");
    const said = document.createElement("p");
    said.textContent = final.text;
    this.spoken.replaceChildren(said);
    this.follow();
  }

  line(segment, startMs) {
    let line = this.open.get(segment);
    if (line) return line;
    const item = document.createElement("li"), time = document.createElement("time");
    const text = document.createElement("p"), loose = document.createElement("span");
    time.textContent = clock(startMs);
    loose.className = "loose";
    loose.append("");
    const firm = document.createTextNode("");
    text.append(firm, loose);
    item.append(time, text);
    this.list.append(item);
    line = {item, firm, loose, startMs, endMs: startMs};
    this.open.set(segment, line);
    this.follow();
    return line;
  }

  clear() {
    this.finals = [];
    this.open.clear();
    this.offset = 0;
    this.list.replaceChildren();
    this.spoken.replaceChildren();
  }

  follow() {
    if (this.following) this.transcript.scrollTop = this.transcript.scrollHeight;
  }

  jump() {
    this.following = true;
    this.follow();
  }
}

// Puts each of the words that a final line has into a <mark>.
export function mark(node, words) {
  const all = words.filter(Boolean).sort((one, other) => other.length - one.length).map(word => RegExp.escape?.(word)
    ?? word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  if (!all.length) return;
  const parts = node.data.split(new RegExp(`(${all.join("|")})`, "i")).map((part, place) => {
    if (place % 2 === 0) return part;
    const marked = document.createElement("mark");
    marked.textContent = part;
    return marked;
  });
  node.replaceWith(...parts);
}

// Touches the page only where something is other than before.
export function change(node, data) {
  if (node.data !== data) node.data = data;
}
