import * as format from "./format.js";
import { byId, cell, el, keyed, pill, row, show, sub, text } from "./dom.js";
import { post } from "./api.js";
import { ask } from "./ask.js";

const columns = [
  ["replica", "Replica", "address"], ["state", "State"], ["version", "Version"], ["in_flight", "In flight", "number"], ["latency", "Latency", "number"],
  ["breaker", "Breaker"], ["failures", "Failures", "number"], ["ejections", "Ejections", "number"], ["since", "Since", "number"], ["orders", "", "orders"],
];

const moods = { up: "good", joining: "calm", sick: "bad", draining: "warn", drained: "off" };
const breakers = { closed: "off", "half-open": "warn", open: "bad" };

// show brings the pools in line with what the gateway says of them.
export function pools(status, changed) {
  keyed(byId("pools"), status.pools ?? [], (p) => p.name, (p) => makePool(p, changed), (node, p) => {
    updatePool(node, p, status.deploys?.pools?.[p.name]);
  });
}

function makePool(p, changed) {
  const body = el("tbody");
  const node = el("article", { class: "pool" },
    el("header", {}, el("h3", {}, p.name), el("p", { class: "sub" })),
    el("p", { class: "wrong", role: "alert" }),
    el("table", { class: "list" },
      el("thead", {}, el("tr", {}, ...columns.map(([, label, kind]) => el("th", { class: kind ?? "" }, label)))), body));
  node.parts = { facts: node.querySelector(".sub"), wrong: node.querySelector(".wrong"), body, changed };
  return node;
}

function updatePool(node, p, versions) {
  const facts = [`policy ${p.policy}`, `${p.in_flight} in flight`];
  if (p.queued > 0) facts.push(`${p.queued} waiting`);
  if (p.desired > 0) facts.push(`replicas wanted: ${p.desired}`);
  if (versions?.current) facts.push(`current version ${versions.current}`);
  if (versions?.rollout?.on) facts.push(`on the way: ${versions.rollout.to}`);
  if (p.panic) facts.push("health is ignored: most replicas look sick");
  for (const source of p.sources ?? []) {
    if (source.problem) facts.push(`${source.source}: ${source.problem}`);
  }
  text(node.parts.facts, facts.join(" · "));
  keyed(node.parts.body, p.replicas ?? [], (r) => r.id, (r) => makeReplica(node, p.name, r), updateReplica);
}

function makeReplica(node, pool, r) {
  const tr = row(columns);
  const button = el("button", { type: "button", class: "small" });
  tr.replica = r;
  button.addEventListener("click", () => order(node, pool, tr.replica));
  cell(tr, "orders").append(button);
  tr.button = button;
  return tr;
}

const aside = (r) => r.state === "draining" || r.state === "drained";

function updateReplica(tr, r) {
  tr.replica = r;
  tr.dataset.state = r.state;
  text(cell(tr, "replica"), r.address);
  pill(cell(tr, "state"), r.ejected_until ? "ejected" : r.state, r.ejected_until ? "bad" : moods[r.state] ?? "off");
  sub(cell(tr, "state"), r.ejected_for || r.why || "");
  text(cell(tr, "version"), r.version || "–");
  text(cell(tr, "in_flight"), r.limit > 0 ? `${r.in_flight} of ${r.limit}` : r.in_flight);
  text(cell(tr, "latency"), r.ewma_ms > 0 ? format.seconds(r.ewma_ms / 1000) : "–");
  pill(cell(tr, "breaker"), r.breaker, breakers[r.breaker] ?? "off");
  text(cell(tr, "failures"), `${format.count(r.failures)} of ${format.count(r.requests)}`);
  text(cell(tr, "ejections"), r.ejections);
  text(cell(tr, "since"), format.spell((Date.now() - Date.parse(r.since)) / 1000));
  cell(tr, "since").title = new Date(r.since).toLocaleString();
  text(tr.button, aside(r) ? "Take back" : "Drain");
  const name = `${aside(r) ? "Take back" : "Drain"} ${r.address}`;
  if (tr.button.getAttribute("aria-label") !== name) tr.button.setAttribute("aria-label", name);
  show(tr.button, true);
}

// order drains a replica, after a question, or takes it back.
async function order(node, pool, r) {
  const { wrong, changed } = node.parts;
  text(wrong, "");
  const path = `pools/${encodeURIComponent(pool)}/`;
  try {
    if (aside(r)) {
      await post(path + "undrain", { replica: r.id });
    } else {
      const sure = await ask(`Drain ${r.address}?`, "It finishes what it has and gets nothing new, until it is taken back.", "Drain");
      if (!sure) return;
      await drain(path, r);
    }
  } catch (error) {
    text(wrong, `${r.address}: ${error.message}`);
  }
  changed();
}

async function drain(path, r) {
  try {
    await post(path + "drain", { replica: r.id });
  } catch (error) {
    if (error.code !== "last_replica") throw error;
    const sure = await ask(`${r.address} is the last one`, "No healthy replica would be left: visitors would get 503. Drain it all the same?", "Drain the last one");
    if (sure) await post(path + "drain", { replica: r.id, force: true });
  }
}
