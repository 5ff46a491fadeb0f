// The hazard matrix: what happens when a call meets a kind of memory on a backend.

const statusSign = {ok: "\u2713", hazard: "\u25b2", fatal: "\u2716", error: "\u2298", impossible: "\u2013", "not modelled": "?"};
const statusWord = {ok: "works", hazard: "wrong data or access", fatal: "crashes", error: "kernel refuses", impossible: "call cannot be made", "not modelled": "not modelled"};
const statusRank = ["not modelled", "impossible", "ok", "error", "hazard", "fatal"];

// Cells: {platform, kernel, call, memory, backend, status, m, hazards: [{kind, step, inferred}], doc}.
const hazardDocs = [], hazardCells = [];
const hazardAxes = {};

function readHazards() {
  for (const doc of page.docs) {
    const cells = new Map();
    for (const p of doc.points) {
      const d = dims(doc, p.at);
      if (d.call === undefined || d.memory === undefined || d.status === undefined || d.backend === undefined) continue;
      const key = JSON.stringify([d.kernel, d.call, d.memory, d.backend]);
      if (d.hazard !== undefined) {
        const c = cells.get(key);
        if (c) c.hazards.push({kind: d.hazard, step: d.step || "", inferred: d.inferred === "yes"});
        continue;
      }
      const c = {platform: d.platform, kernel: d.kernel || "", call: d.call, memory: d.memory, backend: d.backend, status: d.status, m: values(doc, p), hazards: [], doc};
      cells.set(key, c);
    }
    if (cells.size) { hazardDocs.push(doc); hazardCells.push(...cells.values()); }
  }
  for (const k of ["kernel", "call", "memory", "backend"]) {
    hazardAxes[k] = [];
    for (const c of hazardCells) if (!hazardAxes[k].includes(c[k])) hazardAxes[k].push(c[k]);
  }
}

// The matrix has shorter names of backends than compare.
function hazardBackend(b) {
  const names = hazardAxes.backend || [], short = b.replace(/^iommu-/, "");
  return names.includes(b) ? b : names.includes(short) ? short : names.find(n => b && n.replace(/-/g, "") === b.replace(/-force$/, "").replace(/-/g, "")) || short;
}

// codes of hazards by their kind, as the document's own table explains them.
function hazardCodes(doc) {
  const t = doc.tables.find(t => t.id === "hazards_found"), o = new Map();
  if (t) for (const r of t.rows) if (typeof r[1] === "string") o.set(r[1].replace(/ \(fatal\)$/, ""), String(r[0]));
  return o;
}

function memoryText(doc, memory) {
  for (const t of doc.tables) {
    const m = t.title.match(/^Linux [^,]*, ([^:]*): (.*)$/);
    if (m && m[1] === memory) return m[2];
  }
  return "";
}

