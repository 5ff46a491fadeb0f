// Line charts: drag to zoom, read off under the pointer or with the arrow keys.

// Of variants: told apart by people who see colours differently (Okabe and Ito), and by dashes. In pairs: light, dark.
const inks = [["#0072b2", "#56b4e9"], ["#c24e00", "#f0883e"], ["#00805c", "#2fc59a"], ["#a83f83", "#e08ac0"], ["#8a6d00", "#e6c229"], ["#5b4fc4", "#a79df5"], ["#4f5862", "#b9c0c8"]];
const dashes = [[], [9, 4], [2, 3], [11, 3, 2, 3], [5, 2, 2, 2, 2, 2], [14, 5], [1, 2]];

function dark() {
  const t = extra("theme", "auto");
  return !printing && (t === "dark" || t === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
}
let printing = false;

function ink(i) { return inks[i % inks.length][dark() ? 1 : 0]; }
function dash(i) { return dashes[(i + Math.floor(i / inks.length)) % dashes.length]; }

// swatch is the sign of variant i in legends: its colour, and its number for those who do not see that.
function swatch(i) {
  const e = el("span", {class: "swatch ink" + i % inks.length, "aria-hidden": "true"}, String(i + 1));
  return e;
}

// tone resolves a colour of the style sheet for a canvas.
function tone(name) {
  const probe = el("span", {class: "probe", style: {color: "var(--" + name + ")"}});
  document.body.append(probe);
  const c = getComputedStyle(probe).color;
  probe.remove();
  return c;
}

const charts = new Set();

// lineChart draws lines over a common x. o: title, x (ascending), lines [{name, i (its colour), y}], xLog, yLog, xName, xText(v), yName, yText(v), step (stairs), dots (no lines), ticks (only
// where x has a value), height.
function lineChart(host, o) {
  const n = o.x.length, x = o.x;
  const readX = el("b", {class: "at"}), cells = o.lines.map(() => el("span", {class: "value"}));
  const legendX = el("span", {class: "atx"}, "at " + o.xName + " ", readX);
  const legend = el("div", {class: "legend"}, o.lines.map((l, k) => el("span", {class: "key"}, swatch(l.i), code(l.name), " ", cells[k])), legendX);
  const plot = el("div", {class: "plot", tabindex: "0", role: "slider", "aria-label": o.title + ": position along " + o.xName, "aria-valuemin": "0", "aria-valuemax": String(n - 1)});
  const button = (label, text, f) => el("button", {type: "button", class: "tool", "aria-label": label, title: label, on: {click: f}}, text);
  const box = el("figure", {class: "chart"}, el("figcaption", null, el("span", null, o.title), el("span", {class: "tools"},
    button("Zoom in", "+", () => zoom(0.5)), button("Zoom out", minus, () => zoom(2)), button("Show everything", "\u2194", reset))), legend, plot);
  host.append(box);
  let u = null, at = -1;

  function say(i) {
    at = i;
    if (i < 0 || i >= n) {
      readX.textContent = "";
      legendX.classList.add("none");
      cells.forEach(c => { c.textContent = ""; });
      return;
    }
    readX.textContent = o.xText(x[i]);
    legendX.classList.remove("none");
    o.lines.forEach((l, k) => { cells[k].textContent = o.yText(l.y[i]); });
    plot.setAttribute("aria-valuenow", String(i));
    plot.setAttribute("aria-valuetext", o.xText(x[i]) + ": " + o.lines.map(l => l.name + " " + o.yText(l.y[i])).join(", "));
  }
  function range() { return [u.scales.x.min, u.scales.x.max]; }
  function zoom(f) {
    const [a, b] = range(), t = o.xLog ? Math.log : v => v, back = o.xLog ? Math.exp : v => v;
    const mid = at >= 0 && x[at] >= a && x[at] <= b ? t(x[at]) : (t(a) + t(b)) / 2;
    const lo = Math.max(t(x[0]), mid - (mid - t(a)) * f), hi = Math.min(t(x[n - 1]), mid + (t(b) - mid) * f);
    if (hi > lo) u.setScale("x", {min: back(lo), max: back(hi)});
  }
  function reset() { u.setScale("x", {min: x[0], max: x[n - 1]}); }
  function point(i) {
    i = Math.max(0, Math.min(n - 1, i));
    const [a, b] = range();
    if (x[i] < a || x[i] > b) { // the window follows
      const t = o.xLog ? Math.log : v => v, back = o.xLog ? Math.exp : v => v, w = t(b) - t(a);
      const lo = Math.max(t(x[0]), Math.min(t(x[i]) - w / 2, t(x[n - 1]) - w));
      u.setScale("x", {min: back(lo), max: back(lo + w)});
    }
    u.setCursor({left: u.valToPos(x[i], "x"), top: u.bbox.height / devicePixelRatio / 2});
    say(i);
  }
  plot.addEventListener("keydown", ev => {
    const far = ev.shiftKey ? 10 : 1;
    switch (ev.key) {
      case "ArrowRight": case "ArrowUp": point(at < 0 ? 0 : at + far); break;
      case "ArrowLeft": case "ArrowDown": point(at < 0 ? n - 1 : at - far); break;
      case "Home": point(0); break;
      case "End": point(n - 1); break;
      case "+": case "=": zoom(0.5); break;
      case "-": zoom(2); break;
      case "0": case "Escape": reset(); break;
      default: return;
    }
    ev.preventDefault();
  });

  function build() {
    if (u) u.destroy();
    const grid = {stroke: tone("grid"), width: 1}, text = tone("muted"), font = "12px " + getComputedStyle(document.body).fontFamily;
    const width = Math.max(240, Math.min(plot.clientWidth || 600, printing ? 680 : Infinity));
    const axis = (name, text2, log, size) => ({label: name, labelSize: 22, labelFont: font, font, stroke: text, grid, ticks: grid, size, values: (_, s) => s.map(v => v === null ? "" : text2(v)),
      ...(log ? {filter: (_, splits) => splits.map(v => decade(v) ? v : null)} : {})});
    u = new uPlot({width, height: o.height || (width < 500 ? 240 : 300), legend: {show: false}, padding: [10, 26, 0, 0],
      scales: {x: {time: false, distr: o.xLog ? 3 : 1, range: (_, lo, hi) => lo < hi ? [lo, hi] : [lo * 0.9, hi * 1.1 + 1e-9]}, y: {distr: o.yLog ? 3 : 1, range: o.yLog ? undefined : (_, lo, hi) => [Math.min(0, lo), hi > 0 ? hi * 1.06 : 1]}},
      axes: [{...axis(o.xName, o.xText, o.xLog && spread(x) > 30 && !o.ticks, 34), ...(o.ticks ? {splits: (_, __, lo, hi) => x.filter(v => v >= lo && v <= hi)} : {})}, axis(o.yName, o.yText, o.yLog, 58)],
      series: [{}, ...o.lines.map(l => ({stroke: ink(l.i), dash: dash(l.i), width: 2, points: {show: o.dots || n < 40 && !o.step, size: o.dots ? 7 : 5}, paths: o.dots ? () => null : o.step ? uPlot.paths.stepped({align: 1}) : undefined}))],
      cursor: {x: true, y: false, drag: {x: true, y: false, setScale: true}, points: {size: 7}},
      hooks: {setCursor: [p => { if (p.cursor.left >= 0) say(p.cursor.idx); else if (document.activeElement !== plot) say(-1); }]},
    }, [x, ...o.lines.map(l => l.y)], plot);
    const c = plot.querySelector("canvas");
    c.setAttribute("role", "img");
    c.setAttribute("aria-label", o.title);
  }
  const chart = {box, build, resize: () => { if (u && !printing && plot.clientWidth > 0 && Math.abs(u.width - plot.clientWidth) > 1) u.setSize({width: Math.max(240, plot.clientWidth), height: u.height}); }, drop: () => { if (u) u.destroy(); sizes.disconnect(); charts.delete(chart); }};
  const sizes = new ResizeObserver(() => chart.resize());
  build();
  sizes.observe(plot);
  charts.add(chart);
  say(-1);
  return chart;
}

function spread(x) { return x[0] > 0 ? x[x.length - 1] / x[0] : Infinity; }

// decade reports whether a logarithmic axis writes v: powers of ten.
function decade(v) { const e = Math.log10(v); return Math.abs(e - Math.round(e)) < 1e-6; }

function dropCharts(list) { for (const c of list) c.drop(); list.length = 0; }
