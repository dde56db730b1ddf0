// Captions over a picture, for streaming software: /overlay?room=TOKEN, see overlay-settings.js.

import {read} from "./overlay-settings.js";
import {RoomCaptions} from "./room-captions.js";
import {RoomStream} from "./room-stream.js";
import * as kept from "./settings.js";
import {setLanguage, text, translate} from "./texts.js";

const TOLD_MS = 15_000;
const MOST_DELAYED = 2000;
// A line may come so long after its last word.
const LATE_MS = 5000;

const find = id => document.getElementById(id);
const {settings, complaints} = read(location.search);
const captions = new RoomCaptions({
  transcript: find("bar"), segments: find("segments"), spoken: find("spoken"), follows: () => {},
});
const delayed = new Set();
let beganAt = 0;

function dress() {
  setLanguage(kept.get("language"));
  translate();
  const style = document.documentElement.style;
  style.setProperty("--lines", settings.lines);
  style.setProperty("--size", `${settings.size}px`);
  style.setProperty("--box", settings.box / 100);
  find("bar").classList.toggle("without-names", settings.names === "off");
}

// What is wrong is said where it is seen when a scene is set up, and does not stay in the picture.
function tell({key, values}) {
  const sentence = document.createElement("p");
  sentence.textContent = text(key, values);
  find("told").append(sentence);
  setTimeout(() => sentence.remove(), TOLD_MS);
}

// As late as the picture is. Of what waits, the oldest goes first.
function later(act) {
  if (!settings.delay) return act();
  if (delayed.size === MOST_DELAYED) delayed.delete(delayed.values().next().value);
  delayed.add(act);
  setTimeout(() => { if (delayed.delete(act)) act(); }, 1000 * settings.delay);
}

// A line leaves when nothing of it has changed for a while.
function keep(line) {
  if (!line) return;
  clearTimeout(line.leaving);
  line.leaving = setTimeout(() => captions.remove(line), 1000 * settings.keep);
  captions.prune(settings.lines);
}

// How much later the server's clock is than this one, in ms: both may be wrong.
async function ahead(path) {
  const answer = await fetch(path).catch(() => null);
  return (Date.parse(answer?.headers.get("Date") ?? "") || Date.now()) - Date.now();
}

async function follow() {
  const aheadMs = await ahead(`/v1/rooms/${encodeURIComponent(settings.room)}`);
  new RoomStream(settings.room, {
    state: name => { if (name === "unknown") tell({key: "room-unknown-trouble"}); },
    room: about => {
      beganAt = Date.parse(about.began) - aheadMs;
      later(() => captions.room(about));
    },
    speaker: event => later(() => captions.speaker(event)),
    partial: event => later(() => keep(captions.saying(event))),
    // What was said long ago, and is told on arrival, is no caption to this picture.
    final: event => {
      captions.know(event.speaker, event.name);
      if (Date.now() - beganAt - event.end_ms < 1000 * settings.keep + LATE_MS) later(() => keep(captions.said(event)));
    },
  });
}

dress();
for (const complaint of complaints) tell(complaint);
if (settings.room) follow();
else tell({key: "overlay-no-room"});
