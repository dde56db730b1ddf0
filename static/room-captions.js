// Captions of several speakers in one list, by the time at which each line was begun.

import {Captions, change, clock, mark} from "./captions.js";

const COLOURS = 8;
const SPOKEN_AT_ONCE = 3;
const SPOKEN_AFTER_MS = 300;

// Who speaks in the room. Everyone who reads sees a name in the same colour: names are counted by when they came first,
// and who comes back under a name has its colour.
class People {
  constructor() {
    this.here = new Map();
    this.firsts = new Map();
    this.colours = new Map();
  }

  // True where colours have changed: on arrival one hears of those first who are here, then of those who spoke before.
  know(speaker, name) {
    if ((this.firsts.get(name) ?? Infinity) <= speaker) return false;
    this.firsts.set(name, speaker);
    const order = [...this.firsts].sort(([, one], [, other]) => one - other);
    this.colours = new Map(order.map(([each], number) => [each, number % COLOURS]));
    return true;
  }
}

export class RoomCaptions extends Captions {
  constructor(places) {
    super(places);
    this.people = new People();
    this.lines = [];
    this.talking = new Set();
    this.unspoken = [];
  }

  // What the page's own session says comes from the room as well, in its place among the others.
  begin() {}
  end() {}
  speech() {}
  partial() {}
  final() {}

  // A connection begins, or the room has changed: who is here is told anew, and what is being said.
  room({speakers}) {
    this.people.here = new Map(speakers.map(({speaker, name}) => [speaker, name]));
    for (const {speaker, name} of speakers) this.know(speaker, name);
    for (const line of this.talking) this.remove(line);
  }

  speaker({speaker, name, state}) {
    if (state === "joined") {
      this.people.here.set(speaker, name);
      this.know(speaker, name);
    } else {
      this.people.here.delete(speaker);
      for (const line of this.openOf(speaker)) this.remove(line);
    }
  }

  know(speaker, name) {
    if (!this.people.know(speaker, name)) return;
    for (const line of this.lines) line.item.dataset.voice = this.people.colours.get(line.name);
  }

  // Nothing more comes: what was being said stands as it was last seen.
  rest() {
    for (const {item} of this.talking) item.classList.add("final");
  }

  saying({speaker, name, segment, begin_ms, text, stable}) {
    let line = this.openOf(speaker).find(each => each.segment === segment);
    if (!text) {
      if (line) this.remove(line);
      return null;
    }
    line ??= this.insert(speaker, name, segment, begin_ms);
    const characters = [...text];
    change(line.firm, characters.slice(0, stable).join(""));
    change(line.loose.firstChild, characters.slice(stable).join(""));
    this.follow();
    return line;
  }

  said(final) {
    const {speaker, name, segment, begin_ms, text, hotwords} = final;
    const begun = this.openOf(speaker), same = begun.find(each => each.segment === segment);
    for (const each of begun) if (each.segment < segment) this.remove(each);
    const line = same ?? this.insert(speaker, name, segment, begin_ms);
    this.finals.push(final);
    this.talking.delete(line);
    change(line.firm, text);
    change(line.loose.firstChild, "");
    mark(line.firm, hotwords ?? []);
    line.item.classList.add("final");
    this.tell(`${name}: ${text}`);
    this.follow();
    return line;
  }

  openOf(speaker) {
    return [...this.talking].filter(line => line.speaker === speaker);
  }

  insert(speaker, name, segment, beginMs) {
    this.know(speaker, name);
    const line = {speaker, name, segment, beginMs, ...build(name, beginMs)};
    line.item.dataset.voice = this.people.colours.get(name);
    const place = this.lines.findLastIndex(each => each.beginMs <= beginMs) + 1;
    this.list.insertBefore(line.item, this.lines[place]?.item ?? null);
    this.lines.splice(place, 0, line);
    this.talking.add(line);
    this.sameAsBefore(place);
    this.follow();
    return line;
  }

  remove(line) {
    const place = this.lines.indexOf(line);
    if (place < 0) return;
    this.lines.splice(place, 1);
    this.talking.delete(line);
    line.item.remove();
    this.sameAsBefore(place);
  }

  // Leaves so many lines, and those that are being said.
  prune(most) {
    while (this.lines.length > most && !this.talking.has(this.lines[0])) this.remove(this.lines[0]);
    this.finals.splice(0, this.finals.length - most);
  }

  // A name is seen where another one speaks, and heard with every line.
  sameAsBefore(place) {
    for (const at of [place, place + 1]) {
      const line = this.lines[at], before = this.lines[at - 1];
      line?.item.classList.toggle("same", before?.name === line.name);
    }
  }

  showPeople(list) {
    const all = [...this.people.here.values()].map(name => [name, this.people.colours.get(name)]);
    const told = JSON.stringify(all);
    if (this.toldPeople === told) return;
    this.toldPeople = told;
    list.replaceChildren(...all.map(([name, colour]) => {
      const item = document.createElement("li"), dot = document.createElement("span");
      item.dataset.voice = colour;
      dot.className = "dot";
      item.append(dot, name);
      return item;
    }));
  }

  // To a screen reader: of many lines that come together, as on arrival, the last few.
  tell(sentence) {
    this.unspoken.push(sentence);
    if (this.unspoken.length > 1) return void this.unspoken.splice(0, this.unspoken.length - SPOKEN_AT_ONCE);
    setTimeout(() => {
      this.spoken.replaceChildren(...this.unspoken.map(each => {
        const said = document.createElement("p");
        said.textContent = each;
        return said;
      }));
      this.unspoken = [];
    }, SPOKEN_AFTER_MS);
  }

  // Once a picture: thousands of lines come at once when someone arrives late.
  follow() {
    if (!this.following || this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      super.follow();
    });
  }

  clear() {
    super.clear();
    this.lines = [];
    this.talking.clear();
  }
}

function build(name, beginMs) {
  const make = (kind, of) => Object.assign(document.createElement(kind), {className: of});
  const item = make("li", ""), time = make("time", ""), said = make("div", "said"), text = make("p", "");
  const voice = make("strong", "voice"), loose = make("span", "loose"), firm = document.createTextNode("");
  time.textContent = clock(beginMs);
  voice.textContent = name;
  loose.append("");
  text.append(firm, loose);
  said.append(voice, text);
  item.append(time, said);
  return {item, firm, loose};
}
