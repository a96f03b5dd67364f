// What is selected by a state of the page: whose samples, and of which time. No document here.

const UNITS = { s: 1, m: 60, h: 3600, d: 86400 };

/** What says whose samples are shown, and of which time. */
const SELECTED = ["type", "from", "until", "service", "pid", "comm", "thread", "window", "label", "trace_id", "span_id", "taken"];

/** The part of a state that selects. */
export const pick = (from) => Object.fromEntries(SELECTED.filter((name) => from[name] !== undefined).map((name) => [name, from[name]]));

/** The changes after which nothing is selected but the type. */
export const NOTHING = Object.fromEntries(SELECTED.filter((name) => name !== "type").map((name) => [name, undefined]));

/** What changes without another selection: what is shown of one belongs to it, and another one starts at the first page. */
export const KEEPS_PAGE = ["offset", "tab", "function", "module", "up", "palette", "filter"];

// What other times are looked at by: those that were chosen among the former are chosen no more.
const TIMES = ["span", "from", "until", "window", "trace_id", "span_id"];

/** Do these changes of a state make the times that are chosen on its heat map void? */
export const leavesTaken = (state, changes) => !("taken" in changes) && TIMES.some((name) => name in changes && changes[name] !== state[name]);

/** The range of times that are chosen. */
export const within = (taken) => (taken ? { from: taken[0], until: taken[1] } : {});

/** The changes by which times are chosen for a side, on a heat map of the range `from` .. `until`; null: none. A map that goes on
 *  with time, as `follows` says, stays at that range. */
export function choosing(state, side, taken, [from, until], follows) {
  if (side === "base" && state.base) {
    const { from: first, until: last, taken: before, ...others } = state.base;
    return { base: taken ? { ...others, taken } : others };
  }
  return taken ? { ...(follows ? { from, until } : {}), taken, tab: "flame" } : { taken: undefined };
}

/** What the samples of a state are narrowed to, but for times; null where it is nothing. */
export function narrowing({ service, pid, comm, thread, label, trace_id, span_id }) {
  const parts = { service, pid, comm, thread, label, trace_id, span_id };
  return Object.values(parts).some((part) => part !== undefined) ? parts : null;
}

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
