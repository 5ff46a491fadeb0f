// Every table of every document, sortable.

// Words of the checks that a reader looks for.
const verdicts = {MISS: "more", miss: "more", ok: "less"};

// Tables that the first screen shows already.
const shownFirst = new Set();

// dataTable is a table of t {title, columns [name, unit], rows, notes}; exact: names are shown as they are.
function dataTable(t) {
  const numeric = t.columns.map((_, j) => t.rows.some(r => typeof r[j] === "number") && t.rows.every(r => r[j] === null || r[j] === "" || typeof r[j] === "number"));
  const figures = t.columns.map((_, j) => numeric[j] || j > 0 && t.rows.some(r => r[j]) && t.rows.every(r => r[j] === null || typeof r[j] === "number" || r[j] === "" || /^[~+\u2212-]?[\d.,]+( |$)|^(ERR|n\/a|\?|too few)$/.test(r[j])));
  // Decimals of a column: none when all are whole or large.
  const decimals = t.columns.map((_, j) => {
    if (!numeric[j]) return undefined;
    const v = t.rows.map(r => r[j]).filter(x => typeof x === "number"), most = Math.max(...v.map(Math.abs));
    return v.every(Number.isInteger) ? 0 : most >= 1000 ? 0 : most >= 10 ? 1 : most >= 1 ? 2 : 3;
  });
  // A row of which only the first cell says something heads those below it.
  const heads = r => r.length > 2 && typeof r[0] === "string" && /^\[.*\]$/.test(r[0]) && r.slice(1).every(c => c === "" || c === null);
  const groups = [];
  for (const r of t.rows) {
    if (heads(r)) groups.push({head: r[0].slice(1, -1), rows: []});
    else {
      if (!groups.length) groups.push({head: null, rows: []});
      groups[groups.length - 1].rows.push(r);
    }
  }
  const body = el("tbody");
  let by = -1, down = false;
  const key = c => typeof c === "number" ? c : c === null || c === "" ? null : /^[~+\u2212-]?[\d.,]+( |$|\u202f)/.test(c) ? Number(c.replace(/[~+,]/g, "").replace("\u2212", "-").split(" ")[0]) : c;
  const compare = (a, b) => {
    const x = key(a[by]), y = key(b[by]);
    if (x === null || y === null) return (x === null ? 1 : 0) - (y === null ? 1 : 0); // what is not there comes last, either way
    const c = typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y), "en", {numeric: true});
    return down ? -c : c;
  };
  const codes = t.columns.map((c, j) => /^(function|variant)$/.test(c[0]) || j === 0 && t.rows.some(r => variants.includes(r[0])));
  const fill = () => {
    clear(body);
    for (const g of groups) {
      if (g.head !== null) body.append(el("tr", {class: "group"}, el("th", {scope: "rowgroup", colspan: String(t.columns.length)}, g.head)));
      const rows = by < 0 ? g.rows : [...g.rows].sort(compare);
      for (const r of rows) body.append(el("tr", {class: r[0] === "sum" ? "total" : null}, r.map((c, j) => {
        const text = c === null ? "\u2013" : typeof c === "number" ? num(c, decimals[j]) : c;
        return el(j === 0 ? "th" : "td", {scope: j === 0 ? "row" : null, class: figures[j] ? "num" : c && c.length > 48 ? "long" : verdicts[c] || null}, codes[j] && c ? code(text) : text);
      })));
    }
  };
  const head = el("tr", null, t.columns.map((c, j) => {
    const [name, unit] = t.exact ? c : heading(c);
    const b = el("button", {type: "button", class: "sort", on: {click: () => {
      if (by === j && down !== first(j)) by = -1;
      else if (by === j) down = !down;
      else { by = j; down = first(j); }
      [...head.children].forEach((th, k) => th.setAttribute("aria-sort", k !== by ? "none" : down ? "descending" : "ascending"));
      fill();
    }}}, variants.includes(name) ? code(name) : name || (numeric[j] ? "\u00b1" : "\u00a0"), unit ? el("span", {class: "unit"}, unit) : null);
    return el("th", {scope: "col", class: figures[j] ? "num" : null, "aria-sort": "none"}, b);
  }));
  const first = j => figures[j]; // numbers: largest first
  fill();
  return el("div", {class: "datatable"}, scrollbox(t.title, el("table", {class: "data"}, el("caption", null, t.title), el("thead", null, head), body)), t.notes.map(n => el("p", {class: "note"}, n)));
}

// heading makes of a column's key (snake_case, ends in its unit) a name again.
function heading([key, unit]) {
  const v = variants.find(x => x.replace(/[@.\-]/g, "_").toLowerCase() === key);
  if (v) return [v, unit];
  const u = unit.replace(/^1\//, "per ").replace(/\//g, " per ").replace(/%/g, "percent").toLowerCase().replace(/[^a-z0-9]+/g, "_");
  let name = u && (key === u || key.endsWith("_" + u)) ? key.slice(0, key.length - u.length).replace(/_$/, "") : key;
  name = name.replace(/^p(\d+)_(\d+)$/, "p$1.$2");
  if (!name && unit) return [key ? "\u00b1" : "", unit];
  return [words(name), unit];
}

function drawTables(box) {
  const filter = el("input", {type: "search", id: newID("find"), placeholder: "words of a title", on: {input: () => narrow()}});
  const count = el("span", {class: "sub", role: "status"});
  box.append(el("div", {class: "row"}, el("div", {class: "choice menu"}, el("label", {for: filter.id}, "find a table"), filter), el("div", {class: "choice buttons"}, el("button", {type: "button", class: "plain", on: {click: () => all(true)}}, "Open all"), el("button", {type: "button", class: "plain", on: {click: () => all(false)}}, "Close all")), count));
  const items = [];
  for (const doc of page.docs) {
    if (!doc.tables.length) continue;
    const list = el("div", {class: "doctables"});
    const few = doc.tables.length <= 6;
    for (const t of doc.tables) {
      const d = el("details", {class: "tableitem"}, el("summary", null, t.title || t.id, el("span", {class: "count"}, t.rows.length + (t.rows.length === 1 ? " row" : " rows"))));
      const draw = () => { if (d.childElementCount < 2) d.append(dataTable(t)); };
      d.addEventListener("toggle", () => { if (d.open) draw(); });
      d.draw = draw;
      if (few && !shownFirst.has(t)) { draw(); d.open = true; }
      list.append(d);
      items.push({d, text: (doc.name + " " + t.title + " " + t.id).toLowerCase(), list});
    }
    const section = el("div", null, el("h3", {class: "docname"}, words(doc.name), el("span", {class: "file"}, doc.file)), list);
    list.section = section;
    box.append(section);
  }
  function narrow() {
    const want = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let n = 0;
    for (const i of items) { i.d.hidden = !want.every(w => i.text.includes(w)); if (!i.d.hidden) n++; }
    for (const i of items) i.list.section.hidden = [...i.list.children].every(d => d.hidden);
    count.textContent = n + " of " + items.length + " tables";
  }
  function all(open) { for (const i of items) if (!i.d.hidden) { if (open) i.d.draw(); i.d.open = open; } }
  narrow();
}
