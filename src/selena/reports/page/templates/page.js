"use strict";
(() => {
  const root = document.documentElement;
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const printed = matchMedia("print");
  const toggle = document.getElementById("theme");
  let chosen = null; // until somebody chooses, the system's preference counts

  function show() {
    const dark = !printed.matches && (chosen ?? prefersDark.matches);
    root.dataset.theme = dark ? "dark" : "light";
    toggle.setAttribute("aria-pressed", String(dark));
  }

  toggle.addEventListener("click", () => {
    chosen = root.dataset.theme !== "dark";
    show();
  });
  for (const query of [prefersDark, printed]) query.addEventListener("change", show);

  // The point under the pointer: the nearest of those that are not hidden, in pixels.
  function nearest(series, hidden, pointer, box) {
    let best = null;
    series.forEach((each, at) => {
      if (hidden.has(at)) return;
      each.x.forEach((x, i) => {
        const [left, top] = [x * box.width / 100, each.y[i] * box.height / 100];
        const inside = left >= 0 && left <= box.width && top >= 0 && top <= box.height;
        const distance = Math.hypot(left - pointer.x, top - pointer.y);
        if (inside && (!best || distance < best.distance)) {
          best = { distance, at, x, y: each.y[i], left, top, says: each.says[i] };
        }
      });
    });
    return best && best.distance <= 80 ? best : null;
  }

  for (const figure of document.querySelectorAll("figure")) {
    const series = figures[figure.dataset.figure];
    const hidden = new Set();
    const names = [...figure.querySelectorAll(".legend button")];
    const drawn = [...figure.querySelectorAll(".series")];
    const [drawing, tip, cursor] = [".drawing", ".tip", ".cursor"].map((s) => figure.querySelector(s));

    function read(event) {
      const box = drawing.getBoundingClientRect();
      const pointer = { x: event.clientX - box.left, y: event.clientY - box.top };
      const found = nearest(series, hidden, pointer, box);
      tip.hidden = !found;
      cursor.setAttribute("visibility", found ? "visible" : "hidden");
      if (!found) return;
      tip.textContent = `${names[found.at].textContent.trim()}: ${found.says}`;
      cursor.setAttribute("cx", `${found.x}%`);
      cursor.setAttribute("cy", `${found.y}%`);
      const room = box.width - tip.offsetWidth;
      const above = found.top - tip.offsetHeight - 12;
      tip.style.left = `${drawing.offsetLeft + Math.min(Math.max(0, found.left - tip.offsetWidth / 2), Math.max(0, room))}px`;
      tip.style.top = `${drawing.offsetTop + (above >= 0 ? above : found.top + 12)}px`;
    }

    function leave() {
      tip.hidden = true;
      cursor.setAttribute("visibility", "hidden");
    }

    for (const name of ["pointermove", "pointerdown"]) drawing.addEventListener(name, read);
    drawing.addEventListener("pointerleave", leave);
    names.forEach((button, at) => button.addEventListener("click", () => {
      hidden.has(at) ? hidden.delete(at) : hidden.add(at);
      button.setAttribute("aria-pressed", String(!hidden.has(at)));
      drawn[at].classList.toggle("hidden", hidden.has(at));
      leave();
    }));
  }

  // Numbers stand in data-value; what has none is sorted by its text, after all numbers.
  function compare(a, b) {
    const [x, y] = [a, b].map((cell) => cell.dataset.value?.replace("inf", "Infinity"));
    if (x !== undefined && y !== undefined) return Number(x) - Number(y);
    return a.textContent.localeCompare(b.textContent);
  }

  function sort(table, heading) {
    const headings = [...heading.parentNode.children];
    const at = headings.indexOf(heading);
    const rows = [...table.tBodies[0].rows];
    const numbers = rows.some((row) => row.cells[at].dataset.value !== undefined);
    // Figures are wanted from the highest, words from A.
    const first = numbers ? "descending" : "ascending";
    const second = numbers ? "ascending" : "descending";
    const order = heading.getAttribute("aria-sort") === first ? second : first;
    for (const each of headings) each.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const lacks = (row) => numbers && row.cells[at].dataset.value === undefined;
    rows.sort((a, b) => lacks(a) - lacks(b) || sign * compare(a.cells[at], b.cells[at]));
    table.tBodies[0].append(...rows);
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    for (const heading of table.tHead.rows[0].cells) {
      heading.querySelector("button").addEventListener("click", () => sort(table, heading));
    }
  }
  show();
})();
