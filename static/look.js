// Language and colours, which every page lets people choose.

import * as settings from "./settings.js";
import {currentLanguage, setLanguage, text, translate} from "./texts.js";

const THEMES = ["auto", "light", "dark"];
const find = id => document.getElementById(id);

// Puts the chosen language and colours on the page.
export function show() {
  setLanguage(settings.get("language"));
  translate();
  const theme = settings.get("theme");
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  find("language").textContent = text("other-language");
  find("language").lang = currentLanguage() === "zh" ? "en" : "zh";
  find("theme").textContent = text(`theme-${theme}`);
}

// `changed()` is called when someone has chosen.
export function bind(changed) {
  find("language").onclick = () => { settings.set("language", currentLanguage() === "zh" ? "en" : "zh"); changed(); };
  find("theme").onclick = () => {
    settings.set("theme", THEMES[(THEMES.indexOf(settings.get("theme")) + 1) % THEMES.length]);
    changed();
  };
}
