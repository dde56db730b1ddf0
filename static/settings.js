// What people choose, kept by the browser from visit to visit.

const KEY = "captions";
const DEFAULTS = {
  microphone: "", echoCancellation: false, noiseSuppression: false, autoGainControl: false, window: "", silence: 800, hotwords: "",
  way: "auto", times: true, name: "", theme: "auto", language: navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en",
};

function read() {
  try {
    return {...DEFAULTS, ...JSON.parse(localStorage.getItem(KEY) ?? "{}")};
  } catch {
    return {...DEFAULTS};
  }
}

const values = read();

export function get(name) {
  return values[name];
}

export function set(name, value) {
  values[name] = value;
  try {
    localStorage.setItem(KEY, JSON.stringify(values));
  } catch {
    // A browser that keeps nothing: the choice holds until the page is left.
  }
}
