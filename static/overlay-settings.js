// What an overlay's address says: /overlay?room=TOKEN&lines=2&size=48…

const NUMBERS = {
  lines: {least: 1, most: 8, usual: 2},
  size: {least: 16, most: 200, usual: 48},
  delay: {least: 0, most: 30, usual: 0},
  keep: {least: 1, most: 120, usual: 6},
  box: {least: 0, most: 100, usual: 60},
};
const SWITCHES = {names: "on"};
const NAMES = ["room", ...Object.keys(NUMBERS), ...Object.keys(SWITCHES)];
const LONGEST_TOLD = 20;

// The settings, and for each that could not be taken as it is: a key of texts.js and the values of its sentence.
export function read(search) {
  const settings = {room: "", ...SWITCHES}, complaints = [];
  for (const [name, {usual}] of Object.entries(NUMBERS)) settings[name] = usual;
  for (const [name, value] of new URLSearchParams(search)) {
    const told = {name: name.slice(0, LONGEST_TOLD), value: value.slice(0, LONGEST_TOLD)};
    if (!NAMES.includes(name)) {
      complaints.push({key: "overlay-unknown", values: {...told, allowed: NAMES.join(", ")}});
      continue;
    }
    const {used, allowed} = name in NUMBERS ? number(NUMBERS[name], value, name === "lines") : choice(name, value);
    settings[name] = used;
    if (allowed) complaints.push({key: "overlay-clamped", values: {...told, allowed, used}});
  }
  return {settings, complaints};
}

// `allowed` is told where `value` is not it.
function number({least, most, usual}, value, whole) {
  const given = value.trim() ? Number(value) : NaN;
  if (given >= least && given <= most && (!whole || Number.isInteger(given))) return {used: given};
  const near = Number.isFinite(given) ? Math.min(most, Math.max(least, whole ? Math.round(given) : given)) : usual;
  return {used: near, allowed: `${least}–${most}`};
}

function choice(name, value) {
  if (name === "room" || value === "on" || value === "off") return {used: value};
  return {used: SWITCHES[name], allowed: "on, off"};
}
