// The first screen: which call is cheaper, by how much, where it goes, where it breaks.

function drawAnswer(box) {
  whenChanged(["sel"], () => {
    clear(box);
    const list = current();
    if (!list.length) {
      box.append(el("p", {class: "lead"}, "Nothing was run with this selection."));
      return;
    }
    const cut = list.filter(r => functionsOf(r).size);
    box.append(headline(list), ranking(list), el("div", {class: "cards"}, cut.length ? goesCard(cut) : null, cut.length > 1 ? differsCard(cut) : null, breaksCard(list)));
  });
}

// amount is a difference with its interval.
function amount(d) { return num(Math.abs(d.v), d.v % 1 ? 1 : 0) + (d.ci ? " \u00b1 " + num(d.ci, 1) : "") + " cycles"; }

function headline(list) {
  const sorted = [...list].sort((a, b) => cost(a).sum - cost(b).sum), best = sorted[0], c = cost(best);
  const what = c.map === null ? "an unmap" : c.unmap === null ? "a map" : "a map and an unmap";
  const box = el("div", {class: "headline"}, el("p", {class: "eyebrow"}, where()));
  if (list.length === 1) {
    box.append(el("h2", {id: "answer-title"}, code(best.variant), " takes ", el("strong", null, num(c.sum) + " cycles"), " for " + what + "."));
    return box;
  }
  const second = paired(best, sorted[1]), base = list[0], worst = sorted[sorted.length - 1];
  const alike = sorted.filter(r => r !== best && !paired(best, r).sure);
  const none = alike.length === list.length - 1, high = Math.max(...list.map(r => cost(r).sum));
  const title = none ? el("h2", {id: "answer-title"}, "No difference between the variants can be told: ", el("strong", null, num(c.sum) + " to " + num(high) + " cycles"), " for " + what + ".")
    : el("h2", {id: "answer-title"}, code(best.variant), alike.length ? " is among the cheapest: " : " is cheapest: ", el("strong", null, num(c.sum) + " cycles"), " for " + what + ".");
  const parts = [];
  if (base !== best) {
    const d = paired(best, base);
    parts.push(d.sure ? [amount(d) + " (" + percent(100 * d.v / cost(base).sum) + ") less than ", code(base.variant), "."] : ["No difference to ", code(base.variant), " can be told (" + signed(-d.v, 1) + (d.ci === null ? "" : " \u00b1 " + num(d.ci, 1)) + ")."]);
  }
  if (!none && sorted[1] !== base) parts.push(second.sure ? [" Next is ", code(sorted[1].variant), ", " + percent(100 * second.v / c.sum) + " more."] : [" No difference to ", code(sorted[1].variant), " can be told (" + signed(second.v, 1) + (second.ci === null ? "" : " \u00b1 " + num(second.ci, 1)) + ")."]);
  if (none) parts.unshift("The lowest mean is that of ", code(best.variant), ". ");
  if (!none && worst !== sorted[1] && worst !== base) parts.push([" Dearest is ", code(worst.variant), ", " + percent(100 * (cost(worst).sum - c.sum) / c.sum) + " more."]);
  box.append(title, el("p", {class: "lead"}, parts));
  return box;
}

function ranking(list) {
  const most = Math.max(...list.map(r => cost(r).sum)), best = Math.min(...list.map(r => cost(r).sum));
  const delta = (r, which) => {
    const d = against(r, which);
    if (!d) return el("td", {class: "num none"}, "\u2013");
    const ref = cost(r).sum - d.v;
    return el("td", {class: "num" + (d.sure ? d.v < 0 ? " less" : " more" : " unsure")}, d.sure ? null : el("span", {title: "the interval contains zero"}, "~\u2009"), signed(d.v, Math.abs(d.v) >= 1000 ? 0 : 1), el("span", {class: "ci"}, d.ci ? "\u00b1" + num(d.ci, 1) : ""), el("span", {class: "pc"}, ref ? (d.v > 0 ? "+" : d.v < 0 ? minus : "") + percent(Math.abs(100 * d.v / ref)) : ""));
  };
  const within = list.some(r => against(r, "vs_same_kernel")), first = list.some(r => against(r, "vs_first"));
  const bar = r => {
    const c = cost(r);
    const part = (v, cls, name) => v ? el("span", {class: "part " + cls, style: {width: 100 * v / most + "%"}, title: name + " " + num(v) + " cycles"}) : null;
    return el("td", {class: "bars", "aria-hidden": "true"}, el("span", {class: "bar"}, part(c.map, "map", "map"), part(c.unmap, "unmap", "unmap")));
  };
  return captioned("Cost by variant", "Mean cycles per call" + (list.some(r => r.m.map_warmup_calls) ? " of the second half of the run" : "") + "; \u00b1 is half of the 95\u202f% interval, ~ a difference that may be none." + (within ? " Kernels differ by compiler and page tables, too: the price of a call is the difference within its kernel." : ""), el("table", {class: "ranking"},
    el("thead", null, el("tr", null, el("th", {scope: "col"}, "variant"), el("th", {scope: "col", class: "bars"}, el("span", {class: "part map"}), " map ", el("span", {class: "part unmap"}), " unmap"),
      el("th", {scope: "col", class: "num"}, "map"), el("th", {scope: "col", class: "num"}, "unmap"), el("th", {scope: "col", class: "num"}, "both"),
      first ? el("th", {scope: "col", class: "num"}, "vs first") : null, within ? el("th", {scope: "col", class: "num"}, "within its kernel") : null)),
    el("tbody", null, list.map(r => {
      const c = cost(r);
      return el("tr", {class: c.sum === best ? "best" : null}, el("th", {scope: "row"}, swatch(variants.indexOf(r.variant)), code(r.variant), c.sum === best && list.length > 1 ? el("span", {class: "mark"}, "lowest") : null),
        bar(r), el("td", {class: "num"}, num(c.map)), el("td", {class: "num"}, num(c.unmap)), el("td", {class: "num sum"}, num(c.sum)), first ? delta(r, "vs_first") : null, within ? delta(r, "vs_same_kernel") : null);
    }))));
}

