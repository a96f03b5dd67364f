// The page: its state, what is asked for it, what is shown of it.

import { actions, showSandwich } from "./actions.js";
import { read, write } from "./address.js";
import { Asker, selection } from "./api.js";
import { Controls } from "./controls.js";
import { FlameGraph } from "./flame.js";
import { FunctionTable } from "./functions.js";
import { Graph } from "./graph.js";
import { showHeading } from "./heading.js";
import { HeatMap, newest } from "./heat.js";
import { LIMIT, showAttributes, showChosen, showLabels } from "./labels.js";
import { redrawLegend, showLegend } from "./legend.js";
import { Lines } from "./lines.js";
import { Menu } from "./menu.js";
import { Beside, Message, showMissing } from "./message.js";
import { Sandwich } from "./sandwich.js";
import { askSearching, Search, showFound } from "./search.js";
import { choosing, KEEPS_PAGE, leavesTaken, narrowing, NOTHING, pick, rangeOf, spanOf as spanOfState, within } from "./selected.js";
import { showFiles, showServices } from "./services.js";
import { showStatus } from "./status.js";
import { Timeline } from "./timeline.js";
import { showTraceLinks, TraceView } from "./trace.js";
import { rate, share } from "./units.js";
import { showVerdict } from "./verdict.js";
import { Zoom } from "./zoom.js";

const $ = (id) => document.getElementById(id);
const POINTS = 240;
const REFRESH_MS = 10_000;

let state = read(location.hash);
let status = null;
let windows = [];
let started = false;
// As they were answered last: the services, and the trace or span that is looked at.
let services = null;
let trace = null;

const askers = Object.fromEntries(["status", "windows", "timeline", "chosen", "services", "flame", "heat", "focus", "functions", "sandwich", "search", "lines", "functionLines", "labels", "verdict", "trace"].map((name) => [name, new Asker()]));

const spanOf = () => spanOfState(state, status);

const ofTrace = () => state.trace_id !== undefined || state.span_id !== undefined;

/** The selection shown, with its range: that of the trace where one is looked at, and of the times that are chosen in it. */
const shown = () => ({ ...whole(), ...(state.taken && { taken: state.taken }), ...within(state.taken) });

/** The same, whatever times are chosen on its heat map. */
function whole() {
  const [from, until] = ofTrace() && trace?.samples > 0 ? [Math.floor(trace.from), Math.ceil(trace.until) + 1] : spanOf();
  return { from, until, ...rangeOf(windows, state.window), ...pick({ ...state, taken: undefined }) };
}

/** What the graph of a state answers: two states with the same text have the same graph. */
const asked = () => JSON.stringify([state.span, pick(state), state.base, state.group, state.view]);

/** The selection of the base: its range is that of the span where none is set. */
function base() {
  const [from, until] = spanOf();
  return { from, until, ...rangeOf(windows, state.base?.window), ...state.base, ...within(state.base?.taken) };
}

/** Changes the state; what depends on it is asked for anew: all, what the tab shows, or nothing. */
function change(changes, { keepZoom = false, replace = false, only = "all" } = {}) {
  if (leavesTaken(state, changes)) delete state.taken;
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined) delete state[name];
    else state[name] = value;
  }
  if (!keepZoom) state.focus = [];
  if (Object.keys(changes).some((name) => !KEEPS_PAGE.includes(name))) delete state.offset;
  remember(replace);
  outdated();
  load({ only });
}

/** Tells whether what is on the screen answers an earlier question: nothing in it can be chosen then. */
function outdated() {
  flame.outdated(zoom.whole !== null && zoom.whole.asked !== asked());
  table.outdated(table.asked !== undefined && table.asked !== asked());
  heat.outdated(heat.asked !== undefined && heat.asked !== ofHeat());
  sandwich.outdated(sandwich.asked !== undefined && sandwich.asked !== ofFunction());
}

function remember(replace = false) {
  const hash = write(state);
  if (hash === location.hash) return;
  history[replace ? "replaceState" : "pushState"](null, "", hash);
}

