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

  function layoutOf(given, paint, height) {
    const font = { family: getComputedStyle(document.body).fontFamily, size: 12, color: paint("var:soft") };
    const axis = {
      gridcolor: paint("var:grid"), zerolinecolor: paint("var:line"), linecolor: paint("var:line"),
      tickcolor: paint("var:line"), fixedrange: touch,
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
    for (const name of ["xaxis", "yaxis", "xaxis2", "yaxis2"]) {
      if (layout[name] || name === "xaxis" || name === "yaxis") layout[name] = { ...axis, ...layout[name] };
      if (layout[name]?.title) layout[name].title = { standoff: 6, font: { size: 11 }, ...layout[name].title };
    }
    return layout;
  }

  function draw() {
    const paint = painter();
    for (const [key, figure] of Object.entries(figures)) {
      const place = document.getElementById("chart-" + key);
      const layout = layoutOf(figure.layout, paint, figure.height);
      const config = {
        responsive: true, displayModeBar: false,  // a double click undoes a zoom
      };
      Plotly.react(place, painted(figure.data, paint), layout, config);
    }
  }

  // --- theme --------------------------------------------------------------------------------------

  const themes = ["system", "light", "dark"];
  const button = document.getElementById("theme");
  let theme = "system";

  function setTheme(next) {
    theme = next;
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
    const glyph = { system: "◐", light: "☀", dark: "☾" }[theme];
    button.textContent = `${glyph} ${theme}`;
    button.setAttribute("aria-label", `Colour theme: ${theme === "system" ? "as the system" : theme}`);
    draw();
  }

  button.addEventListener("click", () => setTheme(themes[(themes.indexOf(theme) + 1) % themes.length]));
  systemDark.addEventListener("change", draw);
  window.addEventListener("beforeprint", () => { root.dataset.theme = "light"; draw(); });
  window.addEventListener("afterprint", () => setTheme(theme));

  // --- tables -------------------------------------------------------------------------------------

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

  function build(name, filter) {
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    const rows = rowsOf(name, filter);
    const numeric = tables[name].columns.map((_, at) => rows.some((row) => typeof row[at] === "number"));
    tables[name].columns.forEach(([column, unit, meaning], at) => {
      const label = unit && unit !== "1" && !column.endsWith("_" + unit) ? `${column} (${unit})` : column;
      head.append(cell("th", label, numeric[at], meaning));
    });
    const body = table.createTBody();
    for (const row of rows) {
      const line = body.insertRow();
      row.forEach((value, at) => line.append(cell("td", shown(value), numeric[at])));
    }
    return table;
  }

  for (const details of document.querySelectorAll("details.data")) {
    const filter = details.dataset.filter ? JSON.parse(details.dataset.filter) : null;
    details.addEventListener("toggle", () => {
      const place = details.querySelector(".scroll");
      if (details.open && !place.firstChild) place.append(build(details.dataset.table, filter));
    });
  }

  for (const copier of document.querySelectorAll("button[data-copy]")) {
    const filter = copier.dataset.filter ? JSON.parse(copier.dataset.filter) : null;
    const label = copier.textContent;
    copier.addEventListener("click", async () => {
      try {
        await copy(csvOf(copier.dataset.copy, filter));
        copier.textContent = "Copied";
        said.textContent = `${rowsOf(copier.dataset.copy, filter).length} rows copied as CSV`;
      } catch (error) {
        copier.textContent = "Not copied";
        said.textContent = String(error.message || error);
      }
      setTimeout(() => { copier.textContent = label; }, 1600);
    });
  }

  setTheme("system");
})();
