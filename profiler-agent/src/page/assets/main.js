// The page: its state, what is asked for it, what is shown of it.

import { actions, showSandwich } from "./actions.js";
import { read, write } from "./address.js";
import { Asker, selection } from "./api.js";
import { Controls } from "./controls.js";
import { FlameGraph } from "./flame.js";
import { FunctionTable } from "./functions.js";
import { Graph } from "./graph.js";
import { LIMIT, showAttributes, showChosen, showLabels } from "./labels.js";
import { redrawLegend, showLegend } from "./legend.js";
import { Lines } from "./lines.js";
import { Menu } from "./menu.js";
import { Sandwich } from "./sandwich.js";
import { isExpression, Search } from "./search.js";
import { showFiles, showServices } from "./services.js";
import { showStatus } from "./status.js";
import { Timeline } from "./timeline.js";
import { short, traceAddress, TraceView } from "./trace.js";
import { clock, count, exactly, lapse, range, rate, seconds, share, words, zone } from "./units.js";
import { showVerdict } from "./verdict.js";

const $ = (id) => document.getElementById(id);
const POINTS = 240;
const UNITS = { s: 1, m: 60, h: 3600, d: 86400 };
const REFRESH_MS = 10_000;

let state = read(location.hash);
let status = null;
let windows = [];
// What was answered last: of the whole selection, and of a part of it in full.
let whole = null;
let part = null;
let services = null;
// The trace or span that is looked at, as it was answered.
let trace = null;

const askers = Object.fromEntries(["status", "windows", "timeline", "chosen", "services", "flame", "focus", "functions", "sandwich", "search", "lines", "functionLines", "labels", "verdict", "trace"].map((name) => [name, new Asker()]));

/** The span of the time line as [from, until] in ms. */
function spanOf() {
  if (Array.isArray(state.span)) return state.span;
  if (status && !status.live) return status.extent ?? [status.now - 1000, status.now];
  const now = Date.now() + (status ? status.skew : 0);
  return [now - Number(state.span.slice(0, -1)) * UNITS[state.span.slice(-1)] * 1000, now];
}

const ofTrace = () => state.trace_id !== undefined || state.span_id !== undefined;

/** The selection shown, with its range: that of the trace where one is looked at. */
function shown() {
  const [from, until] = ofTrace() && trace?.samples > 0 ? [Math.floor(trace.from), Math.ceil(trace.until) + 1] : spanOf();
  return { from, until, ...rangeOf(state.window), ...pick(state) };
}

/** The range of a file. */
function rangeOf(id) {
  const found = windows.find((window) => window.id === id);
  return found ? { from: found.from, until: found.until } : {};
}

/** What the graph of a state answers: two states with the same text have the same graph. */
const asked = () => JSON.stringify([state.span, pick(state), state.base, state.group, state.view]);

const SELECTED = ["type", "from", "until", "service", "pid", "comm", "thread", "window", "label", "trace_id", "span_id"];
const pick = (from) => Object.fromEntries(SELECTED.filter((name) => from[name] !== undefined).map((name) => [name, from[name]]));
const NOTHING = Object.fromEntries(SELECTED.filter((name) => name !== "type").map((name) => [name, undefined]));
// What is shown of a selection belongs to it: another one starts at the first page.
const KEEPS_PAGE = ["offset", "tab", "function", "module", "up", "palette", "filter"];

/** The selection of the base: its range is that of the span where none is set. */
function base() {
  const [from, until] = spanOf();
  return { from, until, ...rangeOf(state.base?.window), ...state.base };
}

