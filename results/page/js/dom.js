// Elements, and numbers as text. Everything from a document becomes a text node: there is no way from here to markup.

// el makes an element. attrs: class, on (listeners), style (properties, set one by one), anything else is an attribute; null and
// false are left out. Children: elements, text, lists of both, null.
function el(tag, attrs, ...children) {
  const e = document.createElement(tag);
  for (const k in attrs || {}) {
    const v = attrs[k];
    if (v === null || v === undefined || v === false) continue;
    if (k === "class") e.className = v;
    else if (k === "on") for (const name in v) e.addEventListener(name, v[name]);
    else if (k === "style") for (const p in v) e.style.setProperty(p, v[p]);
    else e.setAttribute(k, v === true ? "" : v);
  }
  add(e, children);
  return e;
}

function add(e, child) {
  if (Array.isArray(child)) for (const c of child) add(e, c);
  else if (child !== null && child !== undefined && child !== false) e.append(child);
}

function clear(e) { e.replaceChildren(); return e; }

let serial = 0;
function newID(what) { return what + "-" + ++serial; }

const minus = "\u2212", thin = "\u202f";

// num writes a number: thousands in groups, decimals by size or as given.
function num(v, decimals) {
  if (v === null || v === undefined || Number.isNaN(v)) return "\u2013";
  const a = Math.abs(v);
  if (decimals === undefined) decimals = a >= 100 || a === Math.round(a) ? 0 : a >= 10 ? 1 : a >= 1 ? 2 : 3;
  if (a !== 0 && a < 0.0005 && decimals <= 3) return v.toExponential(1).replace("-", minus);
  let s = a.toFixed(decimals);
  const dot = s.indexOf(".");
  let whole = dot < 0 ? s : s.slice(0, dot);
  if (whole.length > 4) whole = whole.replace(/\B(?=(\d{3})+$)/g, thin);
  s = whole + (dot < 0 ? "" : s.slice(dot));
  return (v < 0 && /[1-9]/.test(s) ? minus : "") + s;
}

function signed(v, decimals) { return (v > 0 ? "+" : "") + num(v, decimals); }

function percent(v) { const a = Math.abs(v); return num(v, a >= 9.95 ? 0 : 1) + thin + "%"; }

// words turns a metric or column name into words: map_p99_cycles.
function words(s) { return s.replace(/_/g, " ").trim(); }

// heading1 makes a title of a metric's name.
function heading1(s) {
  const w = words(s).replace(/\b(iotlb|iommu|tlb|llc|cpu|dram|tlp|dma|nic|rx|tx|pcie|nvme|io)\b/g, x => ({pcie: "PCIe", nvme: "NVMe", io: "I/O"})[x] || x.toUpperCase());
  return w.charAt(0).toUpperCase() + w.slice(1);
}

// code marks the names of kernel functions and variants; they may break behind an underscore or @.
function code(s) {
  const parts = s.split(/(?<=[_@.])/);
  return el("code", null, parts.map((p, i) => [i > 0 ? el("wbr") : null, p]));
}

// roving makes one tab stop of a grid of buttons; arrow keys, Home and End move inside it. rows is a list of lists.
function roving(rows) {
  const cells = rows.filter(r => r.length);
  cells.forEach((r, i) => r.forEach((b, j) => {
    b.tabIndex = i === 0 && j === 0 ? 0 : -1;
    b.addEventListener("keydown", ev => {
      let y = i, x = j;
      switch (ev.key) {
        case "ArrowRight": x++; break;
        case "ArrowLeft": x--; break;
        case "ArrowDown": y++; break;
        case "ArrowUp": y--; break;
        case "Home": x = 0; break;
        case "End": x = cells[y].length - 1; break;
        default: return;
      }
      ev.preventDefault();
      y = Math.max(0, Math.min(cells.length - 1, y));
      x = Math.max(0, Math.min(cells[y].length - 1, x));
      cells[y][x].focus();
    });
    b.addEventListener("focus", () => {
      for (const r2 of cells) for (const c of r2) c.tabIndex = -1;
      b.tabIndex = 0;
    });
  }));
}

// scrollbox is a box in which something wide scrolls, reachable by keyboard.
function scrollbox(label, ...children) {
  return el("div", {class: "scroll", role: "region", "aria-label": label, tabindex: "0"}, children);
}

// captioned is a table in a scrollbox with its caption below, where it does not scroll with the table.
function captioned(label, text, table) {
  table.prepend(el("caption", null, label));
  return el("div", {class: "captioned"}, scrollbox(label, table), el("p", {class: "note"}, text));
}

// choice is a group of radio buttons. options: [value, text, note]; dim(value) says that there is nothing to see.
function choice(legend, options, value, change, dim) {
  const name = newID("choice");
  return el("fieldset", {class: "choice"}, el("legend", null, legend), el("div", {class: "options"}, options.map(([v, text]) => {
    const input = el("input", {type: "radio", name, value: v, id: newID("radio"), on: {change: () => change(v)}});
    input.checked = v === value;
    return el("label", {for: input.id, class: dim && dim(v) ? "dim" : null, title: dim && dim(v) ? "not together with the rest of the selection" : null}, input, el("span", null, text));
  })));
}

// menu is a labelled list to choose from, for many options.
function menu(legend, options, value, change) {
  const id = newID("menu");
  const s = el("select", {id, on: {change: () => change(s.value)}}, options.map(([v, text]) => el("option", {value: v}, text)));
  s.value = value;
  return el("div", {class: "choice menu"}, el("label", {for: id}, legend), s);
}

// pick is a choice for few options and a menu for many.
function pick(legend, options, value, change, dim) {
  const chars = options.reduce((n, o) => n + o[1].length + 3, 0);
  return (options.length <= 6 && chars < 70 ? choice : menu)(legend, options, value, change, dim);
}
