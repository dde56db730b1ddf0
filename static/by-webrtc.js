// Sound by WebRTC: one offer over HTTP, a track of Opus, and a data channel with the native protocol's messages.

const PATH = "/v1/webrtc";
const LONGEST_PIECE = 16000;
const ANSWER_WITHIN_MS = 15000;
const CONNECT_WITHIN_MS = 10000;
const GATHER_WITHIN_MS = 1500;
const DOUBT_MS = 4000;
// What was said when Stop was pressed is still on its way through the encoder.
const LAST_WORDS_MS = 150;

// Why this way cannot be gone; another may.
export class NoWay extends Error {
  constructor(key, values = {}) {
    super(key);
    this.key = key;
    this.values = values;
  }
}

// What the server offers. Asked when the page is opened too, so that the server is prepared when Start is pressed.
export async function ask() {
  return await (await fetch(PATH)).json();
}

export async function connect(stream, wishes, {onMessage, onClose}) {
  if (!window.RTCPeerConnection) throw new NoWay("why-browser");
  const about = await ask();
  if (!about.offered) throw new NoWay("why-off");
  const connection = new RTCPeerConnection({iceServers: about.ice_servers, bundlePolicy: "max-bundle"});
  const channel = connection.createDataChannel("captions");
  connection.addTransceiver(stream.getAudioTracks()[0], {direction: "sendonly", streams: [stream]});
  const place = await offer(connection);
  const state = {code: null, begunAt: null, closed: false};
  const close = () => {
    if (state.closed) return;
    state.closed = true;
    connection.close();
    onClose(state.code ?? 1006);
  };
  try {
    await opened(connection, channel);
  } catch (error) {
    connection.close();
    fetch(place, {method: "DELETE"}).catch(() => {});
    throw error;
  }
  const joined = joiner(whole => {
    const message = JSON.parse(whole);
    if (message.type !== "closing") return onMessage(message);
    state.code = message.code;
    close();
  });
  channel.onmessage = ({data}) => joined(data);
  channel.onclose = close;
  let doubt = 0;
  connection.onconnectionstatechange = () => {
    const now = connection.connectionState;
    clearTimeout(doubt);
    if (["failed", "closed"].includes(now)) close();
    // Browsers wait for long before they call it failed; meanwhile the other way may be there.
    if (now === "disconnected") doubt = setTimeout(close, DOUBT_MS);
  };
  for (const piece of split(JSON.stringify({type: "start", ...wishes}))) channel.send(piece);
  state.begunAt = performance.now();
  return {
    name: "WebRTC",
    get begunAt() { return state.begunAt; },
    send(message) {
      if (channel.readyState !== "open") return;
      for (const piece of split(JSON.stringify(message))) channel.send(piece);
    },
    stop() {
      setTimeout(() => this.send({type: "stop"}), LAST_WORDS_MS);
    },
    close() {
      state.code ??= 1005;
      close();
    },
  };
}

async function offer(connection) {
  await connection.setLocalDescription();
  await gathered(connection);
  if (!connection.localDescription.sdp.includes("a=candidate:")) {
    connection.close();
    throw new NoWay("why-timeout");
  }
  const answer = await fetch(PATH, {
    method: "POST", headers: {"Content-Type": "application/sdp"}, body: connection.localDescription.sdp,
    signal: AbortSignal.timeout(ANSWER_WITHIN_MS),
  }).catch(error => {
    connection.close();
    throw error.name === "TimeoutError" ? new NoWay("why-timeout") : error;
  });
  const body = await answer.text();
  if (answer.status !== 201) {
    connection.close();
    throw new NoWay("why-refused", {message: refusal(answer.status, body)});
  }
  await connection.setRemoteDescription({type: "answer", sdp: body});
  return answer.headers.get("Location");
}

// A proxy's page is no reason that anyone could read.
function refusal(status, body) {
  try {
    return JSON.parse(body).message;
  } catch {
    return `HTTP ${status}`;
  }
}

function gathered(connection) {
  return new Promise(done => {
    if (connection.iceGatheringState === "complete") done();
    connection.onicegatheringstatechange = () => connection.iceGatheringState === "complete" && done();
    setTimeout(done, GATHER_WITHIN_MS);
  });
}

function opened(connection, channel) {
  return new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new NoWay("why-timeout")), CONNECT_WITHIN_MS);
    channel.onopen = () => { clearTimeout(timer); done(); };
    connection.onconnectionstatechange = () => {
      if (connection.connectionState !== "failed") return;
      clearTimeout(timer);
      fail(new NoWay("why-timeout"));
    };
  });
}

// Long messages go and come in pieces: "+…" more follows, ".…" the last.
export function split(text) {
  const pieces = [];
  for (let start = 0; start < text.length; start += LONGEST_PIECE) pieces.push(text.slice(start, start + LONGEST_PIECE));
  return pieces.length < 2 ? [text] : pieces.map((piece, place) => (place < pieces.length - 1 ? "+" : ".") + piece);
}

export function joiner(take) {
  let begun = "";
  return piece => {
    if (piece.startsWith("+")) begun += piece.slice(1);
    else if (piece.startsWith(".")) { const whole = begun + piece.slice(1); begun = ""; take(whole); }
    else take(piece);
  };
}
