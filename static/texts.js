// Everything the page says, in both languages. `{name}` is filled in.

import {ROOM_TEXTS} from "./room-texts.js";

const TEXTS = {
  en: {
    "title": "Live captions", "other-language": "中文", "transcript": "Captions", "level": "Level",
    "empty": "Press Start, allow the microphone, and speak. Without a microphone, play the sample or drop a file here.",
    "latest": "Jump to the latest", "start": "Start", "stop": "Stop", "sample": "Play the sample",
    "delay": "Delay", "time": "Time", "by": "Connection", "save-as": "Save as", "save": "Save", "clear": "Clear",
    "settings": "Settings", "microphone": "Microphone", "default-microphone": "The system's choice",
    "unnamed-microphone": "Microphone {number}", "processing": "What the browser does to the sound",
    "echo": "Echo cancellation", "noise": "Noise suppression", "gain": "Automatic gain",
    "processing-note": "Recognition is best with all three off; switch echo cancellation on where loudspeakers play.",
    "window": "Text comes", "window-choice": "every {hop} s, {ahead} s looked ahead",
    "window-default": "as the server is set",
    "window-note": "A word's text comes {least} to {most} s after it, and a little for computing.",
    "silence": "A line ends after silence of", "seconds": "{number} s",
    "silence-note": "Shorter: lines end sooner, also amid a sentence. Longer: whole sentences, later.",
    "way": "Connection", "way-auto": "WebRTC, else WebSocket", "show-times": "Show times",
    "settings-note": "Changes hold from the next start, hotwords at once.",
    "hotwords": "Hotwords, one a line",
    "hotwords-note": "Names and terms to listen for, also changed while speaking. Lines that have one show it marked.",
    "hotwords-refused": "The hotwords were not taken: {message} ({value}). Allowed: {allowed}. Change the list in the settings.",
    "hotwords-unspelt": "The model has no characters for {words}: these hotwords have no effect. Write them otherwise or leave them out.",
    "theme-auto": "Colours: system", "theme-light": "Colours: light", "theme-dark": "Colours: dark",
    "idle": "Not started", "connecting": "Connecting…", "reconnecting": "Connecting again…", "listening": "Listening", "speech": "Speech",
    "stopping": "Finishing the last words…", "ended": "Stopped",
    "fell-back": "WebRTC could not connect, so the sound goes over a WebSocket. Captions are the same; on a bad network they may lag. ({why})",
    "no-webrtc": "WebRTC could not connect ({why}). Choose “WebRTC, else WebSocket” in the settings and press Start again.",
    "why-timeout": "no way for UDP was found", "why-off": "the server has WebRTC switched off",
    "why-browser": "this browser has none", "why-refused": "the server said: {message}",
    "dropped": "Recognition is behind: some of what was said is lost. It goes on by itself; if this stays, the server is too busy.",
    "engine-failed": "A part of what was said could not be recognised. It goes on by itself.",
    "no-permission": "The microphone is not allowed. Click the icon at the left of the address, allow the microphone, and press Start again.",
    "no-device": "No microphone was found. Plug one in and press Start again, or play the sample.",
    "busy-device": "The microphone cannot be opened. Close other programs that use it, then press Start again, or choose another one in the settings.",
    "gone-device": "The microphone chosen in the settings is not there. Choose another one and press Start again.",
    "insecure": "Browsers give the microphone only to https pages and to this machine. Open https://{host} (the server needs a certificate: --tls auto), or play the sample.",
    "microphone-ended": "The microphone was unplugged or taken away. What was said is kept; press Start to go on.",
    "overloaded": "The server is full. Wait {seconds} s and press Start again.",
    "engine-away": "Recognition is restarting. Wait {seconds} s and press Start again.",
    "reconnecting-note": "The connection was lost and is being made again. Speak on: what you say meanwhile is kept and sent then.",
    "lost-some": "Of the time without a connection, {seconds} s could not be kept and are lost.",
    "not-resumed": "The connection was lost, and the server has not kept this session. What stands here is kept; what was said since the last line is lost. Press Start to go on.",
    "lost": "The connection was lost; what stands here is kept. Check the network and press Start to go on.",
    "unreachable": "The server cannot be reached. Check that it runs and that the network is there, then press Start again.",
    "going-away": "The server is being shut down. What stands here is kept; press Start again in a while.",
    "idle-timeout": "Nothing was heard for long, so the server ended the session. Press Start to go on.",
    "old-browser": "This browser cannot send sound. Use a current Firefox, Chrome, Edge or Safari.",
    "choose": "Transcribe a file", "drop": "Drop a sound or video file here to transcribe it.", "cancel": "Cancel",
    "transcribing": "Transcribing a file", "file-progress": "Progress", "file-reading": "Reading…",
    "file-done": "{now} of {all}",
    "file-first": "One file at a time: this is {name}. Drop the others when it is done.",
    "file-busy": "Something is being recognised already. Stop it, then choose the file again.",
    "file-empty": "{name} is empty. Choose another file.",
    "file-not-sound": "No sound could be read from {name}. Choose a sound or video file that this browser can play, or turn it into WAV.",
    "file-too-large": "{name} is too large to be decoded in a browser: at most {megabytes} MB. Turn it into WAV, which may be of any length, or cut it.",
    "file-too-long": "{name} is too long to be decoded in a browser: at most {minutes} minutes. Turn it into WAV, which may be of any length, or cut it.",
    "file-unreadable": "{name} can no longer be read. Choose it again.",
    "file-overloaded": "The server is full. Wait {seconds} s and choose the file again.",
    "file-engine-away": "Recognition is restarting. Wait {seconds} s and choose the file again.",
    "file-lost": "The connection was lost; what stands here is kept. Check the network and choose the file again.",
    "file-unreachable": "The server cannot be reached. Check that it runs and that the network is there, then choose the file again.",
    "file-going-away": "The server is being shut down. What stands here is kept; choose the file again in a while.",
    "file-refused": "The server did not accept this: {message}. Allowed: {allowed}. Change the settings and choose the file again.",
    "file-internal": "Something went wrong ({message}). Choose the file again; if it stays, the server's log says more.",
    "no-sample": "The sample could not be loaded. Reload the page, or use the microphone.",
    "refused": "The server did not accept this: {message}. Allowed: {allowed}. Change the settings and press Start again.",
    "internal": "The server made a mistake ({message}). Press Start again; if it stays, its log says more.",
  },
  zh: {
    "title": "实时字幕", "other-language": "English", "transcript": "字幕", "level": "音量",
    "empty": "按“开始”，允许使用麦克风，然后说话。没有麦克风时可以播放示例，或把文件拖到这里。",
    "latest": "回到最新", "start": "开始", "stop": "停止", "sample": "播放示例",
    "delay": "延迟", "time": "时间", "by": "连接", "save-as": "保存为", "save": "保存", "clear": "清空",
    "settings": "设置", "microphone": "麦克风", "default-microphone": "系统默认",
    "unnamed-microphone": "麦克风 {number}", "processing": "浏览器对声音的处理",
    "echo": "回声消除", "noise": "噪声抑制", "gain": "自动增益",
    "processing-note": "三项都关闭时识别最好；外放声音时请打开回声消除。",
    "window": "出字间隔", "window-choice": "每 {hop} 秒，向后看 {ahead} 秒",
    "window-default": "按服务器设置",
    "window-note": "文字在说出后 {least} 至 {most} 秒出现，另加少许计算时间。",
    "silence": "静音多久后断行", "seconds": "{number} 秒",
    "silence-note": "短：断行快，可能断在句中。长：句子完整，但出得晚。",
    "way": "连接方式", "way-auto": "WebRTC，不行则 WebSocket", "show-times": "显示时间",
    "settings-note": "更改在下次开始时生效，热词立即生效。",
    "hotwords": "热词，每行一个",
    "hotwords-note": "需要留意的人名和术语，说话时也可更改。识别到的热词会在字幕中标出。",
    "hotwords-refused": "热词未被接受：{message}（{value}）。允许：{allowed}。请在设置中更改。",
    "hotwords-unspelt": "模型没有 {words} 的字，这些热词不起作用。请换一种写法或去掉。",
    "theme-auto": "配色：跟随系统", "theme-light": "配色：浅色", "theme-dark": "配色：深色",
    "idle": "未开始", "connecting": "正在连接…", "reconnecting": "正在重新连接…", "listening": "正在听", "speech": "有人说话",
    "stopping": "正在完成最后的文字…", "ended": "已停止",
    "fell-back": "WebRTC 无法连接，声音改走 WebSocket。字幕相同；网络不好时可能变慢。（{why}）",
    "no-webrtc": "WebRTC 无法连接（{why}）。请在设置中选择“WebRTC，不行则 WebSocket”，再按“开始”。",
    "why-timeout": "找不到可用的 UDP 通路", "why-off": "服务器关闭了 WebRTC",
    "why-browser": "此浏览器不支持", "why-refused": "服务器的回答：{message}",
    "dropped": "识别跟不上，丢失了一部分内容。会自动继续；如果一直如此，说明服务器太忙。",
    "engine-failed": "有一部分内容没能识别。会自动继续。",
    "no-permission": "麦克风未被允许。请点击地址栏左侧的图标，允许麦克风，再按“开始”。",
    "no-device": "没有找到麦克风。请接上麦克风后再按“开始”，或播放示例。",
    "busy-device": "麦克风打不开。请关闭正在使用它的其他程序后再按“开始”，或在设置中选择另一个。",
    "gone-device": "设置中选择的麦克风不在了。请选择另一个，再按“开始”。",
    "insecure": "浏览器只允许 https 页面和本机使用麦克风。请打开 https://{host}（服务器需要证书：--tls auto），或播放示例。",
    "microphone-ended": "麦克风被拔出或占用。已有文字保留；按“开始”继续。",
    "overloaded": "服务器已满。请等 {seconds} 秒后再按“开始”。",
    "engine-away": "识别正在重启。请等 {seconds} 秒后再按“开始”。",
    "reconnecting-note": "连接断开，正在重新连接。请继续说话：这段时间的声音会保留，连上后再发送。",
    "lost-some": "断开期间有 {seconds} 秒的声音没能保留，已丢失。",
    "not-resumed": "连接断开，服务器没有保留这次会话。已有文字保留，最后一行之后说的内容丢失。按“开始”继续。",
    "lost": "连接断开；已有文字保留。请检查网络，再按“开始”继续。",
    "unreachable": "无法连接服务器。请确认服务器在运行、网络正常，再按“开始”。",
    "going-away": "服务器正在关闭。已有文字保留；请过一会儿再按“开始”。",
    "idle-timeout": "很久没有声音，服务器结束了会话。按“开始”继续。",
    "old-browser": "此浏览器不能发送声音。请使用新版 Firefox、Chrome、Edge 或 Safari。",
    "choose": "转写文件", "drop": "把音频或视频文件拖到这里转写。", "cancel": "取消",
    "transcribing": "正在转写文件", "file-progress": "进度", "file-reading": "正在读取…",
    "file-done": "{now} / {all}",
    "file-first": "一次一个文件：这是 {name}。完成后再拖入其他文件。",
    "file-busy": "正在识别别的内容。请先停止，再选择文件。",
    "file-empty": "{name} 是空的。请选择另一个文件。",
    "file-not-sound": "无法从 {name} 读出声音。请选择此浏览器能播放的音频或视频文件，或转换成 WAV。",
    "file-too-large": "{name} 太大，浏览器无法解码：最多 {megabytes} MB。请转换成 WAV（长度不限），或剪短。",
    "file-too-long": "{name} 太长，浏览器无法解码：最多 {minutes} 分钟。请转换成 WAV（长度不限），或剪短。",
    "file-unreadable": "无法再读取 {name}。请重新选择。",
    "file-overloaded": "服务器已满。请等 {seconds} 秒后再选择文件。",
    "file-engine-away": "识别正在重启。请等 {seconds} 秒后再选择文件。",
    "file-lost": "连接断开；已有文字保留。请检查网络，再选择文件。",
    "file-unreachable": "无法连接服务器。请确认服务器在运行、网络正常，再选择文件。",
    "file-going-away": "服务器正在关闭。已有文字保留；请过一会儿再选择文件。",
    "file-refused": "服务器不接受：{message}。允许：{allowed}。请更改设置后再选择文件。",
    "file-internal": "出错（{message}）。请再选择文件；如果仍然如此，请看服务器日志。",
    "no-sample": "示例无法加载。请刷新页面，或使用麦克风。",
    "refused": "服务器不接受：{message}。允许：{allowed}。请更改设置后再按“开始”。",
    "internal": "服务器出错（{message}）。请再按“开始”；如果仍然如此，请看服务器日志。",
  },
};
for (const [name, texts] of Object.entries(ROOM_TEXTS)) Object.assign(TEXTS[name], texts);

let language = "en";

export function setLanguage(wanted) {
  language = wanted in TEXTS ? wanted : "en";
}

export function currentLanguage() {
  return language;
}

export function text(key, values = {}) {
  return TEXTS[language][key].replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

// Puts the language's words where the page asks for them.
export function translate(root = document) {
  document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
  document.title = text("title");
  for (const element of root.querySelectorAll("[data-text]")) element.textContent = text(element.dataset.text);
  for (const element of root.querySelectorAll("[data-label]")) element.setAttribute("aria-label", text(element.dataset.label));
}

// For tests: both languages say the same things.
export const KEYS = Object.fromEntries(Object.entries(TEXTS).map(([name, texts]) => [name, Object.keys(texts)]));