function cheapest(list) { return list.reduce((a, b) => cost(b).sum < cost(a).sum ? b : a); }

// functions of a map and an unmap together.
function functionsOf(run) {
  const o = new Map();
  for (const call of ["map", "unmap"]) for (const s of run.steps[call] || []) o.set(s.name, (o.get(s.name) || 0) + s.v);
  return o;
}

// What a core waits for in cycles in which nothing retires, by the name of the cause in the metrics.
const waits = {fetch: "instruction fetch", itlb: "translation of code", branch: "refill after mispredicted branches", btb: "refill after unknown branches", mem: "L1 hits and forwarding", l2: "L2", llc: "the last-level cache", peer: "another core's cache",
  dram: "DRAM", tlb: "translation of data", store_queue: "a full store queue", load_queue: "a full load queue", serial: "fences, atomics and serialising instructions", string: "string instructions", exec: "dependences and ports",
  mmio: "reads of device registers", lock: "locks held by others", invalidation: "the IOMMU's invalidation", idle: "nothing"};
const waitOf = cause => waits[cause] || words(cause);

function stalls(run) {
  const o = new Map();
  let sum = 0;
  for (const call of ["map", "unmap"]) for (const k in run.m) {
    const m = k.match(new RegExp("^" + call + "_stall_(.*)_cycles$"));
    if (!m || !run.m[k].v) continue;
    o.set(m[1], (o.get(m[1]) || 0) + run.m[k].v);
    sum += run.m[k].v;
  }
  return {causes: [...o].sort((a, b) => b[1] - a[1]), sum};
}

function bars(rows, most) {
  return el("ul", {class: "minibars"}, rows.map(([name, v, text]) => el("li", null, el("span", {class: "name"}, name), el("span", {class: "track", "aria-hidden": "true"}, el("span", {class: "fill" + (v < 0 ? " minus" : ""), style: {width: 100 * Math.abs(v) / most + "%"}})), el("span", {class: "num"}, text))));
}

function goesCard(list) {
  const run = cheapest(list), total = cost(run).sum, fns = [...functionsOf(run)].sort((a, b) => b[1] - a[1]), st = stalls(run);
  const card = el("section", {class: "card"}, el("h3", null, "Where it goes"));
  card.append(el("p", {class: "sub"}, code(run.variant), st.causes.length ? [": " + percent(100 * st.sum / total) + " of the cycles retire nothing; most wait for " + waitOf(st.causes[0][0]) + " (" + num(st.causes[0][1]) + ")"] : null),
    bars(fns.slice(0, 5).map(([n, v]) => [code(n), v, num(v) + " \u00b7 " + percent(100 * v / total)]), fns[0][1]), el("p", {class: "more"}, el("a", {href: "#steps"}, "All steps")));
  return card;
}

function differsCard(list) {
  const card = el("section", {class: "card"}, el("h3", null, "What makes the difference"));
  const a = cheapest(list), b = list.reduce((x, y) => cost(y).sum > cost(x).sum ? y : x);
  const fa = functionsOf(a), fb = functionsOf(b);
  const diff = [...new Set([...fa.keys(), ...fb.keys()])].map(n => [n, (fb.get(n) || 0) - (fa.get(n) || 0)]).filter(d => Math.abs(d[1]) >= 0.05).sort((x, y) => Math.abs(y[1]) - Math.abs(x[1])).slice(0, 5);
  card.append(el("p", {class: "sub"}, code(b.variant), " against ", code(a.variant), ": " + signed(cost(b).sum - cost(a).sum, 1) + " cycles"));
  card.append(diff.length ? bars(diff.map(([n, v]) => [code(n), v, signed(v, 1)]), Math.abs(diff[0][1])) : el("p", null, "No function differs."));
  return card;
}

