// The page: header, navigation, sections.

let toolbar = null;
function redrawSelectors() {
  if (!toolbar) return;
  const focus = document.activeElement && toolbar.contains(document.activeElement) ? [...toolbar.querySelectorAll("input,select")].indexOf(document.activeElement) : -1;
  clear(toolbar.box).append(selectors());
  toolbar.summary.textContent = where(true) || "variants";
  if (focus >= 0) { const f = toolbar.querySelectorAll("input,select")[focus]; if (f) f.focus(); }
}

function applyTheme() {
  const t = extra("theme", "auto");
  document.documentElement.dataset.theme = printing ? "light" : t;
}

function header() {
  const names = [...new Set(page.docs.map(d => words(d.name)))];
  const platforms = [...new Set(page.docs.flatMap(d => { const i = d.keys.indexOf("platform"); return i < 0 ? [] : d.values[i]; }))];
  const theme = el("button", {type: "button", class: "plain theme", on: {click: () => {
    const order = ["auto", "light", "dark"];
    state.extra.theme = order[(order.indexOf(extra("theme", "auto")) + 1) % 3];
    applyTheme();
    label();
    changed(["theme"]);
  }}});
  const label = () => { const t = extra("theme", "auto"); theme.textContent = {auto: "\u25d0 Auto", light: "\u25cb Light", dark: "\u25cf Dark"}[t] || t; theme.setAttribute("aria-label", "Colours: " + t + ". Change"); };
  label();
  return el("header", {class: "top"}, el("div", {class: "brand"}, el("h1", null, "dmapath"), el("p", null, names.join(", ") + (platforms.length ? " on " + platforms.join(", ") : ""))), theme);
}

function section(id, title, draw, intro) {
  const body = el("div", {class: "body"});
  const s = el("section", {id, "aria-labelledby": id + "-title", tabindex: "-1"}, el("h2", {id: id + "-title"}, title), intro ? el("p", {class: "intro"}, intro) : null, body);
  document.getElementById("app").querySelector("main").append(s);
  guarded(draw, body);
  return [id, title];
}

// guarded draws a section; one that fails says so and leaves the others alone.
function guarded(draw, box) {
  try {
    draw(box);
  } catch (e) {
    console.error(e);
    box.append(el("p", {class: "sub"}, "This section could not be drawn: " + e.message));
  }
}

function go(id) {
  const s = document.getElementById(id);
  if (!s) return;
  s.scrollIntoView({block: "start"});
  s.focus({preventScroll: true});
}

function drawWarnings(box) {
  for (const d of page.docs) if (d.warnings.length) box.append(el("div", null, page.docs.length > 1 ? el("h3", {class: "docname"}, words(d.name), el("span", {class: "file"}, d.file)) : null, el("ul", {class: "warnings"}, d.warnings.map(w => el("li", null, w)))));
}

function drawRun(box) {
  const m = page.manifest;
  for (const d of page.docs) {
    const rows = [["file", d.file], ["command", d.command], ["tool", d.version && "dmapath " + d.version], ["seed", d.seed], ["configuration (SHA-256)", d.hash]].filter(r => r[1]);
    const extraText = page.checked.includes(d.file) ? "Size and digest are those of the manifest." : m ? "The manifest does not name this file." : "";
    add(box, [el("h3", {class: "docname"}, words(d.name)), el("dl", {class: "facts wide"}, rows.map(([k, v]) => el("div", null, el("dt", null, k), el("dd", null, el("code", null, v))))), extraText ? el("p", {class: "sub"}, extraText) : null]);
    if (m && page.checked.includes(d.file) && d.hash && d.hash !== m.hash) box.append(el("p", {class: "sub"}, "The manifest has another configuration than this document says: " + m.hash + "."));
  }
  if (m) {
    const by = page.docs.find(d => page.checked.includes(d.file) && /^dmapath compare\b/.test(d.command) && d.hash === m.hash);
    box.append(el("h3", {class: "docname"}, "Manifest"));
    if (by) box.append(el("p", {class: "sub"}, "The same program repeats the run byte by byte:"), el("pre", {class: "cmd"}, by.command.replace(/ --(config|out)[= ]\S+/g, "") + " --config manifest.yaml --out again"));
    else box.append(el("p", {class: "sub"}, "It documents the run: the values below are all that it depends on."));
    if (m.command.length) box.append(el("p", {class: "sub"}, "Arguments when it was written:"), el("pre", {class: "cmd"}, "dmapath " + m.command.join(" ")));
    for (const [name, text] of m.sections) box.append(el("details", {class: "tableitem"}, el("summary", null, "Configuration: " + words(name), el("span", {class: "count"}, text.split("\n").length - 1 + " lines")), el("pre", {class: "config", tabindex: "0"}, text)));
    if (page.checked.length) box.append(el("details", {class: "tableitem"}, el("summary", null, "Files with the manifest's size and digest", el("span", {class: "count"}, String(page.checked.length))), el("p", {class: "sub"}, page.checked.join(", "))));
    if (page.missing.length) box.append(el("p", {class: "sub"}, "Named by the manifest and not in the directory: " + page.missing.join(", ") + "."));
  }
  if (page.skipped.length) box.append(el("p", {class: "sub"}, "Not read, because they are no results documents: " + page.skipped.join(", ") + "."));
}

