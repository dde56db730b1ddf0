// Files on the page: dropped on it or chosen, how far they are, and how they are stopped.

import {clock} from "./captions.js";
import {FileRun} from "./file-run.js";
import {text} from "./texts.js";

const find = id => document.getElementById(id);

export class FilePanel {
  // `on`: refusal() tells why no file can be taken now, null where one can; wishes(), begun(), message(message),
  // note(key, values), ended(trouble or null).
  constructor(on) {
    this.on = on;
    this.run = null;
    this.done = [0, 0];
    find("choose").onclick = () => this.refused() || find("file").click();
    find("file").onchange = () => {
      const [file] = find("file").files;
      // Else the same file could not be chosen twice.
      find("file").value = "";
      if (file) this.take(file);
    };
    find("cancel").onclick = () => { this.run?.cancel(); find("choose").focus(); };
    this.takeDropped();
  }

  get busy() {
    return this.run !== null;
  }

  takeDropped() {
    const holdsFiles = event => [...event.dataTransfer?.types ?? []].includes("Files");
    const show = shown => { find("drop").hidden = !shown; };
    addEventListener("dragover", event => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      show(true);
    });
    // Without a related target it is the window that is left.
    addEventListener("dragleave", event => event.relatedTarget ?? show(false));
    addEventListener("drop", event => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      show(false);
      const files = [...event.dataTransfer.files];
      if (files.length) this.take(files[0], files.length > 1);
    });
  }

  // Says so where no file can be taken now.
  refused() {
    const refusal = this.busy ? "file-busy" : this.on.refusal();
    if (refusal) this.on.note(refusal);
    return refusal !== null;
  }

  take(file, oneOfMany = false) {
    if (this.refused()) return;
    const run = this.run = new FileRun(file, this.on.wishes(), {
      message: this.on.message, note: this.on.note, progress: (...done) => this.show(...done),
      ended: trouble => { this.run = null; this.finish(trouble); },
    });
    this.on.begun();
    if (oneOfMany) this.on.note("file-first", {name: file.name});
    find("file-name").textContent = file.name;
    find("file-panel").hidden = false;
    this.show(0, 0);
    run.begin();
  }

  // Seconds recognised, and in all; 0 in all: not known yet.
  show(...done) {
    this.done = done;
    const [now, all] = done;
    if (all) find("file-bar").value = now / all;
    else find("file-bar").removeAttribute("value");
    find("file-done").textContent = all ? text("file-done", {now: clock(1000 * now), all: clock(1000 * all)})
      : text("file-reading");
  }

  finish(trouble) {
    if (document.activeElement === find("cancel")) find("choose").focus();
    find("file-panel").hidden = true;
    this.on.ended(trouble);
  }

  translate() {
    this.show(...this.done);
  }
}
