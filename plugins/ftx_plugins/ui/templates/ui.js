"use strict";
// What a reader gains from a script: pages that follow a run, the filter, the theme. Without it all pages are there, as
// they were when they were asked for.
const root = document.documentElement;
root.classList.add("scripted");

if (localStorage.theme) root.dataset.theme = localStorage.theme;
document.getElementById("theme").addEventListener("click", () => {
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = localStorage.theme = dark ? "light" : "dark";
});

const filter = document.getElementById("filter");
const applyFilter = () => {
  if (!filter) return;
  const wanted = filter.value.trim().toLowerCase();
  const rows = [...document.getElementById(filter.dataset.filters).rows];
  for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  const shown = rows.filter((row) => !row.hidden).length;
  document.getElementById("filtered").textContent = wanted ? `${shown} of ${rows.length}` : `${rows.length}`;
};
if (filter) {
  filter.addEventListener("input", applyFilter);
  filter.addEventListener("keydown", (event) => { if (event.key === "Enter") event.preventDefault(); });
  applyFilter();
}

for (const area of document.querySelectorAll("textarea")) {
  area.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) area.form.requestSubmit();
  });
}

// A part comes as HTML in which the server has escaped every text. What is focused, ticked or scrolled stays so.
const swap = (name, html) => {
  const place = document.getElementById(`part-${name}`);
  if (!place) return;
  if (place.closest("[hidden]") && html.trim()) {
    location.reload();  // the first run of a store: its page was made without a list
    return;
  }
  const focused = place.contains(document.activeElement) ? document.activeElement.id : "";
  const ticked = [...place.querySelectorAll(":checked")].map((each) => each.id);
  const scrolled = place.querySelector(".log")?.scrollTop ?? 0;
  place.innerHTML = html;
  for (const id of ticked) if (id && document.getElementById(id)) document.getElementById(id).checked = true;
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  const log = place.querySelector(".log");
  if (log) log.scrollTop = scrolled;
};

// A browser keeps few connections to one server: a page that nobody sees lets go of its own.
const live = document.getElementById("content").dataset.live;
let source = null;
let over = false;
const follow = () => {
  if (source || over || document.hidden) return;
  source = new EventSource(live);
  source.onmessage = (event) => {
    for (const [name, html] of Object.entries(JSON.parse(event.data))) swap(name, html);
    applyFilter();
  };
  source.addEventListener("over", () => { over = true; leave(); });
};
const leave = () => { source?.close(); source = null; };
if (live) {
  document.addEventListener("visibilitychange", () => (document.hidden ? leave() : follow()));
  addEventListener("pagehide", leave);
  addEventListener("pageshow", follow);
  follow();
}
