// The control API, as the gateway has it beside this page.

const base = new URL(".", location.href);
const kept = "edge-token"; // in the tab's storage, and nowhere else
const patience = 15000;

export const token = {
  get: () => sessionStorage.getItem(kept) ?? "",
  set: (value) => sessionStorage.setItem(kept, value),
  forget: () => sessionStorage.removeItem(kept),
};

// Refusal is an answer that is an error, in the API's own words. Its status is 0
// when there was no answer.
export class Refusal extends Error {
  constructor(status, message, code = "") {
    super(message);
    this.status = status;
    this.code = code;
  }
}

async function call(method, path, { query, body, wait = 0, as = token.get() } = {}) {
  const url = new URL(path, base);
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value) url.searchParams.append(name, value);
  }
  const headers = { Accept: "application/json" };
  if (as) headers.Authorization = `Bearer ${as}`;
  if (body) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(url, {
      method, headers, body: body && JSON.stringify(body), credentials: "omit", cache: "no-store",
      signal: AbortSignal.timeout(patience + wait),
    });
  } catch (error) {
    throw new Refusal(0, error.name === "TimeoutError" ? "no answer in time" : "it cannot be reached");
  }
  let read = null;
  try {
    read = await answer.json();
  } catch {
    throw new Refusal(answer.status < 400 ? 0 : answer.status, `an answer that is none of the gateway's (${answer.status})`);
  }
  if (!answer.ok && !(path === "readyz" && answer.status === 503)) {
    throw new Refusal(answer.status, read.detail ?? read.error ?? `${answer.status} ${answer.statusText}`, read.code);
  }
  return read;
}

export const get = (path, query) => call("GET", path, { query });
export const post = (path, body) => call("POST", path, { body });

// finished waits until a purge is, for half a minute at most.
export const finished = (id) => call("GET", `purge/${encodeURIComponent(id)}`, { query: { wait: "30s" }, wait: 30000 });

// open reports whether the API asks for no token here: it tells the details of its
// health to those it trusts only. Asked without a token it says so to nobody.
export const open = async () => "dependencies" in (await call("GET", "readyz", { as: "" }));

export const works = (candidate) => call("GET", "status", { as: candidate });
