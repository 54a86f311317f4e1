import { byId, el, show, text } from "./dom.js";
import { finished, get, post } from "./api.js";
import { ask } from "./ask.js";
import * as format from "./format.js";

const examples = {
  urls: "https://www.example.com/contacts", tags: "pages", prefixes: "www.example.com/blog", hosts: "www.example.com", versions: "v42", everything: "",
};

// begin makes the forms work. changed is called when an order may have changed
// something.
export function begin(changed) {
  const kind = byId("purge-kind");
  kind.addEventListener("change", () => {
    const values = byId("purge-values");
    values.placeholder = examples[kind.value];
    values.disabled = kind.value === "everything";
  });
  byId("purge-form").addEventListener("submit", (event) => {
    event.preventDefault();
    purge(changed);
  });
  byId("explain-form").addEventListener("submit", (event) => {
    event.preventDefault();
    explain();
  });
}

async function purge(changed) {
  const said = byId("purge-said");
  const kind = byId("purge-kind").value;
  const say = (words, mood) => {
    text(said, words);
    said.dataset.mood = mood;
  };
  const order = { soft: byId("purge-soft").checked, reason: "from the dashboard" };
  if (kind === "everything") {
    order.everything = true;
    if (!(await ask("Purge everything?", "Every page of every host is fetched from the replicas again.", "Purge everything"))) return;
  } else {
    order[kind] = byId("purge-values").value.split("\n").map((line) => line.trim()).filter(Boolean);
  }
  say("Sending…", "calm");
  try {
    const accepted = await post("purge", order);
    say(`${accepted.id} is accepted…`, "calm");
    changed();
    const record = await finished(accepted.id);
    const ended = Boolean(record.finished);
    const time = ended ? ` in ${format.took(record.created, record.finished)}` : "";
    say(`${record.id}: ${record.state}${time}${record.error ? `: ${record.error}` : ""}`, record.state === "done" ? "good" : ended ? "bad" : "calm");
  } catch (error) {
    say(error.message, "bad");
  }
  changed();
}

// explainURL is explain for a URL from a list.
export function explainURL(url) {
  byId("explain-url").value = url;
  byId("explain").scrollIntoView({ block: "start" });
  byId("explain-url").focus({ preventScroll: true });
  explain();
}

async function explain() {
  const said = byId("explain-said");
  text(said, "");
  try {
    const answer = await get("explain", { url: byId("explain-url").value.trim(), header: byId("explain-header").value.trim() });
    byId("explain-facts").replaceChildren(...facts(answer).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
    text(byId("explain-all"), JSON.stringify(answer, null, 2));
    show(byId("explain-result"), true);
  } catch (error) {
    text(said, error.message);
    said.dataset.mood = "bad";
    show(byId("explain-result"), false);
  }
}

const decisions = {
  serve: "a hit: it is served from the cache", "serve-and-refresh": "served stale, and refreshed meanwhile",
  fetch: "a miss: a replica is asked, and the answer may be stored", pass: "past the cache, to a replica", unavailable: "504: the client wants a stored answer only",
};

function stored(entry) {
  const list = [`${entry.status}, ${format.bytes(entry.bytes)}, age ${entry.age}, ${entry.ttl} left of ${entry.lifetime} (by the ${entry.lifetime_from})`];
  if (entry.version) list.push(`version ${entry.version}`);
  if (entry.tags?.length) list.push(`tags ${entry.tags.join(" ")}`);
  return list.join(", ");
}

// facts are what a reader looks for first; the rest is below.
function facts({ answers, notes, verdict, cache, pick, pools }) {
  const list = [["Now it would be", `${decisions[cache.decision] ?? cache.decision}${cache.reason ? ` (${cache.reason})` : ""}`]];
  list.push(["Rule", verdict.rule ? `${verdict.rule}, ${verdict.mode}${verdict.bypassed ? ", bypassed by this request" : ""}` : "none: the origin's fields decide"]);
  const lives = [["browser", verdict.browser], ["edge", verdict.edge], ["stale", verdict.stale]].filter(([, value]) => value).map(([name, value]) => `${name} ${value}`);
  if (lives.length > 0) list.push(["Lifetimes", lives.join(", ")]);
  if (verdict.tags?.length) list.push(["Tags of the rule", verdict.tags.join(", ")]);
  list.push(["Key", `${cache.key.scheme}://${cache.key.host}${cache.key.target}`]);
  const entry = cache.entry;
  list.push(["Stored", entry ? stored(entry) : "nothing that matches this request"]);
  if (cache.last_not_stored) list.push(["Last answer was not stored", Object.values(cache.last_not_stored).join(", ")]);
  list.push(["Answered by", answers]);
  if (pick) list.push(["Would go to", [pick.address, pick.why].filter(Boolean).join(": ")]);
  for (const note of notes ?? []) list.push(["Note", note]);
  for (const pool of pools ?? []) {
    const up = (pool.replicas ?? []).filter((r) => r.state === "up" && r.breaker !== "open" && !r.ejected_until);
    list.push([`Pool ${pool.name}`, up.length > 0 ? `${pool.policy} among ${up.map((r) => `${r.address} (${r.in_flight} in flight)`).join(", ")}` : "no replica would take it"]);
  }
  return list;
}
