"use strict";
// What a reader gains from a script: searching the changed labels, the theme, the lineage of what is pointed at, the
// section in view. Without it everything is on the page.
const root = document.documentElement;
root.classList.add("scripted");

document.getElementById("theme").addEventListener("click", () => {
  const dark = getComputedStyle(root).colorScheme === "dark" ||
    (!root.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  root.dataset.theme = dark ? "light" : "dark";
});

for (const section of document.querySelectorAll(".changed")) {
  const rows = [...section.querySelectorAll(".flips li")];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const search = section.querySelector("input");
  const filters = [...section.querySelectorAll("select")];
  const counted = section.querySelector("output");
  const apply = () => {
    const wanted = search.value.trim().toLowerCase();
    let shown = 0;
    rows.forEach((row, place) => {
      const matches = texts[place].includes(wanted) &&
        filters.every((filter) => !filter.value || row.dataset[filter.dataset.filter].split(" ").includes(filter.value));
      row.hidden = !matches;
      shown += matches;
    });
    counted.textContent = shown === rows.length ? `${shown} rows` : `${shown} of ${rows.length} rows`;
  };
  for (const control of [search, ...filters]) control.addEventListener("input", apply);
  apply();
}

for (const graph of document.querySelectorAll(".graph")) {
  const lines = graph.querySelector(".arcs");
  for (const item of graph.querySelectorAll("li")) {
    const point = (on) => {
      lines.classList.toggle("pointing", on);
      for (const line of lines.querySelectorAll("path")) {
        line.classList.toggle("on", on && [line.dataset.from, line.dataset.to].includes(item.dataset.place));
      }
    };
    item.tabIndex = 0;
    item.addEventListener("pointerenter", () => point(true));
    item.addEventListener("pointerleave", () => point(false));
    item.addEventListener("focus", () => point(true));
    item.addEventListener("blur", () => point(false));
  }
}

const links = new Map([...document.querySelectorAll(".bar nav a")].map((link) => [link.hash.slice(1), link]));
const inView = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    for (const link of links.values()) link.removeAttribute("aria-current");
    const link = links.get(entry.target.id);
    link.setAttribute("aria-current", "true");
    const list = link.closest("nav");
    list.scrollLeft = link.offsetLeft - list.offsetLeft - list.clientWidth / 3;
  }
}, { rootMargin: "-15% 0px -75% 0px" });
for (const id of links.keys()) {
  const target = document.getElementById(id);
  if (target) inView.observe(target);
}

addEventListener("beforeprint", () => {
  for (const each of document.querySelectorAll("details")) each.open = true;
});
