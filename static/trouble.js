// What can go wrong, as a key of texts.js and the values in its sentence.

export class Trouble extends Error {
  constructor(key, values = {}) {
    super(key);
    this.key = key;
    this.values = values;
  }
}

const OF_MICROPHONE = {
  NotAllowedError: "no-permission", SecurityError: "no-permission", NotFoundError: "no-device",
  NotReadableError: "busy-device", AbortError: "busy-device", OverconstrainedError: "gone-device",
};

export function ofMicrophone(error) {
  return new Trouble(OF_MICROPHONE[error.name] ?? "busy-device");
}

// The sentence for an error message of the server that ends the session.
export function ofServer(error) {
  const seconds = error.retry_after_s ?? 5;
  if (error.field === "room") return new Trouble("room-closed");
  switch (error.code) {
    case "overloaded": return new Trouble("overloaded", {seconds});
    case "engine_away": return new Trouble("engine-away", {seconds});
    case "idle_timeout": return new Trouble("idle-timeout");
    case "bad_field": case "unsupported": case "too_large":
      return new Trouble("refused", {message: error.message, allowed: error.allowed ?? "–"});
    default: return new Trouble("internal", {message: error.message});
  }
}

// The sentence for how a connection closed, null where that was in order.
export function ofClose(code) {
  if (code === 1000) return null;
  return new Trouble({1001: "going-away", 1013: "overloaded", 1011: "internal"}[code] ?? "lost",
    {seconds: 5, message: code});
}