// drawOther is the first screen of a directory without runs: what the documents are, and the first tables.
function drawOther(box) {
  if (hazardCells.length) {
    const n = s => hazardCells.filter(c => c.status === s).length;
    box.append(el("div", {class: "headline"}, el("p", {class: "eyebrow"}, hazardAxes.kernel.map(k => "Linux " + k).join(", ")), el("h2", {id: "answer-title"}, "Of ", el("strong", null, num(hazardCells.length)), " cells, ", el("strong", null, num(n("fatal"))), " crash and ", el("strong", null, num(n("hazard"))), " give wrong data or access."),
      el("p", {class: "lead"}, num(n("ok")) + " work; in " + num(n("error")) + " the kernel refuses, " + "in " + num(n("impossible")) + " the call cannot be made, " + num(n("not modelled")) + " are not modelled.")), el("details", {class: "inner"}, el("summary", null, "By call"), breakdownByCall()));
    return;
  }
  const checks = page.docs.find(d => d.name === "Validate");
  if (checks) {
    const v = checks.keys.indexOf("verdict"), rows = new Map();
    for (const p of checks.points) rows.set(JSON.stringify(p.at), v >= 0 && p.at[v] >= 0 ? checks.values[v][p.at[v]] : "");
    const by = new Map();
    for (const x of rows.values()) by.set(x, (by.get(x) || 0) + 1);
    box.append(el("div", {class: "headline"}, el("p", {class: "eyebrow"}, "validation"), el("h2", {id: "answer-title"}, el("strong", null, num(by.get("ok") || 0)), " of ", el("strong", null, num(rows.size)), " rows are within their tolerance."),
      el("p", {class: "lead"}, [...by].filter(x => x[0] !== "ok").map(([k, n]) => num(n) + " " + (k === "MISS" ? "miss" : k)).join(", ") || "None is outside.")));
    add(box, misses(checks));
  }
  // What a document puts first is what it found; a title of several sentences says it.
  const others = page.docs.filter(d => d !== checks);
  let title = checks ? null : "answer-title";
  for (const d of others.slice(0, 3)) {
    const t = d.tables[0], cut = t ? t.title.indexOf(". ") : -1;
    box.append(el("div", {class: "headline"}, el("p", {class: "eyebrow"}, words(d.name)), el("h2", {id: title}, !t ? words(d.name) : cut > 0 ? t.title.slice(0, cut + 1) : t.title || words(d.name)), cut > 0 ? el("p", {class: "lead"}, t.title.slice(cut + 2)) : null));
    if (t) { shownFirst.add(t); box.append(dataTable(t)); }
    title = null;
  }
  if (others.length > 3) box.append(el("p", {class: "sub"}, others.length - 3 + " more documents are below."));
  if (checks && checks.tables.length) box.append(dataTable(checks.tables[0]));
}

// misses are the rows of a validation that are outside their tolerance.
function misses(doc) {
  const rows = new Map();
  for (const p of doc.points) {
    const d = dims(doc, p.at);
    if (d.verdict !== "MISS") continue;
    const m = values(doc, p), find = name => Object.keys(m).find(k => k === name || k.startsWith(name + "_"));
    const at = k => find(k) && m[find(k)].v;
    rows.set(JSON.stringify(p.at), [d.check, d.set, d.what, at("predicted"), at("reference"), find("predicted") ? m[find("predicted")].unit : "", at("error_percent")]);
  }
  return rows.size ? dataTable({title: "Outside their tolerance", exact: true, columns: [["check", ""], ["set", ""], ["what", ""], ["model", ""], ["reference", ""], ["unit", ""], ["error", "%"]], rows: [...rows.values()], notes: []}) : null;
}

