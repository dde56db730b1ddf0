// Runs in the page before its own code: hears the microphone's track by the page's worklet, the server's messages by
// the page's data channel, and sees the captions change.
(() => {
  const blocks = [], stamps = [], changes = [], finals = [];
  let partial = null;
  const record = window.record = {ready: null};

  const getUserMedia = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async wishes => {
    const stream = await getUserMedia(wishes);
    const context = new AudioContext({sampleRate: 16000});
    await context.audioWorklet.addModule("/static/pcm-worklet.js");
    const node = new AudioWorkletNode(context, "pcm", {numberOfInputs: 1, numberOfOutputs: 0, channelCount: 1,
      channelCountMode: "explicit"});
    node.port.onmessage = ({data}) => {
      stamps.push(performance.now());
      blocks.push(new Int16Array(data));
    };
    context.createMediaStreamSource(stream).connect(node);
    return stream;
  };

  const createDataChannel = RTCPeerConnection.prototype.createDataChannel;
  RTCPeerConnection.prototype.createDataChannel = function (...given) {
    const channel = createDataChannel.apply(this, given);
    let begun = "";
    // Before the page's own: what it changes then is this message's doing.
    channel.addEventListener("message", ({data}) => {
      if (data.startsWith("+")) { begun += data.slice(1); return; }
      const message = JSON.parse(data.startsWith(".") ? begun + data.slice(1) : data);
      if (data.startsWith(".")) begun = "";
      partial = message.type === "partial" ? message : null;
      if (message.type === "ready") record.ready = message;
      if (message.type === "final") finals.push(message);
    });
    return channel;
  };

  addEventListener("DOMContentLoaded", () => {
    new MutationObserver(() => {
      if (partial) changes.push([performance.now(), partial]);
    }).observe(document.getElementById("segments"), {subtree: true, childList: true, characterData: true});
  });

  record.take = () => {
    const whole = new Uint8Array(blocks.reduce((sum, block) => sum + block.byteLength, 0));
    let at = 0;
    for (const block of blocks) { whole.set(new Uint8Array(block.buffer), at); at += block.byteLength; }
    let text = "";
    for (let begin = 0; begin < whole.length; begin += 32768)
      text += String.fromCharCode(...whole.subarray(begin, begin + 32768));
    return {sound: btoa(text), stamps, changes, ready: record.ready, finals};
  };
})();
