// Conclusions under uncertainty: how an effect spreads when everything that is not known is varied.

// conclusions of the documents: {text, at (call, workload ...), holds, low, high, nominal, p5, p50, p95}.
function conclusions() {
  const out = [];
  for (const doc of page.docs) for (const p of doc.points) {
    const d = dims(doc, p.at);
    if (d.conclusion === undefined) continue;
    const m = values(doc, p), v = k => m[k] ? m[k].v : null;
    if (v("holds_percent") === null || v("effect_p50_percent") === null) continue;
    out.push({doc, text: d.conclusion, at: [d.workload, d.backend, d.cache, d.call].filter(Boolean).join(" \u00b7 "), holds: v("holds_percent"), low: v("holds_low_percent"), high: v("holds_high_percent"),
      nominal: v("effect_nominal_percent"), p5: v("effect_p5_percent"), p50: v("effect_p50_percent"), p95: v("effect_p95_percent")});
  }
  return out;
}

function drawSure(box) {
  const all = conclusions(), groups = [...new Set(all.map(c => c.at))];
  const sure = all.filter(c => c.holds >= 95).length;
  box.append(el("p", {class: "lead"}, el("strong", null, num(sure)), " of " + num(all.length) + " conclusions hold in 95\u202f% or more of the machines that the uncertain values allow."));
  for (const g of groups) {
    const list = all.filter(c => c.at === g);
    const lo = Math.min(0, ...list.map(c => c.p5)), hi = Math.max(0, ...list.map(c => c.p95)), at = v => 100 * (v - lo) / (hi - lo || 1) + "%";
    const row = c => el("tr", {class: c.holds < 95 ? "frail" : null}, el("th", {scope: "row"}, c.text), el("td", {class: "spread", "aria-hidden": "true"}, el("span", {class: "track"}, el("span", {class: "zero", style: {left: at(0)}}),
      el("span", {class: "range", style: {left: at(c.p5), width: 100 * (c.p95 - c.p5) / (hi - lo || 1) + "%"}}), el("span", {class: "mid", style: {left: at(c.p50)}}))),
      el("td", {class: "num"}, signed(c.p5, 1)), el("td", {class: "num"}, signed(c.p50, 1)), el("td", {class: "num"}, signed(c.p95, 1)), el("td", {class: "num"}, c.holds < 95 ? "\u25b2 " : null, num(c.holds, 0), el("span", {class: "ci"}, c.low === null ? "" : num(c.low, 0) + "\u2013" + num(c.high, 0))));
    box.append(el("h3", {class: "docname"}, g), captioned("Spread of the effects, " + g, "The bar goes from the 5th to the 95th percentile of the relative effect over the sampled machines, the mark is the median, the line is zero. \u25b2: holds in less than 95\u202f%.", el("table", {class: "sure"},
      el("thead", null, el("tr", null, el("th", {scope: "col"}, "conclusion"), el("th", {scope: "col"}, "effect"), ["p5", "p50", "p95", "holds"].map(h => el("th", {scope: "col", class: "num"}, h, el("span", {class: "unit"}, " %"))))), el("tbody", null, list.map(row)))));
  }
}
