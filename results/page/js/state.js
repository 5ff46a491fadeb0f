// What is selected. It lives in the fragment of the address, so that a link shows what its sender saw.

const state = {sel: {}, hidden: [], extra: {}};
const listeners = [];

// extra are the choices inside a section, with their first values.
function extra(key, first) { return state.extra[key] === undefined ? first : state.extra[key]; }
function setExtra(key, v) { state.extra[key] = v; changed([key]); }

function readState() {
  const q = new URLSearchParams(location.hash.slice(1));
  const want = {};
  state.hidden = [];
  state.extra = {};
  for (const [k, v] of q) {
    if (k === "hide") state.hidden = v.split(" ").map(Number).filter(i => i >= 0 && i < variants.length);
    else if (axes.some(a => a.key === k)) want[k] = v;
    else state.extra[k] = v;
  }
  if (state.hidden.length >= variants.length) state.hidden = [];
  const first = runs[0] ? start() : {at: {}};
  for (const a of axes) {
    const v = want[a.key];
    state.sel[a.key] = v !== undefined && a.values.includes(v) ? v : first.at[a.key] === undefined ? "" : first.at[a.key];
  }
  if (runs.length && !runsAt(state.sel).length) nearest(null);
}

// start is what the page opens with: warm caches behind an IOMMU in strict mode, when there is such a run.
function start() {
  let best = runs[0], most = -1;
  for (const r of runs) {
    const score = (r.at.backend === "iommu-strict" ? 2 : 0) + (r.at.cache === "warm" ? 1 : 0);
    if (score > most) { most = score; best = r; }
  }
  return best;
}

function writeState() {
  const q = new URLSearchParams();
  for (const a of axes) if (a.values.length > 1) q.set(a.key, state.sel[a.key]);
  if (state.hidden.length) q.set("hide", state.hidden.join(" "));
  for (const k of Object.keys(state.extra).sort()) q.set(k, state.extra[k]);
  if (q.size || location.hash) history.replaceState(null, "", "#" + q.toString());
}

// changed redraws what depends on the keys that changed; null is everything.
function changed(keys) {
  writeState();
  for (const l of listeners) if (!keys || !l.keys || keys.some(k => l.keys.includes(k))) l.draw();
}

// whenChanged calls draw now and when one of the keys changes: "sel" is the selection, "theme" the colours.
function whenChanged(keys, draw) { listeners.push({keys, draw}); draw(); }

function select(key, v) {
  state.sel[key] = v;
  if (!runsAt(state.sel).length) nearest(key);
  changed(["sel"]);
}

// nearest moves to a run that differs least from the selection; the coordinate that was chosen last stays.
function nearest(key) {
  let best = null, most = -1;
  for (const r of runs) {
    const same = axes.filter(a => (r.at[a.key] === undefined ? "" : r.at[a.key]) === state.sel[a.key]);
    const score = same.length + (same.some(a => a.key === key) ? axes.length : 0);
    if (score > most) { most = score; best = r; }
  }
  for (const a of axes) state.sel[a.key] = best.at[a.key] === undefined ? "" : best.at[a.key];
}

function shownVariants() { return variants.filter((_, i) => !state.hidden.includes(i)); }

function current() { return runsAt(state.sel, shownVariants()); }

// selectors are the controls of the selection; only what there is a choice of.
function selectors() {
  const box = el("div", {class: "selectors"});
  for (const a of axes) {
    if (a.values.length < 2) continue;
    box.append(pick(words(a.key), a.values.map(v => [v, v || "all"]), state.sel[a.key], v => select(a.key, v), v => !runsAt({...state.sel, [a.key]: v}).length));
  }
  if (variants.length > 1) {
    box.append(el("fieldset", {class: "choice"}, el("legend", null, "variants"), el("div", {class: "options"}, variants.map((v, i) => {
      const input = el("input", {type: "checkbox", id: newID("check"), on: {change: () => {
        state.hidden = variants.map((_, j) => j).filter(j => j === i ? !input.checked : state.hidden.includes(j));
        if (state.hidden.length === variants.length) { state.hidden = state.hidden.filter(j => j !== i); input.checked = true; }
        changed(["sel"]);
      }}});
      input.checked = !state.hidden.includes(i);
      return el("label", {for: input.id}, input, el("span", null, swatch(i), code(v)));
    }))));
  }
  return box;
}

// where says the selection in words; of a point of a sweep that is no grid, with its values.
function where(multiple) {
  const run = state.sel.point !== undefined ? current()[0] : null;
  const swept = run && run.swept ? Object.entries(run.swept).map(([k, v]) => words(k) + " " + v) : [];
  return axes.filter(a => state.sel[a.key] && (!multiple || a.values.length > 1)).map(a => known.includes(a.key) ? state.sel[a.key] : words(a.key) + " " + state.sel[a.key]).concat(swept).join(" \u00b7 ");
}
