// How numbers and times are written.

const units = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytes(n) {
  let at = 0;
  while (n >= 1024 && at < units.length - 1) {
    n /= 1024;
    at++;
  }
  return `${at === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)} ${units[at]}`;
}

export function count(n) {
  if (n >= 1e6) return `${(n / 1e6).toFixed(1)} M`;
  if (n >= 1e4) return `${(n / 1e3).toFixed(1)} k`;
  return n < 10 && n % 1 !== 0 ? n.toFixed(1) : String(Math.round(n));
}

export const percent = (share) => `${(share * 100).toFixed(share > 0.995 && share < 1 ? 2 : 1)} %`;

// seconds is a time that something took.
export function seconds(s) {
  if (s < 0.001) return `${Math.round(s * 1e6)} µs`;
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 60) return `${s.toFixed(1)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${Math.round(s % 60)} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

// spell is how long ago something was, in one unit.
export function spell(s) {
  if (s < 60) return `${Math.max(0, Math.round(s))} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} d`;
}

export const clock = (date) => date.toLocaleTimeString([], { hour12: false });

const today = (date) => new Date().toDateString() === date.toDateString();

export const moment = (date) => (today(date) ? clock(date) : `${date.toLocaleDateString()} ${clock(date)}`);

// took is the time between two of the API's times; empty if one is missing.
export function took(from, to) {
  const s = (Date.parse(to) - Date.parse(from)) / 1000;
  if (!Number.isFinite(s)) return "";
  return s < 0.001 ? "< 1 ms" : seconds(s);
}
