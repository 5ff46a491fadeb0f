// A sweep: one measurement over one swept key.

const scales = {"": 1, B: 1, KiB: 1024, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40, ps: 1e-3, ns: 1, us: 1e3, "\u00b5s": 1e3, ms: 1e6, s: 1e9, "%": 1};

// quantity is a configured value as a number, NaN when it is a word.
function quantity(s) {
  const m = String(s).match(/^(-?[0-9.]+(?:e[+-]?[0-9]+)?) ?([A-Za-z\u00b5%]*)$/);
  return m && scales[m[2]] !== undefined ? Number(m[1]) * scales[m[2]] : NaN;
}

function drawSweep(box) {
  const swept = runs.filter(r => r.swept), keys = [];
  for (const r of swept) for (const k of Object.keys(r.swept)) if (!keys.includes(k)) keys.push(k);
  const metrics = [];
  for (const r of swept) for (const m of Object.keys(r.m)) if (!metrics.includes(m)) metrics.push(m);
  const drawn = [];
  whenChanged(["sel", "over", "metric", "theme"], () => {
    dropCharts(drawn);
    clear(box);
    const over = keys.includes(extra("over")) ? extra("over") : keys[0], metric = metrics.includes(extra("metric")) ? extra("metric") : metrics.includes("map_mean_cycles") ? "map_mean_cycles" : metrics[0];
    box.append(el("div", {class: "row"}, pick("over", keys.map(k => [k, words(k)]), over, v => setExtra("over", v)), menu("measurement", metrics.map(m => [m, words(m)]), metric, v => setExtra("metric", v))));
    const grid = axes.some(a => a.key === over);
    // Every other coordinate is the selection's; of a random sample the swept keys differ in every point.
    const fits = r => axes.every(a => a.key === over || a.key === "point" || (r.at[a.key] === undefined ? "" : r.at[a.key]) === state.sel[a.key]);
    const shown = shownVariants(), have = swept.filter(r => shown.includes(r.variant) && fits(r) && value(r, metric) !== null);
    if (!have.length) {
      box.append(el("p", {class: "sub"}, "The selected runs have no such measurement."));
      return;
    }
    const labels = [...new Set(have.map(r => r.swept[over]))], place = new Map(labels.map((l, i) => [l, i])), numeric = labels.every(l => Number.isFinite(quantity(l)));
    const pos = l => numeric ? quantity(l) : place.get(l);
    labels.sort((a, b) => pos(a) - pos(b));
    const x = [...new Set(labels.map(pos))].sort((a, b) => a - b), text = new Map(labels.map(l => [pos(l), l]));
    const sums = new Map(); // by variant and position: sum and count
    for (const r of have) {
      const k = r.variant + "\n" + pos(r.swept[over]), t = sums.get(k) || sums.set(k, [0, 0]).get(k);
      t[0] += value(r, metric);
      t[1]++;
    }
    const mean = (v, p) => { const t = sums.get(v + "\n" + p); return t ? t[0] / t[1] : null; };
    const log = numeric && x.length > 2 && x[0] > 0 && x[x.length - 1] / x[0] > 10;
    drawn.push(lineChart(box, {title: heading1(metric) + " over " + words(over), x, xLog: log, yLog: false, xName: words(over), yName: have[0].m[metric].unit, dots: !grid, ticks: x.length <= 12,
      xText: v => text.get(v) || num(v), yText: v => v === null || v === undefined ? "" : num(v),
      lines: shown.filter(v => have.some(r => r.variant === v)).map(v => {
        return {name: v, i: variants.indexOf(v), y: x.map(p => mean(v, p))};
      })}));
    const table = () => dataTable({title: words(metric) + " over " + words(over), exact: true, columns: [[words(over), ""], ...shown.map(v => [v, have[0].m[metric].unit])], rows: x.map(p => [text.get(p), ...shown.map(v => mean(v, p))]), notes: []});
    if (x.length <= 40) box.append(table());
    else {
      const d = el("details", {class: "inner"}, el("summary", null, "All " + num(x.length) + " values as a table"));
      d.addEventListener("toggle", () => { if (d.open && d.childElementCount < 2) d.append(table()); });
      box.append(d);
    }
  });
}
