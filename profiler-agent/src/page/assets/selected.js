// What is selected by a state of the page: whose samples, and of which time. No document here.

const UNITS = { s: 1, m: 60, h: 3600, d: 86400 };

/** What says whose samples are shown, and of which time. */
const SELECTED = ["type", "from", "until", "service", "pid", "comm", "thread", "window", "label", "trace_id", "span_id"];

/** The part of a state that selects. */
export const pick = (from) => Object.fromEntries(SELECTED.filter((name) => from[name] !== undefined).map((name) => [name, from[name]]));

/** The changes after which nothing is selected but the type. */
export const NOTHING = Object.fromEntries(SELECTED.filter((name) => name !== "type").map((name) => [name, undefined]));

/** What changes without another selection: what is shown of one belongs to it, and another one starts at the first page. */
export const KEEPS_PAGE = ["offset", "tab", "function", "module", "up", "palette", "filter"];

/** The span of the time line as [from, until] in ms; up to now by the server's clock. */
export function spanOf({ span }, status) {
  if (Array.isArray(span)) return span;
  if (status && !status.live) return status.extent ?? [status.now - 1000, status.now];
  const now = Date.now() + (status ? status.skew : 0);
  return [now - Number(span.slice(0, -1)) * UNITS[span.slice(-1)] * 1000, now];
}

/** The range of a file, by its id. */
export function rangeOf(windows, id) {
  const found = windows.find((window) => window.id === id);
  return found ? { from: found.from, until: found.until } : {};
}