/** Changes the state; what depends on it is asked for anew: all, what the tab shows, or nothing. */
function change(changes, { keepZoom = false, replace = false, only = "all" } = {}) {
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
  flame.outdated(whole !== null && whole.asked !== asked());
  table.outdated(table.asked !== undefined && table.asked !== asked());
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
const flame = new FlameGraph({ scroll: $("flame-scroll"), height: $("flame-height"), canvas: $("flame-canvas"), tip: $("tip"), spoken: $("spoken"), zoomed: zoomTo, lineOf, entered: () => lines.load(), menu: (node, x, y) => openMenuOf(flame.graph, node, x, y) });
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
const sandwich = new Sandwich({ panel: $("sandwich-panel"), tip: $("tip"), spoken: $("spoken"), lineOf, menu: (graph, node, x, y) => openMenuOf(graph, node, x, y) });
const timeline = new Timeline({
  section: $("timeline"), canvas: $("timeline-canvas"), cursor: $("timeline-cursor"), shown: $("range-shown"), base: $("range-base"), tip: $("tip"), said: $("timeline-said"),
  picked: (side, picked) => {
    // A range of times is no longer a file.
    const times = { from: picked?.[0], until: picked?.[1], window: undefined };
    if (side === "base" && state.base) {
      const changed = { ...state.base, ...times };
      change({ base: pick({ ...changed, type: undefined }) });
    } else {
      change(times);
    }
  },
});
const traceView = new TraceView({ box: $("trace"), tip: $("tip"), picked: (picked) => change({ pid: undefined, ...picked }) });
const controls = new Controls({ find, change, state: () => state, shown, base, spanOf, services: () => services, windows: () => windows, turned: (up) => flame.turn(up), searched, recoloured, listServices: () => services && listServices(), written: () => write(state), zoomOut: () => zoomTo(0) });

/** Looks at a trace or span, or at none. */
function find(ids) {
  trace = null;
  change({ ...NOTHING, ...ids, base: null });
}

/** Opens the menu of a function. */
function openMenu(row, more, x, y) {
  const say = (text) => {
    $("spoken").textContent = text;
  };
  menu.open(row.name, actions(row, { ...more, view: state.view, between: state.tab === "sandwich" ? state.function : undefined, change, say }), x, y);
}

/** Opens the menu of a node: that of its function, and what there is of its stack. */
function openMenuOf(graph, node, x, y) {
  const path = graph.path(node);
  // Another graph may have come before an item is chosen: what was meant is the path.
  const focus = graph === current() ? () => focusOn(path) : undefined;
  openMenu(graph.of(node), { path, focus }, x, y);
}

// The graph that is on the screen.
const current = () => part ?? whole;

/** Zooms to a node of the graph that is on the screen. */
function zoomTo(node) {
  const graph = current();
  if (graph) focusOn(graph.path(node));
}

/** Zooms to a path, unless another graph is about to come. */
function focusOn(path) {
  if (flame.busy) return;
  state.focus = path;
  remember();
  showFocus(true);
}

/** Shows the focus: at once from what is there, and in full as soon as it is answered. */
function showFocus(moving) {
  const path = state.focus;
  $("reset").hidden = path.length === 0;
  const inWhole = whole?.find(path) ?? -1;
  const inPart = part ? part.find(path) : -1;
  if (inWhole >= 0 && (part === null || inPart < 0 || path.length === 0)) {
    const same = flame.graph === whole;
    part = null;
    if (same && moving) flame.zoom(inWhole);
    else flame.show(whole, inWhole, whole.search(search.finder(state.search)));
  } else if (inPart >= 0) {
    if (flame.graph === part && moving) flame.zoom(inPart);
    else flame.show(part, inPart, part.search(search.finder(state.search)));
  } else if (path.length > 0 && !whole) {
    return;
  }
  searched();
  if (path.length > 0 && whole && (whole.pruned > 0 || inWhole < 0)) loadFocus(path);
}

async function loadFocus(path) {
  try {
    const answer = await askers.focus.ask(...question({ focus: JSON.stringify(path) }));
    if (!answer || path !== state.focus) return;
    part = new Graph(answer);
    flame.show(part, Math.max(part.find(path), 0), part.search(search.finder(state.search)));
    searched();
  } catch (error) {
    // The focus is gone from a range that moved on: all of it is shown.
    if (error.status === 404) {
      state.focus = [];
      remember(true);
      showFocus(false);
    } else {
      fail(error);
    }
  }
}

/** The parameters of what is shown, and of its base where there is one. */
function parameters(more = {}) {
  const { group, view } = state;
  return { ...selection(shown()), ...(state.base ? selection(base(), "base_") : {}), group, view, ...more };
}

/** The query and parameters of the graph. */
const question = (more = {}) => [state.base ? "diff" : "flamegraph", parameters(more)];

/** Draws what is drawn by kind again, in the colours that hold now. */
function recoloured() {
  if (recoloured.palette === state.palette) return;
  recoloured.palette = state.palette;
  flame.draw();
  sandwich.draw();
  redrawLegend();
}

function searched() {
  const graph = current();
  const found = graph?.search(search.finder(state.search)) ?? null;
  const problem = search.problem(state.search);
  flame.highlight(found);
  if (problem) said(problem, true);
  else said(found === null ? "" : `${share(found.share)} matched${graph.compared ? `, base ${share(found.baseShare)}` : ""}`);
}

/** Says what the search found, or what is wrong with it. */
function said(text, wrong = false) {
  $("match").textContent = text;
  $("match").classList.toggle("wrong", wrong);
}

function fail(error) {
  message("That did not work", error.message, "Try again");
}

function message(title, text, action) {
  const box = $("message");
  box.replaceChildren();
  box.hidden = title === null;
  for (const panel of ["flame-panel", "functions-panel", "sandwich-panel"]) $(panel).style.visibility = title === null ? "" : "hidden";
  if (title === null) return;
  const add = (name, content) => Object.assign(box.appendChild(document.createElement(name)), { textContent: content });
  add("h3", title);
  add("p", text);
  if (action) add("button", action).addEventListener("click", () => (action === "Try again" ? load() : change({ ...NOTHING, view: [] })));
}

function waiting() {
  const left = status.agent?.next_window_seconds;
  const length = status.agent?.window_seconds || 10;
  message("Waiting for the first window", left === undefined || left === null
    ? "The agent is sampling; its first profile will be here in a moment."
    : `Every CPU is being sampled. The first window closes in ${Math.ceil(left)}\u00a0s.`);
  const pulse = document.createElement("div");
  pulse.className = "pulse";
  const bar = pulse.appendChild(document.createElement("i"));
  bar.style.width = `${Math.min(100, (1 - (left ?? 0) / length) * 100)}%`;
  $("message").prepend(pulse);
  setTimeout(start, 1000);
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
    const { from, until } = shown();
    timeline.select(state.from === undefined && state.window === undefined && !ofTrace() ? null : [from, until], state.base ? [base().from, base().until] : null, controls.drags, state.base !== null);
    if (only === "nothing") return;
    const tab = { flame: loadFlame, functions: loadFunctions, sandwich: loadSandwich }[state.tab]();
    // The labels come with the stacks: asked for afterwards, nothing is read twice.
    await (only === "tab" ? tab : Promise.all([loadTimeline(), loadServices(), tab.then(loadLabels)]));
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
  const { type, service, pid, comm, thread, label, trace_id, span_id } = state;
  const parts = { service, pid, comm, thread, label, trace_id, span_id };
  const narrowed = Object.values(parts).some((part) => part !== undefined);
  const [all, chosen] = await Promise.all([
    askers.timeline.ask("services", { type, ...times, points: POINTS }),
    narrowed ? askers.chosen.ask("services", { type, ...times, ...parts, points: POINTS }) : null,
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
  const whole = trace_id ?? (answer.traces.length === 1 ? answer.traces[0] : undefined);
  const address = traceAddress(status?.trace_url, whole, span_id ?? answer.spans[0]?.span_id);
  $("open-trace").hidden = address === null;
  if (address !== null) $("open-trace").href = address;
  $("whole-trace").hidden = span_id === undefined || whole === undefined;
  $("whole-trace").onclick = () => (trace_id === undefined ? find({ trace_id: whole, span_id: undefined }) : change({ span_id: undefined }));
  if (answer.samples > 0) {
    traceView.show(answer, state);
    return true;
  }
  services = null;
  heading();
  $("service-list").replaceChildren();
  $("services-total").textContent = "";
  $("labels").hidden = true;
  const extent = status?.extent;
  const kept = extent ? ` There are profiles from ${clock(extent[0])} to ${clock(extent[1])}.` : "";
  message(`No sample of this ${trace_id === undefined ? "span" : "trace"}`, `A request that uses little CPU time may pass between two samples, and its service has to tell its trace.${kept}`, "Show everything");
  await loadTimeline();
  return false;
}

/** What is said of a trace above its flame graph. */
function traceHeading() {
  const { trace_id, span_id, service } = state;
  const name = span_id === undefined ? `Trace ${trace_id}` : `Span ${span_id}`;
  $("title").textContent = service === undefined ? name : `${name} · ${service}`;
  document.title = `${span_id === undefined ? `Trace ${short(trace_id)}` : name} – Profiler`;
  if (trace.samples === 0) {
    $("subtitle").textContent = "";
    return;
  }
  const many = (number, one) => `${count(number)} ${one}${number === 1 ? "" : "s"}`;
  const parts = [trace.times.length > 0 ? `${exactly(trace.from)}, ${lapse(trace.until - trace.from)}` : range(trace.from, trace.until)];
  const times = [`${seconds(trace.cpu_ns / 1e9)} of CPU time`];
  if (trace.off_cpu_ns > 0) times.push(`${seconds(trace.off_cpu_ns / 1e9)} off CPU`);
  parts.push(`${many(trace.samples, "sample")}, ${times.join(", ")}`, many(trace.services.length, "service"), many(trace.spans.length, "span"));
  if (span_id !== undefined && trace_id !== undefined) parts.unshift(`of trace ${short(trace_id)}`);
  $("subtitle").textContent = parts.join("  ·  ");
}

function heading() {
  showChosen($("chosen"), state, change);
  if (ofTrace() && trace) {
    traceHeading();
    return;
  }
  const found = services?.services.find((service) => service.name === state.service);
  const process = found?.processes.find((candidate) => candidate.pid === state.pid);
  const name = state.service ?? (state.pid === undefined ? "Everything" : `Process ${state.pid}`);
  $("title").textContent = process ? `${name} · ${process.pid} ${process.comm}` : name;
  document.title = `${$("title").textContent} – Profiler`;
  const samples = process?.samples ?? found?.samples ?? (state.service === undefined && state.pid === undefined ? services?.samples : 0) ?? 0;
  const { from, until } = shown();
  const time = (samples * (services?.period_ns ?? 0)) / 1e9;
  const parts = [`${range(from, until)} ${zone(until)}`, `${seconds(time)} of ${words(services?.type).time}`];
  if (status?.live) parts.push(rate(services?.type, time / (services?.window_seconds || 1)));
  if (found) parts.push(`${share(samples / (services.samples || 1))} of ${state.label ? "all that has these labels" : "everything"}`);
  if (found && !process && found.process_count > 1) parts.push(`${count(found.process_count)} processes`);
  $("subtitle").textContent = parts.join("  ·  ");
}

async function loadFlame() {
  const now = asked();
  const answer = await askers.flame.ask(...question());
  if (!answer) return;
  missing(answer);
  whole = new Graph(answer);
  whole.asked = now;
  part = null;
  search.renew();
  outdated();
  if (whole.samples === 0 && whole.baseSamples === 0) {
    empty();
    return;
  }
  message(null);
  showLegend($("legend"), whole);
  showFocus(false);
}

async function loadFunctions() {
  const now = asked();
  let answer;
  try {
    answer = await askers.functions.ask("functions", parameters({ ...table.parameters(state, state.base !== null), search: state.search }));
  } catch (error) {
    if (error.status !== 400 || !isExpression(state.search)) throw error;
    said(error.message, true);
    return;
  }
  if (!answer) return;
  said("");
  missing(answer);
  if (answer.samples === 0 && !answer.base_samples) {
    empty();
    return;
  }
  message(null);
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
    message(null);
    sandwich.show(answer);
    const found = await askers.functionLines.ask("lines", { ...selection(shown()), function: state.function, limit: 20 });
    if (found && ofFunction() === now) sandwich.lines(found);
    sandwich.asked = now;
    outdated();
  } catch (error) {
    if (error.status !== 404) throw error;
    message("No samples of this function", error.message, "Show everything");
  }
}

/** Says how many windows are not in an answer. */
function missing({ damaged_windows }) {
  const line = $("damaged");
  line.hidden = damaged_windows === 0;
  line.textContent = damaged_windows === 1
    ? "One window of this range is damaged on disk: its samples are missing here."
    : `${count(damaged_windows)} windows of this range are damaged on disk: their samples are missing here.`;
}

function empty() {
  const { from, until } = shown();
  const extent = status?.extent;
  const text = extent && (until < extent[0] || from > extent[1])
    ? `There are profiles from ${clock(extent[0])} to ${clock(extent[1])}.`
    : `Nothing of this ${state.type === undefined || state.type === "cpu" ? "ran on a CPU" : "was measured"} between ${range(from, until)}.`;
  message("No samples here", text, "Show everything");
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
      waiting();
      return;
    }
    if (!status.live) {
      const answer = await askers.windows.ask("windows");
      windows = answer?.windows ?? [];
      $("files").hidden = windows.length < 2;
      $("timeline").hidden = windows.length < 2;
    }
    flame.turn(state.up);
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
    const following = !Array.isArray(state.span) && state.focus.length === 0 && flame.hovered < 0 && flame.chosen < 0;
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
  flame.turn(state.up);
  outdated();
  load();
});

start();
