// The page: controls, settings, and what they set going.

import {ask} from "./by-webrtc.js";
import {Captions, clock} from "./captions.js";
import {TYPES, render} from "./exports.js";
import {FilePanel} from "./file-panel.js";
import * as look from "./look.js";
import {Meeting} from "./meeting.js";
import {RoomCaptions} from "./room-captions.js";
import {Session} from "./session.js";
import * as settings from "./settings.js";
import * as sound from "./sound.js";
import {text} from "./texts.js";
import {Trouble} from "./trouble.js";

const find = id => document.getElementById(id);
const DELAYS_KEPT = 5;

let session = null, state = "idle", shown = null, noted = null, stopMeter = null, ready = null, windows = [];
let startedAt = null, delays = [];

const speakToken = new URLSearchParams(location.search).get("speak");
const captions = new (speakToken ? RoomCaptions : Captions)({
  transcript: find("transcript"), segments: find("segments"), spoken: find("spoken"),
  follows: following => { find("latest").hidden = following; },
});
const meeting = new Meeting(speakToken, captions, {complain, changed: controls});

const files = new FilePanel({
  refusal: () => meeting.token ? "file-in-meeting" : session || state === "opening" ? "file-busy" : null,
  wishes, note, message: hear,
  begun: () => {
    complain(null);
    note(null);
    captions.begin();
    startedAt = Date.now();
    find("by").textContent = "WebSocket";
    setState("transcribing");
  },
  ended: trouble => { setState("ended"); finish(trouble); },
});

async function start(makeSource) {
  if (session || state === "opening" || files.busy || !meeting.named()) return;
  setState("opening");
  complain(null);
  note(null);
  let source;
  try {
    source = await makeSource();
  } catch (error) {
    setState("idle");
    complain(error instanceof Trouble ? error : new Trouble("internal", {message: error.message}));
    return;
  }
  captions.begin();
  delays = [];
  startedAt = Date.now();
  stopMeter = sound.meter(source.stream, showLevel);
  const begun = session = new Session(source, wishes(), settings.get("way"), {
    state: setState, note, message: hear,
    ended: trouble => { session = null; finish(trouble); },
  });
  source.stream.getAudioTracks()[0].onended = () => begun.stop(new Trouble("microphone-ended"));
  await begun.begin();
  if (begun.link) find("by").textContent = begun.link.name;
}

function finish(trouble) {
  stopMeter?.();
  stopMeter = null;
  captions.end();
  complain(trouble);
  controls();
}

function wishes() {
  const window = settings.get("window");
  const words = hotwords();
  return {...meeting.wishes(), end_silence_ms: Number(settings.get("silence")),
    ...(words.length ? {hotwords: words} : {}),
    ...(window && windows.some(each => each.join() === window) ? {chunk_size: window.split(",").map(Number)} : {})};
}

function hotwords() {
  return settings.get("hotwords").split("\n").map(word => word.trim()).filter(Boolean);
}

function hear(message) {
  switch (message.type) {
    case "ready": ready = message; break;
    case "speech":
      captions.speech(message);
      if (!files.busy) setState("speech");
      break;
    case "partial": captions.partial(message); measure(message.end_ms); break;
    case "final":
      captions.final(message);
      if (state === "speech") setState("listening");
      break;
  }
  controls();
}

// How long after a word its text stands here: by the sound sent so far, look-ahead and network included.
function measure(endMs) {
  if (!session?.link?.begunAt) return;
  delays.push((performance.now() - session.link.begunAt - endMs) / 1000);
  delays = delays.slice(-DELAYS_KEPT);
  const middle = [...delays].sort((a, b) => a - b)[Math.floor(delays.length / 2)];
  find("delay").textContent = text("seconds", {number: Math.max(0, middle).toFixed(1)});
}

function setState(name) {
  state = name;
  if (session?.link) find("by").textContent = session.link.name;
  controls();
}

function controls() {
  const busy = ["opening", "connecting", "reconnecting", "listening", "speech", "stopping", "transcribing"].includes(state);
  find("speak").textContent = text(meeting.word(busy) ?? (busy && !files.busy ? "stop" : "start"));
  meeting.show(busy);
  // Not `disabled`: a button that is, loses the focus, and who uses the keyboard their place.
  find("speak").ariaDisabled = String(state === "stopping" || state === "opening" || files.busy);
  find("sample").ariaDisabled = find("choose").ariaDisabled = String(busy);
  find("state-text").textContent = text(state === "opening" ? "connecting" : state);
  find("light").classList.toggle("on", state === "speech");
  find("empty").hidden = busy || captions.finals.length > 0;
  find("save").disabled = find("clear").disabled = !captions.finals.length;
  find("choose").hidden = find("clear").hidden = Boolean(meeting.token);
}

