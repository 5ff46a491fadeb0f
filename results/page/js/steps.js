// The breakdown as stacked bars: a bar per variant and call, a segment per kernel function or cause.

// Nine tones that differ in lightness as well as in hue (after Paul Tol's muted scheme), the first of them striped once more, then grey for the rest.
// The second value says whether text on them is light.
const tones = [["#332288", 1], ["#88ccee", 0], ["#117733", 1], ["#ddcc77", 0], ["#aa4499", 1], ["#44aa99", 0], ["#882255", 1], ["#999933", 0], ["#cc6677", 0]];
const mostParts = 14;
const toneOf = i => tones[i % tones.length], toneClass = i => (toneOf(i)[1] ? "light-text" : "dark-text") + (i >= tones.length ? " striped" : "");
const restTone = "#9aa0a6";

function partsOf(run, call, by) {
  if (by === "function") return (run.steps[call] || []).map(s => ({...s}));
  const out = [], mean = value(run, call + "_mean_cycles");
  let sum = 0;
  for (const k in run.m) {
    const m = k.match(new RegExp("^" + call + "_stall_(.*)_cycles$"));
    if (m && run.m[k].v) { out.push({name: waitOf(m[1]), v: run.m[k].v, ci: run.m[k].ci}); sum += run.m[k].v; }
  }
  if (out.length && mean !== null && mean > sum) out.push({name: "instructions retire", v: mean - sum, ci: null});
  return out;
}

function drawSteps(box) {
  const detail = el("p", {class: "detail", role: "status"});
  whenChanged(["sel", "by"], () => {
    clear(box);
    const by = extra("by", "function"), list = current();
    detail.textContent = "Point at a segment, or reach it with Tab and the arrow keys.";
    box.append(el("div", {class: "row"}, choice("cut by", [["function", "kernel function"], ["cause", "cause"]], by, v => setExtra("by", v)), detail));
    const stacks = [];
    for (const call of calls) {
      const have = list.map(r => ({r, parts: partsOf(r, call, by)})).filter(x => x.parts.length);
      if (!have.length) continue;
      stacks.push([call, have]);
    }
    // Causes have the same letter and tone in every call; functions are too many for that.
    const all = stacks.flatMap(([, have]) => have), order = ranked(all);
    for (const [call, have] of stacks) box.append(stack(call, have, by, detail, by === "cause" ? order : ranked(have)));
    if (!stacks.length) box.append(el("p", {class: "sub"}, "These runs have no breakdown."));
  });
}

// ranked are the names of parts, those with the largest first.
function ranked(have) {
  const most = new Map();
  for (const {parts} of have) for (const p of parts) most.set(p.name, Math.max(most.get(p.name) || 0, p.v));
  return [...most.keys()].sort((a, b) => most.get(b) - most.get(a));
}

function stack(call, have, by, detail, names) {
  const shown = names.slice(0, names.length === mostParts + 1 ? mostParts + 1 : mostParts), rest = names.slice(shown.length);
  const totals = have.map(h => h.parts.reduce((s, p) => s + p.v, 0)), scale = Math.max(...totals);
  const tag = new Map(shown.map((n, i) => [n, String.fromCharCode(65 + i)]));
  const segments = [], barWidth = innerWidth <= 760 ? innerWidth - 32 : Math.min(innerWidth, 1250) * 0.65;
  const light = name => {
    for (const s of segments) s.button.classList.toggle("lit", s.name === name);
    const of = have.map(({r, parts}) => {
      const v = name === null ? parts.filter(p => rest.includes(p.name)).reduce((s, p) => s + p.v, 0) : (parts.find(p => p.name === name) || {v: 0}).v;
      return r.variant + " " + num(v, 1);
    });
    detail.textContent = call + ", " + (name === null ? rest.length + " others" : name) + ", cycles: " + of.join("; ");
  };
  const rows = have.map(({r, parts}, k) => {
    const cells = [];
    const segment = (name, v, i) => {
      const share = 100 * v / scale, px = share / 100 * barWidth, whole = tag.get(name) + " " + num(v), text = px > 14 + 7 * whole.length ? whole : px > 18 ? tag.get(name) : "";
      const title = (name === null ? rest.length + " others" : name) + ": " + num(v, 1) + " cycles, " + percent(100 * v / totals[k]);
      const b = el("button", {type: "button", class: "segment " + (i < 0 ? "dark-text" : toneClass(i)), title, "aria-label": r.variant + ", " + call + ", " + title,
        style: {width: share + "%", "background-color": i < 0 ? restTone : toneOf(i)[0]}, on: {focus: () => light(name), mouseenter: () => light(name), click: () => light(name)}}, name === null ? (px > 40 ? "rest" : "") : text);
      segments.push({name, button: b});
      cells.push(b);
    };
    shown.forEach((n, i) => { const p = parts.find(x => x.name === n); if (p && p.v > 0) segment(n, p.v, i); });
    const left = parts.filter(p => rest.includes(p.name)).reduce((s, p) => s + p.v, 0);
    if (left > 0) segment(null, left, -1);
    return {cells, row: el("div", {class: "stackrow"}, el("span", {class: "who"}, swatch(variants.indexOf(r.variant)), code(r.variant)), el("span", {class: "stackbar"}, cells), el("span", {class: "num"}, num(totals[k])))};
  });
  roving(rows.map(x => x.cells));
  const fig = el("figure", {class: "stack"}, el("figcaption", null, "Cycles per " + call + " by " + (by === "function" ? "kernel function" : "cause")), rows.map(x => x.row),
    el("ul", {class: "stacklegend"}, shown.map((n, i) => !have.some(h => h.parts.some(p => p.name === n)) ? null : el("li", null, el("span", {class: "tone " + toneClass(i), style: {"background-color": toneOf(i)[0]}}, tag.get(n)), by === "function" ? code(n) : n)),
      rest.length ? el("li", null, el("span", {class: "tone", style: {"background-color": restTone}}), rest.length + " others") : null));
  const cell = (parts, n) => { const p = parts.find(x => x.name === n); return p ? [p.v, p.ci] : null; };
  const inAny = names.filter(n => have.some(h => h.parts.some(p => p.name === n)));
  fig.append(el("details", {class: "inner"}, el("summary", null, "All " + inAny.length + (by === "function" ? " functions" : " causes") + " of " + call + " as a table"),
    dataTable({title: "Cycles per " + call, columns: [[by, ""], ...have.map(h => [h.r.variant, "cycles"])], exact: true, rows: inAny.map(n => [n, ...have.map(h => { const c = cell(h.parts, n); return c && c[0]; })]), notes: []})));
  return fig;
}