// breaksCard says what the hazard matrix of the directory has about the shown variants on the selected backend.
function breaksCard(list) {
  const card = el("section", {class: "card"}, el("h3", null, "Where it breaks"));
  if (!hazardDocs.length) {
    card.append(el("p", {class: "sub"}, "No hazard matrix lies in this directory. It comes with"), el("pre", {class: "cmd"}, "dmapath hazards --format json > DIR/hazards.json"));
    return card;
  }
  const backend = hazardBackend(state.sel.backend || "");
  const rows = list.map(r => {
    const [call, kernel] = [r.variant.split("@")[0], kernelOf(r.variant)];
    const cells = hazardCells.filter(c => c.call === call && c.kernel === kernel && c.backend === backend);
    return {r, cells};
  });
  if (!rows.some(x => x.cells.length)) {
    card.append(el("p", {class: "sub"}, "The hazard matrix has none of these calls on this backend."), el("p", {class: "more"}, el("a", {href: "#hazards"}, "Hazard matrix")));
    return card;
  }
  const groups = []; // variants of which the same is true
  for (const {r, cells} of rows) {
    const parts = ["fatal", "hazard", "error"].map(s => [s, cells.filter(c => c.status === s)]).filter(x => x[1].length).map(([s, bad]) => [s, statusWord[s] + ": " + bad.map(c => c.memory).join(", ")]);
    if (cells.length && !parts.length) parts.push(["ok", "none"]);
    const g = groups.find(g => JSON.stringify(g.parts) === JSON.stringify(parts));
    if (g) g.names.push(r.variant);
    else groups.push({names: [r.variant], parts});
  }
  card.append(el("p", {class: "sub"}, "Kinds of memory on which the call is wrong or fails, backend " + backend),
    el("ul", {class: "breaks"}, groups.map(g => el("li", null, el("span", {class: "of"}, g.names.map((n, i) => [i ? ", " : null, code(n)])), el("span", {class: "tally"}, g.parts.length ? g.parts.map(([s, text]) => el("span", {class: "st st-" + s}, statusSign[s] + " " + text)) : "not in the matrix")))),
    el("p", {class: "more"}, el("a", {href: "#hazards"}, "Hazard matrix")));
  return card;
}

// Every selection at a glance: the sum of map and unmap.
function drawOverview(box) {
  const combos = [], seen = new Set();
  for (const r of runs) {
    const key = JSON.stringify(axes.map(a => r.at[a.key] === undefined ? "" : r.at[a.key]));
    if (!seen.has(key)) { seen.add(key); combos.push(Object.fromEntries(axes.map(a => [a.key, r.at[a.key] === undefined ? "" : r.at[a.key]]))); }
  }
  const named = axes.filter(a => a.values.length > 1), limit = 90;
  whenChanged(["sel"], () => {
    clear(box);
    const shown = shownVariants();
    const rows = combos.slice(0, limit).map(at => {
      const list = runsAt(at, shown), sums = list.map(r => cost(r).sum), low = Math.min(...sums), on = axes.every(a => at[a.key] === state.sel[a.key]);
      const base = list.find(r => r.variant === shown[0]);
      return el("tr", {class: on ? "on" : null}, el("th", {scope: "row"}, el("button", {type: "button", class: "rowpick", "aria-pressed": String(on), on: {click: () => { Object.assign(state.sel, at); changed(["sel"]); redrawSelectors(); }}},
        named.length ? named.map(a => at[a.key] || "all").join(" \u00b7 ") : "the run")),
        shown.map(v => {
          const r = list.find(x => x.variant === v);
          if (!r) return el("td", {class: "num none"}, "\u2013");
          const c = cost(r).sum, d = base && base !== r ? 100 * (c - cost(base).sum) / cost(base).sum : null;
          return el("td", {class: "num" + (c === low && list.length > 1 ? " low" : "")}, c === low && list.length > 1 ? el("span", {class: "dot", title: "lowest of the row"}, "\u25cf ") : null, num(c), d === null ? null : el("span", {class: "pc"}, (d >= 0 ? "+" : minus) + percent(Math.abs(d))));
        }));
    });
    box.append(captioned("Every selection", "Cycles of map and unmap together. \u25cf marks the lowest of a row; percentages are against " + shown[0] + ". A row's name selects it.", el("table", {class: "overview"},
      el("thead", null, el("tr", null, el("th", {scope: "col"}, named.map(a => words(a.key)).join(" \u00b7 ") || "selection"), shown.map(v => el("th", {scope: "col", class: "num"}, swatch(variants.indexOf(v)), code(v))))), el("tbody", null, rows))));
    if (combos.length > limit) box.append(el("p", {class: "sub"}, combos.length - limit + " more are in the selectors and in the files."));
  });
}