function breakdownByCall() {
  return dataTable({title: "Cells by call", exact: true, columns: [["call", ""], ["kernel", ""], ...statusRank.slice().reverse().map(s => [statusSign[s] + " " + statusWord[s], ""])],
    rows: hazardAxes.kernel.flatMap(k => hazardAxes.call.map(c => { const of = hazardCells.filter(x => x.call === c && x.kernel === k); return of.length ? [c, k, ...statusRank.slice().reverse().map(s => of.filter(x => x.status === s).length)] : null; }).filter(Boolean)), notes: []});
}

function start0() {
  readRuns();
  readHazards();
  readState();
  applyTheme();
  const app = clear(document.getElementById("app")), nav = el("nav", {"aria-label": "Sections"}), main = el("main");
  app.append(header());
  if (runs.length && (variants.length > 1 || axes.some(a => a.values.length > 1))) {
    const summary = el("span", {class: "now"}), holder = el("div");
    toolbar = el("details", {class: "toolbar"}, el("summary", null, el("span", {class: "label"}, "Selection"), summary), holder);
    toolbar.box = holder;
    toolbar.summary = summary;
    toolbar.open = innerWidth > 760;
    app.append(toolbar);
    whenChanged(["sel"], redrawSelectors);
  }
  app.append(nav, main);
  const sections = [];
  const first = el("section", {id: "answer", "aria-labelledby": "answer-title", tabindex: "-1"});
  main.append(first);
  guarded(runs.length ? drawAnswer : drawOther, first);
  sections.push(["answer", "Answer"]);
  if (runs.length > 1) sections.push(section("overview", "Everywhere", drawOverview));
  if (runs.some(r => r.swept)) sections.push(section("sweep", "Sweep", drawSweep));
  if (runs.some(r => calls.some(c => (r.steps[c] || []).length))) sections.push(section("steps", "Steps", drawSteps, "Where the cycles of a call go. A letter stands for a function; a segment says its name when it is pointed at or focused."));
  if (distNames().length) sections.push(section("latency", "Distribution", drawDistributions, "Drag to zoom; with the keyboard, arrow keys read values off, + and \u2212 zoom, 0 shows everything."));
  if (runs.some(r => r.series.length)) sections.push(section("time", "Over time", drawSeries));
  if (conclusions().length) sections.push(section("sure", "How sure", drawSure));
  if (hazardCells.length) sections.push(section("hazards", "Hazards", drawHazards));
  if (page.docs.some(d => d.warnings.length)) sections.push(section("warnings", "Warnings", drawWarnings));
  if (page.docs.some(d => d.tables.length)) sections.push(section("tables", "Tables", drawTables));
  sections.push(section("run", "The run", drawRun));
  nav.append(el("ul", null, sections.map(([id, title]) => el("li", null, el("a", {href: "#" + id}, title)))));
  document.addEventListener("click", ev => {
    const a = ev.target.closest && ev.target.closest("a[href^='#']");
    if (!a) return;
    ev.preventDefault();
    go(a.getAttribute("href").slice(1));
  });
  app.append(el("footer", null, el("p", null, "Cycles are simulated, exact and repeatable; intervals are about the workload's randomness, not about the model. Charts: uPlot, MIT licence (its text is in this file)."), el("details", null, el("summary", null, "Licence of uPlot"), el("pre", {class: "config"}, document.getElementById("licence").content.textContent))));
  const at = location.hash.slice(1);
  if (at && !at.includes("=") && document.getElementById(at)) go(at);
  else writeState();
}

addEventListener("hashchange", () => {
  const at = location.hash.slice(1);
  if (at && !at.includes("=")) { go(at); return; }
  readState();
  applyTheme();
  changed(null);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => changed(["theme"]));
addEventListener("beforeprint", () => {
  printing = true;
  applyTheme();
  for (const d of document.querySelectorAll("details.tableitem")) if (d.draw && !d.hidden) { d.draw(); if (!d.open) { d.open = true; d.dataset.printed = "1"; } }
  for (const c of charts) c.build();
});
addEventListener("afterprint", () => {
  printing = false;
  applyTheme();
  for (const d of document.querySelectorAll("details[data-printed]")) { d.open = false; delete d.dataset.printed; }
  for (const c of charts) c.build();
});

start0();
