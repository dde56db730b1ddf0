// Sound over a WebSocket: an AudioWorklet hands over samples, the server resamples them where it has to.

import {Trouble} from "./trouble.js";

const CONNECT_WITHIN_MS = 15000;
const RATE = 16000;

export async function connect(stream, wishes, {onMessage, onClose}) {
  if (!window.AudioWorkletNode) throw new Trouble("old-browser");
  const sound = await listen(stream);
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}/v1/stream`);
  try {
    await opened(socket);
  } catch (error) {
    await sound.context.close();
    throw error;
  }
  let begunAt = null;
  socket.send(JSON.stringify({type: "start", ...wishes, sample_rate: sound.context.sampleRate}));
  sound.node.port.onmessage = ({data}) => {
    if (socket.readyState !== WebSocket.OPEN) return;
    begunAt ??= performance.now() - 60;
    socket.send(data);
  };
  socket.onmessage = ({data}) => onMessage(JSON.parse(data));
  socket.onclose = ({code}) => { sound.context.close(); onClose(code); };
  return {
    name: "WebSocket",
    get begunAt() { return begunAt; },
    send(message) {
      if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
    },
    stop() {
      sound.node.port.onmessage = null;
      this.send({type: "stop"});
    },
    close() { socket.close(); },
  };
}

async function listen(stream) {
  // Some browsers connect a microphone only at its own rate.
  for (const options of [{sampleRate: RATE}, {}]) {
    const context = new AudioContext(options);
    try {
      await context.audioWorklet.addModule("/static/pcm-worklet.js");
      const node = new AudioWorkletNode(context, "pcm", {numberOfInputs: 1, numberOfOutputs: 0, channelCount: 1,
        channelCountMode: "explicit"});
      context.createMediaStreamSource(stream).connect(node);
      await context.resume();
      return {context, node};
    } catch (error) {
      await context.close();
      if (!("sampleRate" in options)) throw new Trouble("old-browser");
    }
  }
}

function opened(socket) {
  return new Promise((done, fail) => {
    const timer = setTimeout(() => { socket.close(); fail(new Trouble("unreachable")); }, CONNECT_WITHIN_MS);
    socket.onopen = () => { clearTimeout(timer); done(); };
    socket.onclose = () => { clearTimeout(timer); fail(new Trouble("unreachable")); };
  });
}