const lines = new Lines({ asked, ask: () => askers.lines.ask("lines", selection(shown())), known: () => table.lines(lineOf) });
const lineOf = (row) => lines.of(row);
const search = new Search({ ask: (text) => askers.search.ask("search", parameters({ search: text })), found: () => searched() });
const flame = new FlameGraph({ scroll: $("flame-scroll"), height: $("flame-height"), canvas: $("flame-canvas"), tip: $("tip"), spoken: $("spoken"), zoomed: (node) => zoom.to(node), lineOf, entered: () => lines.load(), menu: (node, x, y) => openMenuOf(flame.graph, node, x, y) });
const zoom = new Zoom({ flame, reset: $("reset"), state: () => state, ask: (path) => askers.focus.ask(...question({ focus: JSON.stringify(path) })), finder: () => search.finder(state.search), remember, searched, fail: (error) => fail(error) });
const table = new FunctionTable({
  panel: $("functions-panel"),
  changed: (changes) => change(changes, { keepZoom: true, only: "tab" }),
  picked: ({ name }) => {
    $("search").value = name;
    change({ tab: "flame", search: name }, { keepZoom: true, only: "tab" });
  },
  sandwiched: (row) => showSandwich(row, change),
  menu: (row, x, y) => openMenu(row, {}, x, y),
});
const menu = new Menu($("menu"));
const message = new Message({ box: $("message"), panels: ["flame-panel", "heat-panel", "functions-panel", "sandwich-panel"].map($), again: () => (started ? load() : start()), everything: () => change({ ...NOTHING, view: [] }) });
const sandwich = new Sandwich({ panel: $("sandwich-panel"), tip: $("tip"), spoken: $("spoken"), lineOf, menu: (graph, node, x, y) => openMenuOf(graph, node, x, y) });
const heat = new HeatMap({ panel: $("heat-panel"), tip: $("tip"), spoken: $("spoken"), picked: (taken, range) => change(choosing(state, controls.drags, taken, range, status.live && state.from === undefined && !ofTrace())) });
const beside = new Beside($("beside"));
const timeline = new Timeline({
  section: $("timeline"), canvas: $("timeline-canvas"), cursor: $("timeline-cursor"), shown: $("range-shown"), base: $("range-base"), tip: $("tip"), said: $("timeline-said"),
  picked: (side, picked) => {
    // A range of times is no longer a file.
    const times = { from: picked?.[0], until: picked?.[1], window: undefined, taken: undefined };
    if (side === "base" && state.base) {
      const changed = { ...state.base, ...times };
      change({ base: pick({ ...changed, type: undefined }) });
    } else {
      change(times);
    }
  },
});
const traceView = new TraceView({ box: $("trace"), tip: $("tip"), picked: (picked) => change({ pid: undefined, ...picked }) });
const controls = new Controls({ find, change, state: () => state, shown, base, spanOf, services: () => services, windows: () => windows, turned: (up) => flame.turn(up), searched, recoloured, listServices: () => services && listServices(), written: () => write(state), zoomOut: () => zoom.to(0) });

/** Looks at a trace or span, or at none. */
function find(ids) {
  trace = null;
  change({ ...NOTHING, ...ids, base: null });
}

/** Opens the menu of a function. */
function openMenu(row, more, x, y) {
  menu.open(row.name, actions(row, { ...more, view: state.view, between: state.tab === "sandwich" ? state.function : undefined, change, say: (text) => Object.assign($("spoken"), { textContent: text }) }), x, y);
}

/** Opens the menu of a node: that of its function, and what there is of its stack. */
function openMenuOf(graph, node, x, y) {
  const path = graph.path(node);
  // Another graph may have come before an item is chosen: what was meant is the path.
  const focus = graph === zoom.current ? () => zoom.toPath(path) : undefined;
  openMenu(graph.of(node), { path, focus }, x, y);
}

/** The parameters of what is shown, and of its base where there is one. */
function parameters(more = {}) {
  const { group, view } = state;
  return { ...selection(shown()), ...(state.base ? selection(base(), "base_") : {}), group, view, ...more };
}

/** The query and parameters of the graph. */
const question = (more = {}) => [state.base ? "diff" : "flamegraph", parameters(more)];

/** Draws again what is drawn in the colours that changed. */
function recoloured() {
  for (const part of [flame, heat, sandwich]) part.draw();
  redrawLegend();
}

function searched() {
  const graph = zoom.current;
  const found = graph?.search(search.finder(state.search)) ?? null;
  const problem = search.problem(state.search);
  flame.highlight(found);
  if (problem) said(problem, true);
  else said(found === null ? "" : `${share(found.share)} matched${graph.compared ? `, base ${share(found.baseShare)}` : ""}`);
}

