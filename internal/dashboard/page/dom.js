// The page is made of nodes and texts. What comes from visitors, replicas or
// configurations is text only: nothing here reads it as markup.

export const byId = (id) => document.getElementById(id);

// el makes an element: its properties, then its children, which are elements or
// texts.
export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node && name !== "list") node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// text sets a text, unless it is the same: what a reader has selected, and what a
// screen reader reads, stays.
export function text(node, value) {
  const wanted = String(value ?? "");
  if (node.textContent !== wanted) node.textContent = wanted;
}

export function show(node, yes) {
  if (node.hidden === yes) node.hidden = !yes;
}

// keyed brings the children of a node in line with items. A child belongs to its
// item's key for as long as there is one, so that focus, selection and what was
// opened stay.
export function keyed(parent, items, keyOf, make, update) {
  parent.known ??= new Map();
  const known = parent.known;
  const wanted = new Set();
  let at = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    wanted.add(key);
    let node = known.get(key);
    if (!node) {
      node = make(item);
      known.set(key, node);
    }
    update(node, item);
    if (node === at) at = at.nextElementSibling;
    else parent.insertBefore(node, at);
  }
  for (const [key, node] of known) {
    if (wanted.has(key)) continue;
    known.delete(key);
    node.remove();
  }
}

// cells gives a row its cells. Each is a td with the column's name, which stands
// beside it where the screen has no room for a table.
export function row(columns) {
  const tr = el("tr");
  tr.cells_ = {};
  for (const [name, label, kind] of columns) {
    const td = el("td", { class: kind ?? "" });
    td.dataset.label = label;
    tr.cells_[name] = td;
    tr.append(td);
  }
  return tr;
}

export const cell = (tr, name) => tr.cells_[name];

// pill is a word with a colour.
export function pill(node, word, mood) {
  let inner = node.querySelector(":scope > .pill");
  if (!inner) {
    inner = el("span", { class: "pill" });
    node.prepend(inner);
  }
  text(inner, word);
  if (inner.dataset.mood !== mood) inner.dataset.mood = mood;
  return inner;
}

// sub is the small line under the first one of a cell.
export function sub(node, value) {
  let inner = node.querySelector(":scope > .sub");
  if (!inner) {
    inner = el("span", { class: "sub" });
    node.append(inner);
  }
  text(inner, value);
  show(inner, Boolean(value));
}
