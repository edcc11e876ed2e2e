"use strict";
(() => {
  const root = document.documentElement;
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const printed = matchMedia("print");
  const coarse = matchMedia("(pointer: coarse)");
  const toggle = document.getElementById("theme");
  let chosen = null; // until somebody chooses, the system's preference counts

  // "@name" or "@name/opacity" -> a color of the theme.
  function color(token) {
    const [name, opacity = "1"] = token.slice(1).split("/");
    const hex = getComputedStyle(root).getPropertyValue(`--${name}`).trim();
    const parts = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    return `rgba(${parts.join(",")},${opacity})`;
  }

  // Only keys that end in "color" hold tokens: a name from the data is never taken for one.
  function themed(value, key = "") {
    if (Array.isArray(value)) return value.map((each) => themed(each));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, themed(v, k)]));
    }
    return key.endsWith("color") && typeof value === "string" ? color(value) : value;
  }

  function axis(own) {
    return {
      gridcolor: "@grid", linecolor: "@line", zeroline: false, automargin: true, ...own,
      title: { text: own.title, standoff: 12, font: { size: 13 } },
    };
  }

  function layout(own, narrow) {
    return themed({
      ...own,
      xaxis: axis(own.xaxis),
      yaxis: axis(own.yaxis),
      uirevision: "kept", // what was hidden or zoomed stays so when the theme changes
      font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: "@text" },
      paper_bgcolor: "@surface/0",
      plot_bgcolor: "@surface/0",
      margin: { l: narrow ? 52 : 64, r: 12, t: 8, b: 48 },
      hoverlabel: { bgcolor: "@surface", bordercolor: "@line", font: { color: "@text" }, align: "left" },
      hovermode: own.hovermode ?? "closest",
      // A finger that drags means to scroll the page.
      dragmode: coarse.matches ? false : "zoom",
      showlegend: true,
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", bgcolor: "@surface/0" },
    });
  }

  function draw() {
    for (const place of document.querySelectorAll(".plot")) {
      const spec = figures[place.dataset.figure];
      const width = place.clientWidth;
      Plotly.react(place, themed(spec.data), { ...layout(spec.layout, width < 500), width }, {
        displayModeBar: false,
      });
    }
  }

  function show() {
    const dark = !printed.matches && (chosen ?? prefersDark.matches);
    root.dataset.theme = dark ? "dark" : "light";
    toggle.setAttribute("aria-pressed", String(dark));
    draw();
  }

  toggle.addEventListener("click", () => {
    chosen = root.dataset.theme !== "dark";
    show();
  });
  for (const query of [prefersDark, printed]) query.addEventListener("change", show);
  let waiting;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(draw, 100);
  });

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
