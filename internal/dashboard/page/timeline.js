import * as format from "./format.js";
import { byId, el, keyed, pill, show, text } from "./dom.js";

const most = 30;
const records = new Map(); // by kind and id

const moods = { done: "good", partial: "bad", failed: "bad", refused: "bad", held: "bad", canceled: "off", abandoned: "off", planned: "off" };

// add takes in records of purges or deploys, as the API has them.
export function add(kind, list) {
  for (const record of list ?? []) records.set(`${kind} ${record.id}`, { kind, record });
  const kept = [...records.entries()].sort((a, b) => Date.parse(b[1].record.created) - Date.parse(a[1].record.created));
  for (const [key] of kept.splice(most)) records.delete(key);
  render(kept.map(([key, value]) => ({ key, ...value })));
}

export function forget() {
  records.clear();
}

function render(list) {
  keyed(byId("timeline"), list, (one) => one.key, make, update);
  show(byId("timeline-none"), list.length === 0);
}

function make({ kind }) {
  const parts = {
    time: el("time"), title: el("span", { class: "title" }), state: el("span", { class: "state" }), took: el("span", { class: "sub" }),
    facts: el("p", { class: "sub" }), steps: el("ol", { class: "steps" }),
  };
  const node = el("li", { class: kind },
    el("details", {},
      el("summary", {}, parts.time, el("span", { class: "kind" }, kind), parts.title, parts.state, parts.took),
      parts.facts, parts.steps));
  node.parts = parts;
  return node;
}

function update(node, { kind, record }) {
  const { parts } = node;
  const created = new Date(record.created);
  text(parts.time, format.moment(created));
  parts.time.dateTime = record.created;
  text(parts.title, kind === "purge" ? purgeTitle(record) : deployTitle(record));
  pill(parts.state, record.state, moods[record.state] ?? "warn");
  text(parts.took, record.finished ? format.took(record.created, record.finished) : "under way");
  text(parts.facts, facts(kind, record));
  keyed(parts.steps, kind === "purge" ? purgeSteps(record) : deploySteps(record), (s) => s.name,
    (s) => el("li", {}, el("span", { class: "name" }, s.name), el("span", { class: "took" }), el("span", { class: "sub" })),
    (li, s) => {
      text(li.children[1], s.took);
      text(li.children[2], s.detail);
      li.dataset.mood = s.mood ?? "good";
    });
}

const kinds = ["urls", "tags", "prefixes", "hosts", "versions"];

function purgeTitle(r) {
  if (r.everything) return "everything";
  const parts = [];
  for (const kind of kinds) {
    const list = r[kind] ?? [];
    if (list.length > 0) parts.push(`${kind} ${list.slice(0, 3).join(", ")}${list.length > 3 ? ` and ${list.length - 3} more` : ""}`);
  }
  return parts.join("; ");
}

const deployTitle = (r) => `${r.version} in ${r.pool}${r.previous ? `, after ${r.previous}` : ""}`;

function facts(kind, r) {
  const list = [r.id];
  if (r.actor) list.push(`by ${r.actor}`);
  if (r.node) list.push(`at ${r.node}`);
  if (r.soft) list.push("soft");
  if (r.generation) list.push(`generation ${r.generation}`);
  if (r.reason) list.push(r.reason);
  if (r.note) list.push(r.note);
  if (r.behind?.length) list.push(`behind: ${r.behind.join(", ")}`);
  if (r.error) list.push(r.error);
  return list.join(" · ");
}

function purgeSteps(r) {
  const steps = (r.steps ?? []).map((s) => ({ name: s.name, took: format.took(s.started, s.finished), detail: s.detail ?? "" }));
  for (const t of r.targets ?? []) {
    const detail = [`${t.items} items, ${t.attempts} calls`, t.note, t.error && `${t.error.kind}: ${t.error.message}`].filter(Boolean).join("; ");
    steps.push({ name: `at ${t.name}`, took: t.state, detail, mood: t.error ? "bad" : "good" });
  }
  for (const v of r.verified ?? []) {
    steps.push({ name: `verify ${v.url}`, took: v.ok ? "new" : "old", detail: v.error ?? "", mood: v.ok ? "good" : "bad" });
  }
  return steps;
}

// deploySteps are the moments that its record has.
function deploySteps(r) {
  const steps = [];
  const add = (name, at, detail = "") => at && steps.push({ name, took: format.clock(new Date(at)), detail });
  add(r.actor === "edge" ? "noticed" : "called", r.created);
  add("first replica", r.began);
  add("current", r.current);
  if (r.purge) steps.push({ name: "purge", took: r.purge, detail: (r.retired ?? []).join(", ") });
  for (const [version, t] of Object.entries(r.traffic ?? {})) {
    steps.push({ name: `traffic of ${version}`, took: `${format.count(t.requests ?? 0)}`, detail: `${t.failures ?? 0} failures` });
  }
  for (const g of r.guard ?? []) steps.push({ name: `guard: ${g.what}`, took: `${g.new} after ${g.old}`, detail: "", mood: "bad" });
  add("finished", r.finished);
  return steps;
}
