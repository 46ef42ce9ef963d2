"use strict";
(() => {
  const root = document.documentElement;
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const figures = read("figures");
  const tables = read("tables");
  const said = document.getElementById("said");
  const systemDark = window.matchMedia("(prefers-color-scheme: dark)");
  const touch = window.matchMedia("(pointer: coarse)").matches;

  // --- colours: "var:series-1/0.75" is the variable --series-1 of the theme, 75% opaque -----------

  const colour = /^var:([a-z0-9-]+)(?:\/([0-9.]+))?$/;

  function painter() {
    const style = getComputedStyle(root);
    return (name) => {
      const [, variable, opacity] = colour.exec(name);
      const hex = style.getPropertyValue("--" + variable).trim();
      if (!opacity) return hex;
      const [r, g, b] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
      return `rgba(${r},${g},${b},${opacity})`;
    };
  }

  function painted(value, paint) {
    if (typeof value === "string") return colour.test(value) ? paint(value) : value;
    if (Array.isArray(value)) return value.map((item) => painted(item, paint));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, painted(item, paint)]));
  }

  function fitted(axis, width) {  // fewer marks where there is little room for their labels
    if (axis.nticks) axis.nticks = Math.max(2, Math.min(axis.nticks, Math.floor(width / 85)));
    if (axis.tickvals) {
      const step = Math.ceil((axis.tickvals.length * 62) / width);
      axis.tickvals = axis.tickvals.filter((_, at) => at % step === 0);
      axis.ticktext = axis.ticktext?.filter((_, at) => at % step === 0);
    }
  }

  function layoutOf(given, paint, height, width) {
    const font = { family: getComputedStyle(document.body).fontFamily, size: 12, color: paint("var:soft") };
    const axis = {
      gridcolor: paint("var:grid"), zerolinecolor: paint("var:line"), linecolor: paint("var:line"),
      tickcolor: paint("var:line"), fixedrange: touch, tickangle: 0,
    };
    const layout = {
      font, height, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false,
      margin: { l: 52, r: 10, t: 6, b: 30 }, dragmode: touch ? false : "zoom",
      hoverlabel: {
        bgcolor: paint("var:surface"), bordercolor: paint("var:line"), align: "left",
        font: { ...font, color: paint("var:ink") },
      },
      ...painted(given, paint),
    };
    if (layout.xaxis) fitted(layout.xaxis, width);
    if (layout.hovermode === "x unified") layout.hoverdistance = -1;  // windows may be far apart
    for (const name of ["xaxis", "yaxis", "xaxis2", "yaxis2"]) {
      if (layout[name] || name === "xaxis" || name === "yaxis") layout[name] = { ...axis, ...layout[name] };
      if (layout[name]?.title) layout[name].title = { standoff: 6, font: { size: 11 }, ...layout[name].title };
    }
    return layout;
  }

  const hidden = Object.fromEntries(Object.keys(figures).map((key) => [key, new Set()]));
  const namesOf = (trace) => [trace.legendgroup, trace.name].filter(Boolean);

  const near = new Set();  // charts that have come near the screen: others are drawn when they do

  function drawOne(key) {
    if (!near.has(key)) return;
    const paint = painter();
    const figure = figures[key];
    const place = document.getElementById("chart-" + key);
    const layout = layoutOf(figure.layout, paint, figure.height, place.clientWidth);
    layout.autosize = !root.classList.contains("printing");
    if (!layout.autosize) layout.width = place.clientWidth;
    const data = painted(figure.data, paint);
    for (const trace of data) if (namesOf(trace).some((name) => hidden[key].has(name))) trace.visible = false;
    const config = {
      responsive: true, displayModeBar: false,  // a double click undoes a zoom
    };
    Plotly.react(place, data, layout, config);
  }

  function draw() {
    Object.keys(figures).forEach(drawOne);
  }

  const keyOf = (place) => place.id.replace(/^chart-/, "");
  const watch = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      watch.unobserve(target);
      near.add(keyOf(target));
      drawOne(keyOf(target));
    }
  }, { rootMargin: "800px 0px" });
  for (const place of document.querySelectorAll(".chart")) watch.observe(place);

  // --- legends: an entry switches its series off and on, in every chart that the legend is for -----

  for (const legend of document.querySelectorAll("ul.legend")) {
    const place = legend.closest("figure") || legend.closest("section");
    const keys = [...place.querySelectorAll(".chart")].map(keyOf);
    const names = new Set(keys.flatMap((key) => figures[key].data.flatMap(namesOf)));
    const entries = [...legend.children].filter((entry) => names.has(entry.textContent));
    if (entries.length < 2) continue;
    for (const entry of entries) {
      const name = entry.textContent;
      const toggle = document.createElement("button");
      toggle.type = "button";
      toggle.setAttribute("aria-pressed", "true");
      toggle.append(...entry.childNodes);
      entry.append(toggle);
      toggle.addEventListener("click", () => {
        const show = toggle.getAttribute("aria-pressed") === "false";
        toggle.setAttribute("aria-pressed", String(show));
        for (const key of keys) {
          if (show) hidden[key].delete(name);
          else hidden[key].add(name);
          drawOne(key);
        }
      });
    }
  }

  // --- theme --------------------------------------------------------------------------------------

  const themes = ["system", "light", "dark"];
  const button = document.getElementById("theme");
  const remembered = {  // a browser may keep nothing for pages opened from a file
    get: () => { try { return localStorage.getItem("planner-theme"); } catch { return null; } },
    set: (value) => { try { localStorage.setItem("planner-theme", value); } catch { /* as said */ } },
  };
  let theme = themes.includes(remembered.get()) ? remembered.get() : "system";

  function setTheme(next) {
    theme = next;
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
    const glyph = { system: "◐", light: "☀", dark: "☾" }[theme];
    button.textContent = `${glyph} ${theme}`;
    button.setAttribute("aria-label", `Colour theme: ${theme === "system" ? "as the system" : theme}`);
    draw();
  }

  button.addEventListener("click", () => {
    setTheme(themes[(themes.indexOf(theme) + 1) % themes.length]);
    remembered.set(theme);
    said.textContent = button.getAttribute("aria-label");
  });
  systemDark.addEventListener("change", draw);
  window.addEventListener("beforeprint", () => {  // on paper: light, and charts as wide as the sheet
    root.dataset.theme = "light";
    root.classList.add("printing");
    for (const key of Object.keys(figures)) near.add(key);
    draw();
  });
  window.addEventListener("afterprint", () => { root.classList.remove("printing"); setTheme(theme); });

  // --- tables -------------------------------------------------------------------------------------

  const filterOf = (element) => (element.dataset.filter ? JSON.parse(element.dataset.filter) : null);

  function rowsOf(name, filter) {
    const table = tables[name];
    if (!filter) return table.rows;
    const [column, value] = filter;
    const at = table.columns.findIndex((each) => each[0] === column);
    return table.rows.filter((row) => row[at] === value);
  }

  function quoted(value) {
    const text = value === null ? "" : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  function csvOf(name, filter) {
    const head = tables[name].columns.map((each) => each[0]);
    return [head, ...rowsOf(name, filter)].map((row) => row.map(quoted).join(",")).join("\n") + "\n";
  }

  async function copy(text) {
    try {
      return await navigator.clipboard.writeText(text);
    } catch {
      copyBySelection(text);  // pages opened from a file have no clipboard in some browsers
    }
  }

  function copyBySelection(text) {
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "unseen";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) throw new Error("the browser does not let this page copy");
  }

  function shown(value) {
    if (value === null) return "–";
    if (typeof value !== "number" || Number.isInteger(value)) return value.toLocaleString("en-US");
    return Number(value.toPrecision(4)).toLocaleString("en-US", { maximumFractionDigits: 9 });
  }

  function cell(tag, text, numeric, title) {
    const element = document.createElement(tag);
    element.textContent = text;
    if (numeric) element.className = "n";
    if (title) element.title = title;
    if (tag === "th") element.scope = "col";
    return element;
  }

  function build(name, filter, title) {
    const table = document.createElement("table");
    const caption = table.createCaption();
    caption.textContent = title;
    caption.className = "unseen";
    const head = table.createTHead().insertRow();
    const rows = rowsOf(name, filter);
    const numeric = tables[name].columns.map((_, at) => rows.some((row) => typeof row[at] === "number"));
    tables[name].columns.forEach(([column, unit, meaning], at) => {
      const label = unit && unit !== "1" && !column.endsWith("_" + unit) ? `${column} (${unit})` : column;
      head.append(cell("th", label, numeric[at], meaning));
    });
    const body = table.createTBody();
    for (const row of rows.slice(0, MOST_ROWS)) {
      const line = body.insertRow();
      row.forEach((value, at) => line.append(cell("td", shown(value), numeric[at])));
    }
    if (rows.length > MOST_ROWS) {
      const rest = body.insertRow().insertCell();
      rest.colSpan = tables[name].columns.length;
      rest.textContent = `${(rows.length - MOST_ROWS).toLocaleString("en-US")} more rows in the copy`;
    }
    return table;
  }

  const MOST_ROWS = 400;
  for (const details of document.querySelectorAll("details.data")) {
    const title = details.closest(".panel").querySelector("h3").textContent;
    details.addEventListener("toggle", () => {
      if (!details.open) return;
      for (const place of details.querySelectorAll(".scroll:empty")) {
        place.append(build(place.dataset.table, filterOf(place), `${title}: table ${place.dataset.table}`));
      }
    });
  }

  for (const copier of document.querySelectorAll("button[data-copy]")) {
    const word = copier.firstElementChild;
    const label = word.textContent;
    copier.addEventListener("click", async () => {
      try {
        const filter = filterOf(copier);
        await copy(csvOf(copier.dataset.copy, filter));
        word.textContent = "Copied";
        said.textContent = `${rowsOf(copier.dataset.copy, filter).length} rows copied as CSV`;
      } catch (error) {
        word.textContent = "Not copied";
        said.textContent = String(error.message || error);
      }
      setTimeout(() => { word.textContent = label; }, 1600);
    });
  }

  setTheme(theme);
})();
