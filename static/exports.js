// Finals as files: text, subtitles, and everything as JSON.

const LONGEST_CUE_MS = 6000;
const WIDEST_CUE = 40;

export const TYPES = {txt: "text/plain", srt: "application/x-subrip", vtt: "text/vtt", json: "application/json"};

export function render(format, finals, about = {}) {
  switch (format) {
    case "txt": return finals.map(final => final.text + "\n").join("");
    case "srt":
      return cues(finals).map((cue, number) =>
        `${number + 1}\n${stamp(cue.start, ",")} --> ${stamp(cue.end, ",")}\n${cue.text}\n\n`).join("");
    case "vtt":
      return "WEBVTT\n\n" + cues(finals).map(cue =>
        `${stamp(cue.start, ".")} --> ${stamp(cue.end, ".")}\n${escape(cue.text)}\n\n`).join("");
    case "json":
      return JSON.stringify({...about, segments: finals.map(
        ({text, start_ms, end_ms, reason, tokens, hotwords, spoken, places, marks, second_pass}) =>
          ({text, start_ms, end_ms, reason, tokens, hotwords, spoken, places, marks, second_pass}))}, null, 2) + "\n";
  }
}

// Lines short enough to read: segments are cut between tokens, each with its own time.
export function cues(finals) {
  return finals.flatMap(final => {
    const found = [];
    let cue = null;
    const pieces = final.places?.length ? placed(final) : sought(final);
    if (!pieces) return [{text: final.text, start: final.start_ms, end: final.end_ms}];
    for (const {piece, start, end} of pieces) {
      if (!cue || end - cue.start > LONGEST_CUE_MS || width((cue.text + piece).trimEnd()) > WIDEST_CUE) {
        cue = {text: piece.trimStart(), start, end};
        found.push(cue);
      } else {
        cue.text += piece;
        cue.end = end;
      }
    }
    if (!cue) return [{text: final.text, start: final.start_ms, end: Math.max(final.end_ms, final.start_ms + 1)}];
    return found.map(each => ({...each, text: each.text.trimEnd()}));
  });
}

// Where the server says which characters each token became; the tokens of a number are one. What is behind a token, a
// comma or a space, stays with it.
function placed(final) {
  const characters = [...final.text], groups = [];
  final.tokens.forEach(([, start, end], number) => {
    const [from, to] = final.places[number] ?? [characters.length, characters.length], last = groups.at(-1);
    if (last && last.from === from && last.to === to) last.end = end;
    else groups.push({from, to, start, end});
  });
  return groups.map(({from, start, end}, number) => ({
    piece: characters.slice(number ? from : 0, groups[number + 1]?.from ?? characters.length).join(""), start, end}));
}

// Where the text is the tokens, with spaces between some; null where it is not.
function sought(final) {
  const pieces = [];
  let place = 0;
  for (const [token, start, end] of final.tokens) {
    const at = final.text.indexOf(token, place);
    if (at < 0) return null;
    pieces.push({piece: final.text.slice(place, at + token.length), start, end});
    place = at + token.length;
  }
  if (pieces.length) pieces.at(-1).piece += final.text.slice(place);
  return pieces;
}

function width(text) {
  return [...text].reduce((sum, character) => sum + (character > "\u2e80" ? 2 : 1), 0);
}

function stamp(ms, point) {
  const two = number => String(Math.floor(number)).padStart(2, "0");
  return `${two(ms / 3600000)}:${two(ms / 60000 % 60)}:${two(ms / 1000 % 60)}${point}${String(ms % 1000).padStart(3, "0")}`;
}

function escape(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