const said = (text, wrong) => showFound($("match"), text, wrong);
const fail = (error) => message.fail(error);
const empty = () => message.empty(shown(), state.type, status?.extent);
const missing = (answer) => showMissing($("damaged"), answer);

function heading() {
  showChosen($("chosen"), state, change);
  const { from, until } = shown();
  showHeading({ title: $("title"), subtitle: $("subtitle") }, { state, live: status?.live, services, trace: ofTrace() ? trace : null, from, until });
}

let loading = 0;

/** Asks for all that the state needs. */
async function load({ quiet = false, only = "all" } = {}) {
  controls.show();
  if (!quiet) {
    loading += 1;
    $("progress").hidden = false;
  }
  try {
    if (ofTrace() && only === "all" && !(await loadTrace())) return;
    $("trace").hidden = !ofTrace();
    for (const id of ["open-trace", "whole-trace"]) if (!ofTrace()) $(id).hidden = true;
    const { from, until } = whole();
    timeline.select(state.from === undefined && state.window === undefined && !ofTrace() ? null : [from, until], state.base ? [base().from, base().until] : null, controls.drags, state.base !== null);
    if (only === "nothing") return;
    const tab = { flame: loadFlame, heat: loadHeat, functions: loadFunctions, sandwich: loadSandwich }[state.tab]();
    // The labels come with the stacks: asked for afterwards, nothing is read twice.
    await (only === "tab" ? tab : Promise.all([beside.of("The time line", loadTimeline()), beside.of("The list of services", loadServices()), tab.then(() => beside.of("Labels and threads", loadLabels()))]));
  } catch (error) {
    fail(error);
  } finally {
    if (!quiet) loading -= 1;
    if (loading === 0) $("progress").hidden = true;
  }
}

async function loadTimeline() {
  const [from, until] = spanOf();
  const times = { from: Math.round(from), until: Math.round(until) };
  const narrowed = narrowing(state);
  const [all, chosen] = await Promise.all([
    askers.timeline.ask("services", { type: state.type, ...times, points: POINTS }),
    narrowed ? askers.chosen.ask("services", { type: state.type, ...times, ...narrowed, points: POINTS }) : null,
  ]);
  if (!all || (narrowed && !chosen)) return;
  timeline.show({ from, until, type: all.type, period: all.period_ns / 1e9, all: all.timeline, chosen: chosen?.timeline ?? null });
}

async function loadServices() {
  const { service, pid, comm, thread, ...others } = shown();
  const answer = await askers.services.ask("services", selection(others));
  if (!answer) return;
  services = answer;
  listServices();
  $("services-total").textContent = answer.samples > 0 ? rate(answer.type, (answer.samples * answer.period_ns) / 1e9 / (answer.window_seconds || 1)) : "";
  if (status && !status.live) showFiles($("file-list"), windows, state.window, (id) => change({ window: id, from: undefined, until: undefined }));
  controls.show();
  heading();
}

/** Lists the services whose names have what the filter box says. */
function listServices() {
  showServices($("service-list"), services, state, (picked) => change({ service: undefined, pid: undefined, comm: undefined, thread: undefined, ...picked }));
}

async function loadLabels() {
  const answer = await askers.labels.ask("labels", { ...selection(shown()), group: state.group, limit: LIMIT });
  if (!answer) return;
  $("labels").hidden = answer.keys.length === 0;
  showLabels($("label-list"), answer, state.label ?? [], (labels) => change({ label: labels.length > 0 ? labels : undefined }));
  $("attributes").hidden = answer.samples === 0;
  showAttributes($("attribute-list"), answer, state, change);
  controls.groups(answer.keys.map((key) => key.key));
  const found = await askers.verdict.ask("verdict", { ...selection(shown()), group: state.group });
  if (found) showVerdict($("verdict"), found);
}

/** Asks for the trace; false where there is nothing more to show. */
async function loadTrace() {
  const { trace_id, span_id } = state;
  const answer = await askers.trace.ask("trace", trace_id === undefined ? { span_id } : { trace_id });
  if (!answer) return false;
  trace = answer;
  $("trace").hidden = answer.samples === 0;
  showTraceLinks({ open: $("open-trace"), all: $("whole-trace") }, answer, { ids: { trace_id, span_id }, template: status?.trace_url, find, change });
  if (answer.samples > 0) {
    traceView.show(answer, state);
    return true;
  }
  services = null;
  heading();
  $("service-list").replaceChildren();
  $("services-total").textContent = "";
  $("labels").hidden = true;
  message.noTrace(trace_id === undefined ? "span" : "trace", status?.extent);
  await loadTimeline();
  return false;
}

