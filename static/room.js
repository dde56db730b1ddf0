// The page of those who read along: /room?read=TOKEN.

import * as look from "./look.js";
import {RoomCaptions} from "./room-captions.js";
import {RoomStream} from "./room-stream.js";
import {text} from "./texts.js";

const find = id => document.getElementById(id);
const FORMATS = {txt: "TXT", srt: "SRT", vtt: "WebVTT", json: "JSON"};
const TROUBLES = {"no-link": "room-no-link", unknown: "room-unknown-trouble"};
const NOTES = {lost: "room-lost-note", ended: "room-ended-note"};

const token = new URLSearchParams(location.search).get("read");
const captions = new RoomCaptions({
  transcript: find("transcript"), segments: find("segments"), spoken: find("spoken"),
  follows: following => { find("latest").hidden = following; },
});
let state = "connecting", room = null;

function show() {
  look.show();
  find("room-name").textContent = room?.name ?? text("meeting");
  document.title = room ? `${room.name} · ${text("meeting")}` : text("meeting");
  find("state-text").textContent = text(`room-${state === "no-link" ? "unknown" : state}`);
  find("light").classList.toggle("on", state === "live");
  say("trouble", TROUBLES[state]);
  say("note", NOTES[state]);
  say("recorded", room?.recorded && "recorded");
  find("foot").hidden = !room;
  find("empty").hidden = !room || state === "ended" || captions.lines.length > 0;
  captions.showPeople(find("people"));
  find("nobody").hidden = captions.people.here.size > 0;
}

function say(place, key) {
  find(place).hidden = !key;
  const sentence = key ? text(key) : "";
  if (find(place).textContent !== sentence) find(place).textContent = sentence;
}

function offerFiles() {
  for (const [ending, title] of Object.entries(FORMATS)) {
    const link = document.createElement("a");
    link.href = `/v1/rooms/${encodeURIComponent(token)}/transcript.${ending}`;
    link.textContent = title;
    link.className = "button";
    link.download = "";
    find("files").append(link);
  }
}

function follow() {
  new RoomStream(token, {
    state: name => {
      state = name;
      if (name === "ended") captions.rest();
      show();
    },
    room: about => {
      room = about;
      captions.room(about);
      show();
    },
    speaker: event => { captions.speaker(event); show(); },
    partial: event => { captions.saying(event); find("empty").hidden = true; },
    final: event => { captions.said(event); find("empty").hidden = true; },
  });
}

find("latest").onclick = () => { captions.jump(); find("transcript").focus(); };
look.bind(show);
if (token) {
  offerFiles();
  follow();
} else {
  state = "no-link";
}
show();
