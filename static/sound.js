// Where the sound comes from, microphone or sample, and how loud it is.

import {Trouble, ofMicrophone} from "./trouble.js";

// The sample is followed by a moment of silence, so that its last word is whole.
const AFTER_SAMPLE_MS = 400;

export async function microphone(deviceId, processing) {
  if (!window.isSecureContext || !navigator.mediaDevices) throw new Trouble("insecure", {host: location.host});
  try {
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: {...processing, ...(deviceId ? {deviceId: {exact: deviceId}} : {})},
    });
    return {stream, end: () => stream.getTracks().forEach(track => track.stop())};
  } catch (error) {
    throw ofMicrophone(error);
  }
}

export async function microphones() {
  const devices = await navigator.mediaDevices?.enumerateDevices() ?? [];
  return devices.filter(device => device.kind === "audioinput" && device.deviceId && device.deviceId !== "default");
}

// `play` begins it, `onEnded` is called when it is over.
export async function sample() {
  const context = new AudioContext();
  try {
    const answer = await fetch("/static/sample.wav");
    if (!answer.ok) throw new Error(answer.statusText);
    const source = new AudioBufferSourceNode(context, {buffer: await context.decodeAudioData(await answer.arrayBuffer())});
    const destination = new MediaStreamAudioDestinationNode(context);
    source.connect(destination);
    source.connect(context.destination);
    return {
      stream: destination.stream,
      play(onEnded) {
        source.onended = () => setTimeout(onEnded, AFTER_SAMPLE_MS);
        source.start();
      },
      end() { source.onended = null; context.close(); },
    };
  } catch {
    await context.close();
    throw new Trouble("no-sample");
  }
}

// Calls `show` with 0 to 1, many times a second, until the returned function is called.
export function meter(stream, show) {
  const context = new AudioContext();
  const analyser = new AnalyserNode(context, {fftSize: 1024});
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  let frame = 0;
  const look = () => {
    analyser.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
    // From -60 dB, a quiet room, to 0 dB.
    show(Math.max(0, Math.min(1, 1 + 10 * Math.log10(power + 1e-10) / 60)));
    frame = requestAnimationFrame(look);
  };
  look();
  return () => { cancelAnimationFrame(frame); context.close(); show(0); };
}