async function loadFlame() {
  const now = asked();
  const answer = await askers.flame.ask(...question());
  if (!answer) return;
  missing(answer);
  const graph = new Graph(answer);
  graph.asked = now;
  zoom.renew(graph);
  search.renew();
  outdated();
  if (graph.samples === 0 && graph.baseSamples === 0) {
    empty();
    return;
  }
  message.hide();
  showLegend($("legend"), graph);
  zoom.show(false);
}

/** What the heat map of a state answers. */
const ofHeat = () => JSON.stringify([state.span, pick({ ...state, taken: undefined }), state.search]);

async function loadHeat() {
  const now = ofHeat();
  const range = newest(whole());
  const answer = await askSearching(askers.heat, "heat", { ...selection({ ...whole(), ...range }), search: state.search }, said);
  if (!answer) return;
  missing(answer);
  heat.asked = now;
  message.hide();
  heat.show(answer, state.taken, range.from > Math.ceil(whole().from));
  outdated();
  if (answer.samples === 0) answer.untimed_samples > 0 ? message.untimed(answer) : empty();
}

async function loadFunctions() {
  const now = asked();
  const answer = await askSearching(askers.functions, "functions", parameters({ ...table.parameters(state, state.base !== null), search: state.search }), said);
  if (!answer) return;
  missing(answer);
  if (answer.samples === 0 && !answer.base_samples) {
    empty();
    return;
  }
  message.hide();
  table.show(answer, state);
  table.lines(lineOf);
  lines.load();
  table.asked = now;
  outdated();
}

/** What the sandwich view of a state answers. */
const ofFunction = () => JSON.stringify([asked(), state.function, state.module]);

async function loadSandwich() {
  const now = ofFunction();
  try {
    const answer = await askers.sandwich.ask("sandwich", parameters({ function: state.function, module: state.module }));
    if (!answer) return;
    missing(answer);
    message.hide();
    sandwich.show(answer);
    sandwich.asked = now;
    outdated();
    sandwich.loadLines(() => askers.functionLines.ask("lines", { ...selection(shown()), function: state.function, module: state.module, limit: 20 }), () => ofFunction() === now);
  } catch (error) {
    if (error.status !== 404) throw error;
    message.show("No samples of this function", error.message, "Show everything");
  }
}

async function loadStatus() {
  const answer = await askers.status.ask("status");
  if (!answer) return;
  status = { ...answer, skew: answer.now - Date.now() };
  controls.types(status.types);
  showStatus({ strip: $("status"), dot: $("status-dot"), line: $("status-line"), panel: $("status-panel") }, status);
}

async function start() {
  try {
    await loadStatus();
    controls.begin(status);
    if (!status.extent) {
      message.waiting(status.agent);
      setTimeout(start, 1000);
      return;
    }
    if (!status.live) {
      const answer = await askers.windows.ask("windows");
      windows = answer?.windows ?? [];
      $("files").hidden = windows.length < 2;
      $("timeline").hidden = windows.length < 2;
    }
    flame.turn(state.up);
    started = true;
    await load();
    if (status.live) setTimeout(refresh, REFRESH_MS);
  } catch (error) {
    fail(error);
  }
}

/** New windows come in where the range ends now and nobody is looking at a detail. */
async function refresh() {
  try {
    await loadStatus();
    const following = !Array.isArray(state.span) && state.focus.length === 0 && flame.hovered < 0 && flame.chosen < 0 && !heat.engaged;
    if (following && !document.hidden) {
      await (state.from === undefined && !state.base ? load({ quiet: true }) : Promise.all([loadTimeline(), loadServices()]));
    }
  } catch {
    // The next round may find the agent again; what is on the screen stays.
  }
  setTimeout(refresh, REFRESH_MS);
}

addEventListener("popstate", () => {
  state = read(location.hash);
  trace = null;
  $("search").value = state.search;
  $("filter").value = state.filter ?? "";
  flame.turn(state.up);
  outdated();
  load();
});

start();
