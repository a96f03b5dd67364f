// The state of the page, kept in the address so that a view can be shared.
//
// span      what the time line spans: "15m" and the like up to now, or two times in ms
// from,until   the range shown; absent: all of the span
// service, pid, window   whose samples
// label     with these labels, key:value, any number of them
// trace_id, span_id   of this trace, of this span
// type      what is measured: cpu, off_cpu or wall; absent: the first that there is
// tab, search, up, focus   how they are shown
// base      compared with: { service, pid, window, label, from, until }

const NUMBERS = ["from", "until", "pid", "window"];
const TEXTS = ["service", "tab", "search"];
const TYPES = ["cpu", "off_cpu", "wall"];
// An id of digits that are not all zero.
const IDS = { trace_id: /^(?!0+$)[0-9a-f]{32}$/, span_id: /^(?!0+$)[0-9a-f]{16}$/ };
const MAX_LABELS = 32;
// Longer addresses are cut by what people send them with.
const MAX_FOCUS = 3000;

/** The state that an address says. */
export function read(hash) {
  const values = new URLSearchParams(hash.replace(/^#/, ""));
  const state = { span: "15m", tab: "flame", search: "", focus: [], up: values.get("up") === "1", base: null };
  const number = (name) => {
    const value = Number(values.get(name));
    return values.get(name) !== null && Number.isFinite(value) && value >= 0 ? value : null;
  };
  const part = (prefix) => {
    const found = {};
    for (const name of NUMBERS) {
      const value = number(prefix + name);
      if (value !== null) found[name] = value;
    }
    const service = values.get(`${prefix}service`);
    if (service) found.service = service;
    const labels = [...new Set(values.getAll(`${prefix}label`))].filter((label) => label.includes(":"));
    if (labels.length > 0) found.label = labels.slice(0, MAX_LABELS);
    if (found.from === undefined || found.until === undefined || found.until <= found.from) {
      delete found.from;
      delete found.until;
    }
    return found;
  };
  Object.assign(state, part(""));
  for (const name of TEXTS) {
    const value = values.get(name);
    if (value) state[name] = value;
  }
  for (const [name, shape] of Object.entries(IDS)) {
    const id = values.get(name);
    if (shape.test(id ?? "")) state[name] = id;
  }
  if (TYPES.includes(values.get("type"))) state.type = values.get("type");
  const span = values.get("span");
  if (/^\d{1,4}[smhd]$/.test(span ?? "")) state.span = span;
  const [first, last] = (span ?? "").split("-").map(Number);
  if (last > first && first >= 0) state.span = [first, last];
  if (values.get("base") === "1") state.base = part("base_");
  try {
    const focus = JSON.parse(values.get("focus") ?? "[]");
    if (Array.isArray(focus) && focus.every((name) => typeof name === "string")) state.focus = focus;
  } catch {
    // A focus that was cut on its way is no focus.
  }
  if (state.tab !== "functions") state.tab = "flame";
  return state;
}

/** The address of a state. */
export function write(state) {
  const values = new URLSearchParams();
  values.set("span", Array.isArray(state.span) ? state.span.map(Math.round).join("-") : state.span);
  const part = (prefix, found) => {
    for (const name of NUMBERS) if (found[name] !== undefined) values.set(prefix + name, Math.round(found[name]));
    if (found.service !== undefined) values.set(`${prefix}service`, found.service);
    for (const label of found.label ?? []) values.append(`${prefix}label`, label);
  };
  part("", state);
  for (const name of Object.keys(IDS)) if (state[name] !== undefined) values.set(name, state[name]);
  if (state.type !== undefined) values.set("type", state.type);
  if (state.tab !== "flame") values.set("tab", state.tab);
  if (state.search) values.set("search", state.search);
  if (state.up) values.set("up", "1");
  if (state.focus.length > 0) {
    const focus = JSON.stringify(state.focus);
    if (focus.length <= MAX_FOCUS) values.set("focus", focus);
  }
  if (state.base) {
    values.set("base", "1");
    part("base_", state.base);
  }
  return `#${values}`;
}
