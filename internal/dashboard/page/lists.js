import * as format from "./format.js";
import { byId, cell, el, keyed, pill, row, show, sub, text } from "./dom.js";

const missColumns = [["request", "Request", "request"], ["misses", "Misses", "number"], ["why", "Why it was not stored"], ["orders", "", "orders"]];
const costColumns = [["request", "Request", "request"], ["time", "Time", "number"], ["each", "Each", "number"], ["orders", "", "orders"]];

const most = 10;
const slow = 2; // seconds until an answer begins, from which on it is worth a look

const nameOf = (r) => `${r.method === "GET" ? "" : `${r.method} `}${r.host}${r.path}`;

// top shows the two lists of requests. Explaining is the caller's.
export function top(traffic, explain) {
  const list = (id, all, columns, update) => {
    const rows = (all ?? []).slice(0, most);
    keyed(byId(id), rows, nameOf, (r) => {
      const tr = row(columns);
      const button = el("button", { type: "button", class: "small", "aria-label": `Explain ${nameOf(r)}` }, "Explain");
      button.addEventListener("click", () => explain(`${location.protocol}//${r.host}${r.path}`));
      cell(tr, "orders").append(button);
      return tr;
    }, (tr, r) => {
      const place = cell(tr, "request");
      if (!place.firstChild) place.append(el("span", { class: "url" }));
      text(place.firstChild, nameOf(r));
      sub(place, r.rule ?? "");
      update(tr, r);
    });
    show(byId(`${id}-none`), rows.length === 0);
    show(byId(id).parentElement, rows.length > 0);
  };
  list("misses", traffic.misses, missColumns, (tr, r) => {
    text(cell(tr, "misses"), format.count(r.sum));
    text(cell(tr, "why"), r.reason || "it was stored");
  });
  list("cost", traffic.cost, costColumns, (tr, r) => {
    text(cell(tr, "time"), format.seconds(r.sum));
    const each = r.times > 0 ? r.sum / r.times : 0;
    text(cell(tr, "each"), each > 0 ? format.seconds(each) : "–");
    cell(tr, "each").dataset.mood = each > slow ? "warn" : "";
  });
}

export function trouble(list) {
  keyed(byId("trouble-list"), list ?? [], (t) => t.alert + t.summary,
    (t) => el("li", { class: t.severity }, el("strong", {}, t.severity), el("span", {}, t.summary), el("span", { class: "sub" })),
    (node, t) => text(node.children[2], `${t.alert}${t.since ? `, for ${format.spell((Date.now() - Date.parse(t.since)) / 1000)}` : ""}`));
  show(byId("trouble-none"), !list?.length);
  byId("trouble").dataset.count = list?.length ?? 0;
}

const dependencyColumns = [["name", "Name", "name"], ["state", "State"], ["detail", "Detail"]];

export function dependencies(list) {
  keyed(byId("dependencies"), list ?? [], (d) => d.name, () => row(dependencyColumns), (tr, d) => {
    text(cell(tr, "name"), d.name);
    const [word, mood] = d.ok ? ["works", "good"] : d.severity === "notice" ? ["notice", "warn"] : ["down", "bad"];
    pill(cell(tr, "state"), word, mood);
    text(cell(tr, "detail"), d.detail ?? "");
  });
}

const memberColumns = [["node", "Node"], ["applied", "Purges applied", "number"], ["behind", "Behind", "number"]];

export function fleet(f) {
  show(byId("fleet"), Boolean(f));
  show(byId("fleet-alone"), !f);
  if (!f) return;
  pill(byId("fleet-state"), f.trusted ? "up to date" : "not up to date: nothing is served from the cache", f.trusted ? "good" : "bad");
  sub(byId("fleet-state"), f.fault ?? "");
  keyed(byId("members"), f.members ?? [], (m) => m.id, () => row(memberColumns), (tr, m) => {
    text(cell(tr, "node"), m.self ? `${m.node} (this one)` : m.node);
    text(cell(tr, "applied"), m.applied);
    text(cell(tr, "behind"), Math.max(0, f.position - m.applied));
  });
}
