// Sound over a WebSocket: the recorder hands over samples, the server resamples them where it has to.

import {Trouble} from "./trouble.js";

const CONNECT_WITHIN_MS = 15000;
// Sound that the network does not take: then the connection is as good as lost, long before anybody says so.
const MOST_UNSENT_S = 6;
const GIVEN_UP = 4000;

// `first` is the message that opens the session or goes on with it. A session that is gone on with is sent nothing
// before `replay` says from where; `origin` is the recorder's sample at which the session began.
export async function connect(recorder, first, {onMessage, onClose}, origin = null, begunAt = null) {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}/v1/stream`);
  await opened(socket);
  let mostUnsent = MOST_UNSENT_S * recorder.rate * 2;
  let closed = false;
  const close = code => {
    if (closed) return;
    closed = true;
    socket.onmessage = socket.onclose = null;
    // Taken for dead: should it not be, the server is to know that this is no goodbye.
    if (code === 1006) socket.close(GIVEN_UP); else socket.close();
    onClose(code);
  };
  const send = block => {
    if (closed || socket.readyState !== WebSocket.OPEN) return;
    begunAt ??= performance.now() - 60;
    socket.send(block);
  };
  const sendLive = block => {
    send(block);
    if (socket.bufferedAmount > mostUnsent) close(1006);
  };
  socket.onmessage = ({data}) => onMessage(JSON.parse(data));
  socket.onclose = ({code}) => close(code);
  socket.send(JSON.stringify(first));
  if (origin === null) {
    origin = recorder.position;
    recorder.playTo(sendLive);
  }
  return {
    name: "WebSocket",
    origin,
    get begunAt() { return begunAt; },
    // Sends what was heard since the session's sample `from`, and what will be; how many seconds of it are lost.
    replay(from) {
      const lost = recorder.playTo(send, origin + from);
      recorder.take = sendLive;
      // What is sent all at once takes the network its time.
      mostUnsent += socket.bufferedAmount;
      return lost / recorder.rate;
    },
    send(message) {
      if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
    },
    stop() {
      recorder.stop();
      this.send({type: "stop"});
    },
    close() { close(1005); },
  };
}

function opened(socket) {
  return new Promise((done, fail) => {
    const timer = setTimeout(() => { socket.close(); fail(new Trouble("unreachable")); }, CONNECT_WITHIN_MS);
    socket.onopen = () => { clearTimeout(timer); done(); };
    socket.onclose = () => { clearTimeout(timer); fail(new Trouble("unreachable")); };
  });
}
