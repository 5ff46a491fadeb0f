// What the documents say, in the form that the views ask for.

const page = JSON.parse(document.getElementById("data").textContent);

// An order of dimensions that reads well; others follow.
const known = ["workload", "trace", "memory", "memory_model", "backend", "cache", "platform", "source"];

// dims returns the coordinates of a point as an object.
function dims(doc, at) {
  const o = {};
  at.forEach((v, i) => { if (v >= 0) o[doc.keys[i]] = doc.values[i][v]; });
  return o;
}

// values returns the measurements of a point: name to {v, ci, n, unit}.
function values(doc, point) {
  const o = {};
  for (let i = 0; i < point.m.length; i += 4) {
    const [name, unit] = doc.metrics[point.m[i]];
    o[name] = {v: point.m[i + 1], ci: point.m[i + 2], n: point.m[i + 3], unit};
  }
  return o;
}

const calls = ["map", "unmap", "sync", "setup", "teardown"];

// Runs are what has a variant and a cost of map or unmap: of compare, explain, replay, a sweep. A run is {at, variant, doc, m (measurements),
// steps: {call: [{name, v, ci}]}, dists, series}; at are its coordinates but the variant.
const runs = [], variants = [], axes = [];
const isRun = d => d.variant !== undefined && d.function === undefined && d.memory === undefined && d.conclusion === undefined;

function readRuns() {
  const sets = [];
  for (const doc of page.docs) {
    const map = new Map(), list = [];
    const keyOf = d => JSON.stringify(Object.entries(d).filter(([k]) => k !== "function").sort());
    for (const p of doc.points) {
      const d = dims(doc, p.at);
      if (!isRun(d)) continue;
      const m = values(doc, p);
      if (!m.map_mean_cycles && !m.unmap_mean_cycles) continue;
      const at = {...d};
      delete at.variant;
      const run = {at, variant: d.variant, doc, m, steps: {}, dists: [], series: []};
      map.set(keyOf(d), run);
      list.push(run);
    }
    if (!list.length) continue;
    for (const p of doc.points) {
      const d = dims(doc, p.at);
      if (d.function === undefined || d.variant === undefined) continue;
      const run = map.get(keyOf(d));
      if (!run) continue;
      const m = values(doc, p);
      for (const call of calls) {
        const s = m[call + "_step_cycles"];
        if (s && s.v) (run.steps[call] = run.steps[call] || []).push({name: d.function, v: s.v, ci: s.ci});
      }
    }
    for (const x of doc.dists) {
      const run = map.get(keyOf(dims(doc, x.at)));
      if (run) run.dists.push({name: doc.metrics[x.k][0], unit: doc.metrics[x.k][1], b: x.b});
    }
    for (const x of doc.series) {
      const run = map.get(keyOf(dims(doc, x.at)));
      if (run) run.series.push({name: doc.metrics[x.k][0], unit: doc.metrics[x.k][1], start: x.start, step: x.step, v: x.v});
    }
    coordinates(list);
    sets.push(list);
  }
  // Several documents that say the same of the same are told apart by their files.
  const seen = new Map();
  let clash = false;
  for (const list of sets) for (const r of list) {
    const key = JSON.stringify([Object.entries(r.at).sort(), r.variant]);
    if (seen.has(key) && seen.get(key) !== r.doc) clash = true;
    seen.set(key, r.doc);
  }
  for (const list of sets) for (const r of list) {
    if (clash) r.at.file = r.doc.file;
    if (!variants.includes(r.variant)) variants.push(r.variant);
    runs.push(r);
  }
  const keys = [];
  for (const r of runs) for (const k of Object.keys(r.at)) if (!keys.includes(k)) keys.push(k);
  keys.sort((a, b) => rank(a) - rank(b));
  for (const k of keys) {
    const vals = [];
    for (const r of runs) { const v = r.at[k] === undefined ? "" : r.at[k]; if (!vals.includes(v)) vals.push(v); }
    axes.push({key: k, values: vals});
  }
}

function rank(k) { const i = known.indexOf(k); return i < 0 ? known.length : i; }

// coordinates keeps of a sweep's dimensions either its axes, when it is a full grid, or the number of the point.
function coordinates(list) {
  if (list[0].at.point === undefined) return;
  const swept = Object.keys(list[0].at).filter(k => k !== "point" && !known.includes(k));
  const points = new Set(list.map(r => r.at.point)).size;
  const grid = swept.reduce((n, k) => n * new Set(list.map(r => r.at[k])).size, 1) === points && swept.every(k => new Set(list.map(r => r.at[k])).size <= 24);
  for (const r of list) {
    r.swept = {};
    for (const k of swept) { r.swept[k] = r.at[k]; if (!grid) delete r.at[k]; }
    if (grid) delete r.at.point;
  }
}

// runsAt returns the runs of a selection by variant, in the order of the variants; only those with data.
let runIndex = null;
function runsAt(sel, only) {
  const key = (at, v) => JSON.stringify([v, ...axes.map(a => at[a.key] === undefined ? "" : at[a.key])]);
  if (!runIndex) {
    runIndex = new Map();
    for (const r of runs) if (!runIndex.has(key(r.at, r.variant))) runIndex.set(key(r.at, r.variant), r);
  }
  return (only || variants).map(v => runIndex.get(key(sel, v))).filter(Boolean);
}

function value(run, name) { const m = run.m[name]; return m && m.v !== null ? m.v : null; }

// cost is what a map and an unmap take together, of those of the two that there are.
function cost(run) {
  const a = value(run, "map_mean_cycles"), b = value(run, "unmap_mean_cycles");
  return {map: a, unmap: b, sum: (a || 0) + (b || 0)};
}

// against is the difference of a run to the first variant ("vs_first") or the first of its kernel ("vs_same_kernel"): the paired difference that
// the document has. The interval is the sum of both calls' intervals, which is the most it can be. null when the document has none.
function against(run, which) {
  let v = 0, ci = 0, any = false;
  for (const call of ["map", "unmap"]) {
    const m = run.m[call + "_" + which + "_cycles"] || run.m[call + "_" + which + "_variant_cycles"]; // the latter of replay
    if (!m || m.v === null) continue;
    any = true;
    v += m.v;
    ci = ci === null || m.ci === null ? null : ci + m.ci;
  }
  return any ? {v, ci, sure: ci !== null && Math.abs(v) > ci} : null;
}

// difference of two runs without a paired one in the document: their own intervals added.
function apart(a, b) {
  const x = cost(a), y = cost(b);
  let ci = 0;
  for (const r of [a, b]) for (const call of ["map", "unmap"]) { const m = r.m[call + "_mean_cycles"]; if (m) ci = ci === null || m.ci === null ? null : ci + m.ci; }
  const v = y.sum - x.sum;
  return {v, ci, sure: ci !== null && Math.abs(v) > ci};
}

// paired is the difference b - a: the paired one where the document has it, because one of the two is the first variant or the first of their kernel.
function paired(a, b) {
  for (const [which, alike] of [["vs_first", true], ["vs_same_kernel", kernelOf(a.variant) === kernelOf(b.variant)]]) {
    if (!alike || a.doc !== b.doc) continue;
    const x = against(a, which), y = against(b, which);
    if (!x && y) return y;
    if (!y && x) return {...x, v: -x.v};
  }
  return apart(a, b);
}

function kernelOf(variant) { const i = variant.indexOf("@"); return i < 0 ? "" : variant.slice(i + 1); }