function complain(trouble) {
  shown = trouble;
  find("trouble").hidden = !trouble;
  find("trouble").textContent = trouble ? sentence(trouble.key, trouble.values) : "";
}

function note(key, values = {}) {
  noted = key && {key, values};
  find("note").hidden = !key;
  find("note").textContent = key ? sentence(key, values) : "";
}

// Where WebRTC did not connect, `values` are why: a key and values of their own.
function sentence(key, values) {
  return text(key, values.key ? {why: text(values.key, values.values)} : values);
}

function showLevel(level) {
  find("level-bar").style.transform = `scaleX(${level.toFixed(3)})`;
  const rounded = 10 * Math.round(10 * level);
  if (find("level").ariaValueNow !== String(rounded)) find("level").ariaValueNow = String(rounded);
}

function save() {
  const format = find("format").value;
  if (meeting.token) return meeting.save(format);
  const about = {started_at: new Date(startedAt).toISOString(), model: ready?.model, window: ready?.window};
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([render(format, captions.finals, about)], {type: TYPES[format]}));
  link.download = `captions-${new Date(startedAt).toISOString().slice(0, 19).replace(/[T:]/g, "-")}.${format}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// ---- settings

async function fillMicrophones() {
  const select = find("microphone"), chosen = settings.get("microphone");
  const options = [new Option(text("default-microphone"), "")];
  for (const [number, device] of (await sound.microphones()).entries())
    options.push(new Option(device.label || text("unnamed-microphone", {number: number + 1}), device.deviceId));
  select.replaceChildren(...options);
  select.value = options.some(option => option.value === chosen) ? chosen : "";
}

async function fillWindows() {
  try {
    windows = (await (await fetch("/health/ready")).json()).windows ?? [];
  } catch {
    windows = [];
  }
  showWindows();
}

function showWindows() {
  const seconds = frames => (frames * 0.06).toFixed(2).replace(/0$/, "");
  const select = find("window");
  select.replaceChildren(new Option(text("window-default"), ""), ...windows.map(([left, hop, ahead]) =>
    new Option(text("window-choice", {hop: seconds(hop), ahead: seconds(ahead)}), [left, hop, ahead].join())));
  select.value = windows.some(each => each.join() === settings.get("window")) ? settings.get("window") : "";
  const [, hop, ahead] = windows.find(each => each.join() === select.value) ?? windows[0] ?? [0, 10, 5];
  find("window-note").textContent = text("window-note", {least: seconds(ahead), most: seconds(hop + ahead)});
  find("silence-shown").textContent = text("seconds", {number: (settings.get("silence") / 1000).toFixed(1)});
}

function showAll() {
  look.show();
  find("transcript").classList.toggle("without-times", !settings.get("times"));
  showWindows();
  fillMicrophones();
  complain(shown);
  note(noted?.key, noted?.values);
  files.translate();
  controls();
}

function bind() {
  find("speak").onclick = () => session ? session.stop() : start(() => sound.microphone(settings.get("microphone"),
    Object.fromEntries(["echoCancellation", "noiseSuppression", "autoGainControl"].map(name => [name, settings.get(name)])))
    .then(source => { fillMicrophones(); return source; }));
  find("sample").onclick = () => start(sound.sample);
  find("latest").onclick = () => { captions.jump(); find("transcript").focus(); };
  find("save").onclick = save;
  find("clear").onclick = () => { captions.clear(); find("speak").focus(); controls(); };
  look.bind(showAll);
  for (const id of ["microphone", "window", "silence", "way", "format"]) {
    if (settings.get(id) !== undefined) find(id).value = settings.get(id);
    find(id).oninput = () => { settings.set(id, find(id).value); showWindows(); };
  }
  find("hotwords").value = settings.get("hotwords");
  // When the list is left, not at every key: half a word is not meant.
  find("hotwords").onchange = () => {
    settings.set("hotwords", find("hotwords").value);
    note(null);
    session?.sendHotwords(hotwords());
  };
  for (const id of ["echoCancellation", "noiseSuppression", "autoGainControl", "times"]) {
    find(id).checked = settings.get(id);
    find(id).onchange = () => { settings.set(id, find(id).checked); showAll(); };
  }
  navigator.mediaDevices?.addEventListener?.("devicechange", fillMicrophones);
  setInterval(() => {
    if (session?.link?.begunAt) find("time").textContent = clock(performance.now() - session.link.begunAt);
  }, 250);
}

// Whoever leaves the page is not waited for.
addEventListener("pagehide", () => session?.link?.send({type: "stop"}));

bind();
showAll();
fillWindows();
ask().catch(() => {});
