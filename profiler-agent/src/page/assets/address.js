// The state of the page, kept in the address so that a view can be shared.
//
// span      what the time line spans: "15m" and the like up to now, or two times in ms
// from,until   the range shown; absent: all of the span
// service, pid, comm, thread, window   whose samples
// taken     samples of these times alone, by the times of their own: two times in ms
// label     with these labels, key:value, any number of them
// trace_id, span_id   of this trace, of this span
// type      what is measured: cpu, off_cpu or wall; absent: the first that there is
// tab, search, up, focus, group   how they are shown
// view      changes of the stacks, in order: hide:NAME, collapse:NAME, module:NAME, with:NAME
// order, sort, offset   which functions of the table
// function, module   what the sandwich view is of
// filter    which services are listed
// palette   safe: colours that people who see few colours tell apart
// base      compared with: { service, pid, comm, thread, window, label, from, until, taken }

const NUMBERS = ["from", "until", "pid", "window"];
// Of a selection, and of how it is shown.
const NAMES = ["service", "comm", "thread"];
const TEXTS = ["search", "group", "order", "function", "module", "filter"];
const TABS = ["flame", "heat", "functions", "sandwich"];
const ORDERS = ["self", "total", "change", "name"];
const CHANGE = /^(hide|collapse|module|with):/;
const TYPES = ["cpu", "off_cpu", "wall"];
// An id of digits that are not all zero.
const IDS = { trace_id: /^(?!0+$)[0-9a-f]{32}$/, span_id: /^(?!0+$)[0-9a-f]{16}$/ };
const MAX_LABELS = 32;
const MAX_CHANGES = 32;
// Longer addresses are cut by what people send them with.
const MAX_FOCUS = 3000;

/** The state that an address says. */
export function read(hash) {
  const values = new URLSearchParams(hash.replace(/^#/, ""));
  const state = { span: "15m", tab: "flame", search: "", focus: [], view: [], up: values.get("up") === "1", base: null };
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
    for (const name of NAMES) {
      const value = values.get(prefix + name);
      if (value) found[name] = value;
    }
    const labels = [...new Set(values.getAll(`${prefix}label`))].filter((label) => label.includes(":"));
    if (labels.length > 0) found.label = labels.slice(0, MAX_LABELS);
    const [start, end] = (values.get(`${prefix}taken`) ?? "").split("-").map(Number);
    if (Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && end > start) found.taken = [start, end];
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
  state.view = values.getAll("view").filter((change) => CHANGE.test(change)).slice(0, MAX_CHANGES);
  if (!ORDERS.includes(state.order)) delete state.order;
  if (values.get("sort") === "ascending" || values.get("sort") === "descending") state.sort = values.get("sort");
  const offset = number("offset");
  if (offset !== null && offset > 0) state.offset = Math.floor(offset);
  if (values.get("palette") === "safe") state.palette = "safe";
  if (values.get("base") === "1") state.base = part("base_");
  try {
    const focus = JSON.parse(values.get("focus") ?? "[]");
    if (Array.isArray(focus) && focus.every((name) => typeof name === "string")) state.focus = focus;
  } catch {
    // A focus that was cut on its way is no focus.
  }
  const tab = values.get("tab");
  if (TABS.includes(tab) && (tab !== "sandwich" || state.function !== undefined)) state.tab = tab;
  return state;
}

/** The address of a state. */
export function write(state) {
  const values = new URLSearchParams();
  values.set("span", Array.isArray(state.span) ? state.span.map(Math.round).join("-") : state.span);
  const part = (prefix, found) => {
    for (const name of NUMBERS) if (found[name] !== undefined) values.set(prefix + name, Math.round(found[name]));
    for (const name of NAMES) if (found[name] !== undefined) values.set(prefix + name, found[name]);
    if (found.taken) values.set(`${prefix}taken`, found.taken.join("-"));
    for (const label of found.label ?? []) values.append(`${prefix}label`, label);
  };
  part("", state);
  for (const name of Object.keys(IDS)) if (state[name] !== undefined) values.set(name, state[name]);
  if (state.type !== undefined) values.set("type", state.type);
  if (state.tab !== "flame") values.set("tab", state.tab);
  for (const name of TEXTS) if (state[name]) values.set(name, state[name]);
  if (state.sort) values.set("sort", state.sort);
  if (state.offset) values.set("offset", state.offset);
  if (state.palette) values.set("palette", state.palette);
  for (const change of state.view) values.append("view", change);
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