function drawHazards(box) {
  const detail = el("section", {class: "hazard-detail", "aria-live": "polite"});
  const codesOf = new Map(hazardDocs.map(d => [d, hazardCodes(d)]));
  const dimsOf = {call: "call", memory: "memory", backend: "backend"};
  whenChanged(["hk", "hv", "hcall", "hmemory", "hbackend"], () => {
    clear(box);
    const pickOf = (k, q) => hazardAxes[k].includes(extra(q)) ? extra(q) : null;
    const kernels = hazardAxes.kernel, kernel = pickOf("kernel", "hk") || kernels[kernels.length - 1];
    const fixed = dimsOf[extra("hv")] || "backend", q = "h" + fixed;
    const sel = state.sel.backend ? hazardBackend(state.sel.backend) : "";
    const value = pickOf(fixed, q) || (fixed === "backend" && hazardAxes.backend.includes(sel) ? sel : hazardAxes[fixed][0]);
    const [rowsBy, colsBy] = fixed === "backend" ? ["call", "memory"] : fixed === "memory" ? ["call", "backend"] : ["memory", "backend"];
    const cells = hazardCells.filter(c => c.kernel === kernel && c[fixed] === value);
    const rows = hazardAxes[rowsBy].filter(v => cells.some(c => c[rowsBy] === v)), all = hazardAxes[colsBy].filter(v => cells.some(c => c[colsBy] === v));
    const cols = all.filter(v => cells.some(c => c[colsBy] === v && c.status !== "impossible")), none = all.filter(v => !cols.includes(v));
    box.append(el("div", {class: "row"}, kernels.length > 1 ? choice("kernel", kernels.map(k => [k, "Linux " + k]), kernel, v => setExtra("hk", v)) : null,
      choice("show", [["backend", "calls \u00d7 memories"], ["memory", "calls \u00d7 backends"], ["call", "memories \u00d7 backends"]], fixed, v => setExtra("hv", v)),
      menu("of one " + fixed, hazardAxes[fixed].map(v => [v, v]), value, v => setExtra(q, v))));
    if (fixed === "memory") box.append(el("p", {class: "sub"}, value + ": " + memoryText(hazardDocs[0], value)));
    const buttons = [];
    const body = rows.map(r => {
      const line = [];
      const tr = el("tr", null, el("th", {scope: "row"}, code(r)), cols.map(c => {
        const x = cells.find(y => y[rowsBy] === r && y[colsBy] === c);
        if (!x) return el("td", null);
        const codes = codesOf.get(x.doc), names = [...new Set(x.hazards.map(h => (codes.get(h.kind) || h.kind) + (h.inferred ? "*" : "")))];
        const a = x.m.map_mean_cycles, b = x.m.unmap_mean_cycles, cycles = a && b && a.v !== null && b.v !== null ? num(a.v + b.v, 0) : null;
        const text = x.status === "ok" ? cycles || "ok" : names.length ? names.join(" ") : {error: "ERR", impossible: "n/a", "not modelled": ""}[x.status] || "";
        const btn = el("button", {type: "button", class: "cell st-" + x.status.replace(" ", "-"), "aria-label": r + ", " + c + ": " + statusWord[x.status] + (names.length ? ", " + x.hazards.map(h => h.kind).join(", ") : "") + (x.status === "ok" && cycles ? ", " + cycles + " cycles" : ""),
          on: {click: () => { for (const l of buttons) for (const o of l) o.removeAttribute("aria-pressed"); btn.setAttribute("aria-pressed", "true"); explain(x); }}},
          el("span", {class: "sign", "aria-hidden": "true"}, statusSign[x.status] || ""), " ", text);
        line.push(btn);
        return el("td", null, btn);
      }));
      buttons.push(line);
      return tr;
    });
    roving(buttons);
    const tally = statusRank.filter(s => cells.some(c => c.status === s)).reverse();
    box.append(el("ul", {class: "keyline"}, tally.map(s => el("li", {class: "st st-" + s.replace(" ", "-")}, statusSign[s] + " " + statusWord[s] + ": " + cells.filter(c => c.status === s).length))),
      captioned("Hazard matrix", "Linux " + kernel + ", " + fixed + " " + value + ". What works shows the cycles of map and unmap together; codes are explained below when a cell is chosen, * is read from the source and seen by nobody." + (none.length ? " No call can be made with " + none.join(", ") + "." : ""), el("table", {class: "matrix"},
        el("thead", null, el("tr", null, el("th", {scope: "col"}, rowsBy), cols.map(c => el("th", {scope: "col"}, c)))), el("tbody", null, body))), detail);
    clear(detail).append(el("p", {class: "sub"}, "Choose a cell: click, or arrow keys and Enter."));
  });

  function explain(x) {
    const doc = x.doc, codes = codesOf.get(doc), found = doc.tables.find(t => t.id === "hazards_found"), errors = doc.tables.find(t => t.id === "hazards_errors");
    clear(detail).append(el("h4", null, code(x.call), " on " + x.memory + ", backend " + x.backend + ", Linux " + x.kernel), el("p", {class: "st st-" + x.status.replace(" ", "-")}, statusSign[x.status] + " " + statusWord[x.status]));
    const mem = memoryText(doc, x.memory);
    if (mem) detail.append(el("p", {class: "sub"}, x.memory + ": " + mem));
    const facts = [];
    for (const [name, label, unit] of [["map_mean_cycles", "map", "cycles"], ["unmap_mean_cycles", "unmap", "cycles"], ["map_instructions", "map", "instructions"], ["unmap_instructions", "unmap", "instructions"], ["beside_bytes", "reachable beside the buffer", "bytes"]]) {
      const m = x.m[name];
      if (m && m.v !== null) facts.push([label, num(m.v) + " " + unit]);
    }
    for (const [name, label] of [["reached_after_unmap", "device reaches the buffer after the unmap"], ["reached_20ms_after_unmap", "and 20 ms later"]]) {
      const m = x.m[name];
      if (m) facts.push([label, m.v ? "yes" : "no"]);
    }
    if (facts.length) detail.append(el("dl", {class: "facts"}, facts.map(([k, v]) => el("div", null, el("dt", null, k), el("dd", null, v)))));
    for (const h of x.hazards) {
      const c = codes.get(h.kind) || "", star = h.inferred ? "*" : "", head = c + star + " " + h.kind + ": ";
      const notes = found ? found.notes.filter(n => n.startsWith(head)) : [];
      const fit = notes.filter(n => names(n, "step", h.step) && names(n, "calls", x.call) && names(n, "memory", x.memory) && names(n, "backend", x.backend));
      const why = (fit.length ? fit : notes).map(n => n.slice(head.length).replace(/ Kernel [^;]*; step .*$/, ""));
      detail.append(el("div", {class: "why"}, el("p", null, el("b", null, (c ? c + star + " " : "") + h.kind), h.step ? [" in ", code(h.step)] : null, h.inferred ? " (inferred from the source)" : null), why.map(w => el("p", null, w))));
    }
    if (x.status === "error" && errors) {
      const fit = errors.notes.filter(n => names(n, "calls", x.call) && names(n, "memory", x.memory) && names(n, "backend", x.backend));
      detail.append(el("div", {class: "why"}, (fit.length ? fit : []).map(n => el("p", null, n.replace(/: kernel [^;]*; .*$/, "")))));
    }
    detail.append(el("pre", {class: "cmd"}, "dmapath hazards --explain '" + x.call + "@" + x.kernel + "/" + x.memory + "/" + x.backend + "'"));
  }
}

// names reports whether the list called key of a note (step a, b; calls c, d and 2 more; ...) has a name in it, or may have.
function names(note, key, name) {
  const m = note.match(new RegExp("(?:^|[ ;])" + key + " ([^;]*?)(?:;|\\.$)"));
  if (!m || !name) return true;
  return / and \d+ more$/.test(m[1]) || m[1].replace(/ and \d+ more$/, "").split(", ").includes(name);
}
