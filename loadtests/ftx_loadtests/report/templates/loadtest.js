"use strict";
// The theme, which follows the system until it is switched. Without a script everything is on the page.
const root = document.documentElement;
root.classList.add("scripted");
document.getElementById("theme").addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
