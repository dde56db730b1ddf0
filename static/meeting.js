// A meeting on the page of those who speak: /?speak=TOKEN. And the form that makes one.

import {RoomStream} from "./room-stream.js";
import * as settings from "./settings.js";
import {text} from "./texts.js";
import {Trouble} from "./trouble.js";

const find = id => document.getElementById(id);
const LONGEST_NAME = 60;
const LONGEST_ROOM_NAME = 100;
const TOLD_MS = 3000;
// Whoever has just made a meeting wants its links.
const NEW = "#new";
const NEW_WITHOUT_SOUND = "#new-without-sound";

export class Meeting {
  // Without a token there is no meeting, only the form. All captions, one's own too, are taken from the room.
  // `on`: complain(trouble or null), changed() where the page's controls may look otherwise.
  constructor(token, captions, on) {
    this.token = token;
    this.captions = captions;
    this.on = on;
    this.room = null;
    this.state = "connecting";
    find("create").onsubmit = event => { event.preventDefault(); this.create(); };
    if (!token) return;
    find("meeting").hidden = false;
    find("new-meeting").hidden = true;
    find("links").open = [NEW, NEW_WITHOUT_SOUND].includes(location.hash);
    if (location.hash === NEW_WITHOUT_SOUND) on.complain(new Trouble("not-recorded"));
    document.body.classList.add("room");
    find("empty").dataset.text = "meeting-empty";
    find("my-name").value = settings.get("name");
    find("my-name").onchange = () => settings.set("name", this.name);
    find("my-name").onkeydown = ({key}) => { if (key === "Enter") find("speak").click(); };
    find("end-meeting").onclick = () => this.end();
    for (const button of document.querySelectorAll("[data-copies]")) button.onclick = () => copy(button);
    this.follow();
  }

  get name() {
    return find("my-name").value.trim();
  }

  follow() {
    new RoomStream(this.token, {
      state: name => {
        this.state = name;
        if (name === "ended") this.captions.rest();
        if (name === "unknown") this.on.complain(new Trouble("room-unknown-trouble"));
        this.on.changed();
      },
      room: about => {
        this.room = about;
        this.captions.room(about);
        this.on.changed();
      },
      speaker: event => { this.captions.speaker(event); this.on.changed(); },
      partial: event => { this.captions.saying(event); find("empty").hidden = true; },
      final: event => { this.captions.said(event); this.on.changed(); },
    });
  }

  // Whether one may begin: a speaker says who they are.
  named() {
    const sure = !this.token || (this.name.length > 0 && [...this.name].length <= LONGEST_NAME);
    if (!sure) {
      this.on.complain(new Trouble("name-needed"));
      find("my-name").focus();
    }
    return sure;
  }

  // What a session's start says of the meeting.
  wishes() {
    return this.token ? {room: this.token, name: this.name} : {};
  }

  // What the main button says here, if anything else than elsewhere.
  word(busy) {
    return this.token && (busy ? "leave" : "join");
  }

  show(busy) {
    find("create").querySelector("button").disabled = busy;
    if (!this.token) return;
    // Not `disabled`, which takes the focus from who just pressed Enter in it.
    find("my-name").readOnly = busy;
    put("room-name", this.room?.name ?? text("meeting"));
    put("room-state", text(`room-${this.state}`));
    find("room-light").classList.toggle("on", this.state === "live");
    find("recorded").hidden = !this.room?.recorded;
    put("recorded", text("recorded"));
    this.captions.showPeople(find("people"));
    find("links").hidden = !this.room;
    find("end-meeting").disabled = this.state === "ended";
    if (!this.room) return;
    document.title = `${this.room.name} · ${text("meeting")}`;
    const read = encodeURIComponent(this.room.read);
    find("link-read").value = `${location.origin}/room?read=${read}`;
    find("link-speak").value = `${location.origin}/?speak=${encodeURIComponent(this.token)}`;
    find("link-overlay").value = `${location.origin}/overlay?room=${read}&lines=2&size=48`;
  }

  // The server has what was said before this page was opened as well.
  save(format) {
    const link = document.createElement("a");
    link.href = `/v1/rooms/${encodeURIComponent(this.token)}/transcript.${format}`;
    link.download = "";
    link.click();
  }

  async create() {
    const name = find("meeting-name").value.trim(), record = find("record").checked;
    if (!name || [...name].length > LONGEST_ROOM_NAME) return this.on.complain(new Trouble("meeting-name-needed"));
    try {
      const answer = await fetch("/v1/rooms", {
        method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify({name, record}),
      });
      if (answer.status === 404) throw new Trouble("meetings-off");
      const said = await answer.json();
      if (!answer.ok) throw new Trouble("meeting-refused", {message: said.message});
      location.assign(`/?speak=${encodeURIComponent(said.speak)}${record && !said.recorded ? NEW_WITHOUT_SOUND : NEW}`);
    } catch (error) {
      this.on.complain(error instanceof Trouble ? error : new Trouble("unreachable"));
    }
  }

  async end() {
    if (!confirm(text("end-meeting-sure"))) return;
    const answer = await fetch(`/v1/rooms/${encodeURIComponent(this.token)}`, {method: "DELETE"}).catch(() => null);
    if (!answer?.ok) this.on.complain(new Trouble("meeting-not-ended", {message: answer?.status ?? "–"}));
  }
}

// Nothing is told again to those who hear the page.
function put(id, words) {
  if (find(id).textContent !== words) find(id).textContent = words;
}

async function copy(button) {
  const field = find(button.dataset.copies);
  field.select();
  let told = "copied";
  try {
    await navigator.clipboard.writeText(field.value);
  } catch {
    // Without https there is no clipboard; the link stands selected.
    told = "link-select";
  }
  button.textContent = find("copied").textContent = text(told);
  setTimeout(() => {
    button.textContent = text("copy");
    find("copied").textContent = "";
  }, TOLD_MS);
}
