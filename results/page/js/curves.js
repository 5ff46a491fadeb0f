// Distributions and series over time.

// reached is the share of observations of at least v, linear inside a bucket.
function reached(b, v) {
  let n = 0, above = 0;
  for (let i = 0; i < b.length; i += 3) {
    n += b[i + 2];
    if (b[i] >= v) above += b[i + 2];
    else if (b[i + 1] > v) above += b[i + 2] * (b[i + 1] - v) / (b[i + 1] - b[i]);
  }
  return n ? above / n : 0;
}

function shareIn(b, lo, hi) { return reached(b, lo) - reached(b, hi); }

function quantileOf(b, q) {
  let n = 0, c = 0;
  for (let i = 0; i < b.length; i += 3) n += b[i + 2];
  for (let i = 0; i < b.length; i += 3) {
    if (b[i + 2] > 0 && c + b[i + 2] >= q * n) return b[i] + (b[i + 1] - b[i]) * Math.max(0, q * n - c) / b[i + 2];
    c += b[i + 2];
  }
  return NaN;
}

const distNames = () => { const s = []; for (const r of runs) for (const d of r.dists) if (!s.includes(d.name)) s.push(d.name); return s; };

function distTitle(name, unit) {
  const w = name.replace(new RegExp("_" + unit + "$"), "");
  return {map: "Cycles of a map", unmap: "Cycles of an unmap", sync: "Cycles of a sync", latency: "Latency of an I/O", walk: "Latency of a page walk"}[w] || heading1(w);
}

function drawDistributions(box) {
  const names = distNames(), drawn = [];
  whenChanged(["sel", "dist", "shape", "theme"], () => {
    dropCharts(drawn);
    clear(box);
    const list = current();
    let name = extra("dist", names[0]);
    if (!names.includes(name)) name = names[0];
    const shape = extra("shape", "ccdf");
    box.append(el("div", {class: "row"}, pick("quantity", names.map(n => [n, words(n)]), name, v => setExtra("dist", v)),
      choice("as", [["ccdf", "share above"], ["histogram", "histogram"]], shape, v => setExtra("shape", v))));
    const have = list.map(r => ({r, d: r.dists.find(d => d.name === name)})).filter(x => x.d && x.d.b.length);
    if (!have.length) {
      box.append(el("p", {class: "sub"}, "The selected runs have no such distribution."));
      return;
    }
    const unit = have[0].d.unit, title = distTitle(name, unit);
    const ends = [...new Set(have.flatMap(h => h.d.b.filter((_, i) => i % 3 < 2)))].sort((a, b) => a - b);
    const lo = ends[0], hi = ends[ends.length - 1], log = lo > 0 ? hi / lo > 8 : hi > 200;
    const xText = v => num(v) + " " + unit, pc = v => v === null || v === undefined ? "" : v === 0 ? "0" : percentOf(v);
    if (shape === "ccdf") {
      const x = ends.filter(v => !log || v > 0);
      drawn.push(lineChart(box, {title: title + ": share of calls that take at least so long", x, xLog: log, yLog: true, xName: unit, yName: "share", xText: v => num(v), yText: pc,
        lines: have.map(h => ({name: h.r.variant, i: variants.indexOf(h.r.variant), y: x.map(v => { const s = reached(h.d.b, v); return s > 0 ? s : null; })}))}));
    } else {
      const n = 60, edges = [];
      if (hi - lo <= n && Number.isInteger(lo)) for (let v = lo; v <= hi; v++) edges.push(v);
      else for (let i = 0; i <= n; i++) edges.push(log ? Math.max(lo, 1) * (hi / Math.max(lo, 1)) ** (i / n) : lo + (hi - lo) * i / n);
      drawn.push(lineChart(box, {title: title + ": share of calls by " + unit, x: edges, xLog: log, yLog: false, step: true, xName: unit, yName: "share", xText: v => num(v), yText: pc,
        lines: have.map(h => ({name: h.r.variant, i: variants.indexOf(h.r.variant), y: edges.map((v, i) => i + 1 < edges.length ? shareIn(h.d.b, v, edges[i + 1]) : 0)}))}));
    }
    const base = name.replace(new RegExp("_" + unit + "$"), "");
    const exact = (r, q) => value(r, base + "_" + q + "_" + unit);
    const qs = [["p50", 0.5], ["p90", 0.9], ["p99", 0.99], ["p999", 0.999]];
    box.append(dataTable({title: title + ": quantiles", columns: [["variant", ""], ["observations", ""], ...qs.map(q => [q[0].replace("p999", "p99.9"), unit]), ["max", unit]], exact: true, open: true,
      rows: have.map(h => [h.r.variant, h.d.b.reduce((s, v, i) => i % 3 === 2 ? s + v : s, 0), ...qs.map(q => exact(h.r, q[0]) === null ? quantileOf(h.d.b, q[1]) : exact(h.r, q[0])), exact(h.r, "max") === null ? h.d.b[h.d.b.length - 2] : exact(h.r, "max")]),
      notes: ["Of the second half of the calls. Quantiles that the document does not have are interpolated within a bucket."]}));
  });
}

function percentOf(v) {
  const p = 100 * v;
  return (p >= 10 || Number.isInteger(p) ? num(p, p % 1 && p < 99.95 && p > 90 ? 1 : 0) : p >= 1 ? num(p, 1) : String(Number(p.toPrecision(1)))) + thin + "%";
}

function drawSeries(box) {
  const drawn = [];
  whenChanged(["sel", "theme"], () => {
    dropCharts(drawn);
    clear(box);
    const list = current(), names = [];
    for (const r of list) for (const s of r.series) if (!names.includes(s.name)) names.push(s.name);
    if (!names.length) {
      box.append(el("p", {class: "sub"}, "The selected runs have nothing over time."));
      return;
    }
    const grid = el("div", {class: "charts"});
    box.append(grid);
    for (const name of names) {
      const have = list.map(r => ({r, s: r.series.find(s => s.name === name)})).filter(x => x.s && x.s.v.length);
      if (!have.length) continue;
      const unit = have[0].s.unit, at = (s, i) => (s.start + (i + 0.5) * s.step) / 1000;
      const x = [...new Set(have.flatMap(h => h.s.v.map((_, i) => at(h.s, i))))].sort((a, b) => a - b);
      drawn.push(lineChart(grid, {title: heading1(name.replace(new RegExp("_" + unit.replace(/[^a-z0-9]+/gi, "_") + "$"), "")) + " over time", x, xLog: false, yLog: false, xName: "\u00b5s", yName: unit === "count" ? "" : unit, xText: v => num(v), yText: v => v === null || v === undefined ? "" : num(v), height: 220,
        lines: have.map(h => ({name: h.r.variant, i: variants.indexOf(h.r.variant), y: x.map(v => { const i = Math.floor((v * 1000 - h.s.start) / h.s.step); return i >= 0 && i < h.s.v.length ? h.s.v[i] : null; })}))}));
    }
    box.append(el("p", {class: "note"}, "Simulated time. Each value is the mean over its slice, weighted by time."));
  });
}
