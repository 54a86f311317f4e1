import { byId, show, text } from "./dom.js";
import * as api from "./api.js";
import * as charts from "./charts.js";
import * as format from "./format.js";
import * as lists from "./lists.js";
import * as orders from "./orders.js";
import * as timeline from "./timeline.js";
import { pools } from "./pools.js";

const every = 2000;
const listEvery = 30000; // the whole lists of purges and deploys, of which status has the newest

let trusted = false; // no token is asked for here
let running = false; // the page shows what the gateway says
let timer = 0;
let asking = null; // the round under way
let started = ""; // when the gateway that answers was
let answered = null; // when it last did
let lostAt = null;
let againAt = null; // when another process answered for the first time
let listedAt = 0;

// soon has the next round come after a time. There is one at a time, none while
// nobody looks.
function soon(after = every) {
  clearTimeout(timer);
  if (running && !document.hidden) timer = setTimeout(round, after);
}

async function round() {
  if (asking) return asking;
  asking = ask().finally(() => {
    asking = null;
    soon();
  });
  return asking;
}

async function ask() {
  try {
    const listing = Date.now() - listedAt > listEvery;
    const [status, traffic, purges, deploys] = await Promise.all([
      api.get("status"), api.get("traffic", { after: charts.newest() }),
      listing ? api.get("purge", { limit: "20" }) : null, listing ? api.get("deploys", { limit: "20" }) : null,
    ]);
    if (listing) listedAt = Date.now();
    if (started && started !== status.started) return restarted(status);
    started = status.started;
    answered = new Date();
    lostAt = null;
    render(status, traffic, purges, deploys);
  } catch (error) {
    lost(error);
  }
}

// restarted: another process answers, whose counts begin anew.
function restarted(status) {
  started = status.started;
  againAt = new Date();
  charts.forget();
  charts.draw();
  timeline.forget();
  listedAt = 0;
}

function render(status, traffic, purges, deploys) {
  show(byId("lost"), false);
  byId("main").classList.remove("past");
  text(byId("node"), `${status.node} · edge ${status.version} · up for ${format.spell((Date.now() - Date.parse(status.started)) / 1000)} · generation ${status.generation}`);
  text(byId("live"), againAt ? `Live, restarted at ${format.clock(againAt)}` : "Live");
  byId("live").dataset.mood = "good";
  document.title = status.trouble?.length ? `(${status.trouble.length}) edge` : "edge";
  lists.trouble(status.trouble);
  pools(status, refresh);
  charts.add(traffic.points, status);
  lists.top(traffic, orders.explainURL);
  timeline.add("purge", purges?.purges);
  timeline.add("deploy", deploys?.deploys);
  timeline.add("purge", status.purges.last);
  timeline.add("deploy", status.deploys.last);
  lists.dependencies(status.dependencies);
  lists.fleet(status.fleet);
}

// refresh asks at once, and once more if a round is under way that began before.
async function refresh() {
  await asking;
  return round();
}

function lost(error) {
  if (error.status === 401 || error.status === 429) {
    api.token.forget();
    return enter(wordsFor(error));
  }
  if (!(error instanceof api.Refusal)) throw error;
  lostAt ??= new Date();
  const last = answered ? ` What you see is from ${format.clock(answered)}.` : "";
  text(byId("lost"), `The gateway does not answer since ${format.clock(lostAt)}: ${error.message}. Trying again every two seconds.${last}`);
  show(byId("lost"), true);
  byId("main").classList.add("past");
  text(byId("live"), "No answer");
  byId("live").dataset.mood = "bad";
}

function wordsFor(error) {
  switch (error.status) {
    case 401: return "This token is not the gateway's. Nothing was shown or done.";
    case 429: return "Too many wrong tokens: wait a minute.";
    case 0: return `The gateway does not answer: ${error.message}.`;
    default: return error.message;
  }
}

// enter asks for the token.
function enter(words = "") {
  running = false;
  clearTimeout(timer);
  show(byId("main"), false);
  show(byId("leave"), false);
  show(byId("enter"), true);
  text(byId("enter-wrong"), words);
  text(byId("live"), "");
  text(byId("node"), "");
  byId("token").focus();
}

async function tryToken(event) {
  event.preventDefault();
  const candidate = byId("token").value.trim();
  text(byId("enter-wrong"), "");
  try {
    await api.works(candidate);
  } catch (error) {
    byId("token").select();
    return text(byId("enter-wrong"), wordsFor(error));
  }
  api.token.set(candidate);
  byId("token").value = "";
  run();
  byId("main").focus({ preventScroll: true }); // trouble is at the top
}

function run() {
  running = true;
  show(byId("enter"), false);
  show(byId("main"), true);
  show(byId("leave"), !trusted);
  return round();
}

function leave() {
  api.token.forget();
  location.reload(); // so that nothing of what was shown is left
}

function themes() {
  const select = byId("theme");
  const apply = () => {
    const wanted = select.value;
    if (wanted === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = wanted;
    if (running) charts.draw();
  };
  select.value = localStorage.getItem("edge-theme") ?? "auto";
  select.addEventListener("change", () => {
    localStorage.setItem("edge-theme", select.value);
    apply();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
  apply();
}

async function begin() {
  themes();
  orders.begin(refresh);
  byId("enter-form").addEventListener("submit", tryToken);
  byId("leave").addEventListener("click", leave);
  document.addEventListener("visibilitychange", () => soon(0));
  try {
    trusted = await api.open();
  } catch {
    trusted = false; // it does not answer: the round below says so
  }
  if (trusted || api.token.get()) return run();
  enter();
}

begin();
