import uPlot from "./uplot.js";
import * as format from "./format.js";
import { byId, el, keyed, text } from "./dom.js";

const mostPoints = 720; // an hour's

let points = [];
const charts = [];

const fromCache = (p) => p.hits + p.stale + p.revalidated;
const cacheable = (p) => fromCache(p) + p.misses + p.errors;
const all = (p) => cacheable(p) + p.bypasses;

// lines are what a chart shows: a name, its colour's name, and its value.
const plans = [
  {
    at: "chart-ratio", write: format.percent, range: () => [0, 1],
    lines: [{ name: "hits", colour: "good", of: (p) => (cacheable(p) ? fromCache(p) / cacheable(p) : null) }],
  },
  {
    at: "chart-requests", write: format.count,
    lines: [
      { name: "from the cache", colour: "good", of: (p) => fromCache(p) / p.seconds },
      { name: "misses", colour: "warn", of: (p) => (p.misses + p.errors) / p.seconds },
      { name: "past the cache", colour: "calm", of: (p) => p.bypasses / p.seconds },
    ],
  },
  {
    at: "chart-bytes", write: format.bytes, steps: Array.from({ length: 40 }, (_, n) => 2 ** n),
    lines: [
      { name: "out of the cache", colour: "good", of: (p) => p.cache_bytes / p.seconds },
      { name: "from replicas", colour: "warn", of: (p) => p.replica_bytes / p.seconds },
    ],
  },
];

// colour is one of the style sheet's, as a canvas can read it.
function colour(name) {
  const probe = el("i");
  probe.style.color = `var(--line-${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

function options(plan, width) {
  const axis = { stroke: colour("text"), grid: { stroke: colour("grid"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  return {
    width, height: 150, padding: [8, 26, 0, 0],
    cursor: { y: false, points: { size: 6 } },
    legend: { live: true },
    scales: { x: { range: sinceAMinute }, y: { range: plan.range ?? ((_, low, high) => [0, Math.max(1, high * 1.1)]) } },
    axes: [
      { ...axis, space: 70, size: 26, values: times },
      { ...axis, size: 62, space: 34, ...(plan.steps && { incrs: plan.steps }), values: (_, values) => values.map((v) => plan.write(v)) },
    ],
    series: [
      { label: "at", value: (_, t) => (t == null ? "" : format.clock(new Date(t * 1000))) },
      ...plan.lines.map((line) => ({
        label: line.name, stroke: colour(line.colour), width: 2, points: { show: () => points.length < 3 },
        value: (_, v, __, at) => written(plan, at == null ? points.at(-1) && line.of(points.at(-1)) : v),
      })),
    ],
  };
}

// times are those of an axis: with seconds, where minutes are not enough.
const times = (_, list) => list.map((t) => format.clock(new Date(t * 1000)).slice(0, list.at(-1) - list[0] < 600 ? 8 : 5));

// written is a value in the legend: the one under the pointer, else the newest.
const written = (plan, v) => (v == null ? "–" : plan.write(v));

// sinceAMinute shows a minute at least, also when there is nothing yet. Of one point
// uPlot would make a day.
function sinceAMinute(_, low, high) {
  const end = (points.length === 1 ? low : high) ?? Date.now() / 1000;
  return [Math.min(low ?? end, end - 60), end];
}

const data = (plan) => [
  points.map((p) => Date.parse(p.at) / 1000),
  ...plan.lines.map((line) => points.map(line.of)),
];

const widthOf = (place) => Math.max(200, place.clientWidth);

// draw makes the charts anew, in the colours of the moment.
export function draw() {
  for (const chart of charts.splice(0)) chart.destroy();
  for (const plan of plans) {
    const place = byId(plan.at);
    place.replaceChildren();
    charts.push(new uPlot(options(plan, widthOf(place)), data(plan), place));
  }
}

new ResizeObserver(() => {
  charts.forEach((chart, i) => {
    const width = widthOf(byId(plans[i].at));
    if (width !== chart.width) chart.setSize({ width, height: 150 });
  });
}).observe(document.body);

// newest is the time after which points are news.
export const newest = () => points.at(-1)?.at ?? "";

export function forget() {
  points = [];
}

// add takes in what came since, and shows it.
export function add(news, status) {
  points = points.concat(news).slice(-mostPoints);
  if (charts.length === 0) draw();
  else if (news.length > 0) charts.forEach((chart, i) => chart.setData(data(plans[i])));
  numbers(status);
}

const sum = (list, of) => list.reduce((total, p) => total + of(p), 0);

// Shares from which on answers are worth a look: those of the alerts.
const burns = { fast: 0.0144, slow: 0.006 };
const manyUnwanted = 0.3;

// answers are the two shares of what visitors should not get.
function answers(last, time) {
  const visits = sum(last, (p) => p.visits);
  const share = (n) => (visits ? format.percent(n / visits) : "–");
  const failures = sum(last, (p) => p.failures);
  const unwanted = sum(last, (p) => p.client_errors);
  const failed = failures / (visits || 1);
  return [
    ["Failed", share(failures), "5xx or cut, last minute", failed > burns.fast ? "bad" : failed > burns.slow ? "warn" : ""],
    ["Client errors", share(unwanted), "4xx, last minute", unwanted > time && unwanted > manyUnwanted * visits ? "warn" : ""],
  ];
}

// numbers are those of the last minute, and what the cache holds.
function numbers(status) {
  const last = points.slice(-12);
  const time = sum(last, (p) => p.seconds) || 1;
  const asked = sum(last, cacheable);
  const cache = status.cache ?? {};
  const list = [
    ...answers(last, time),
    ["Hit ratio", asked ? format.percent(sum(last, fromCache) / asked) : "–", "last minute"],
    ["Requests", `${format.count(sum(last, all) / time)} /s`, "last minute"],
    ["Out of the cache", `${format.bytes(sum(last, (p) => p.cache_bytes) / time)}/s`, "last minute"],
    ["From replicas", `${format.bytes(sum(last, (p) => p.replica_bytes) / time)}/s`, "last minute"],
    ["Stored", format.bytes(cache.bytes ?? 0), `of ${format.bytes(cache.max_bytes ?? 0)}, ${format.count(cache.entries ?? 0)} answers`],
  ];
  if (cache.disk) list.push(["On disk", format.bytes(cache.disk.bytes), `of ${format.bytes(cache.disk.max_bytes)}`]);
  keyed(byId("numbers"), list, ([name]) => name,
    ([name]) => el("div", {}, el("dt", {}, name), el("dd", { class: "big" }), el("dd", { class: "sub" })),
    (node, [, value, more, mood]) => {
      text(node.children[1], value);
      node.children[1].dataset.mood = mood ?? "";
      text(node.children[2], more);
    });
}
