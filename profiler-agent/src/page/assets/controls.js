// Buttons, menus and fields: what a person chooses becomes a change of the state.

import { address, selection } from "./api.js";
import { usePalette } from "./colour.js";
import { element } from "./tip.js";
import { parseIds } from "./trace.js";
import { range, span, words, zone } from "./units.js";

const $ = (id) => document.getElementById(id);
const SPANS = ["5m", "15m", "1h", "6h", "24h", "7d"];
const FORMATS = [
  ["pprof", "pprof", "for go tool pprof and speedscope"],
  ["collapsed", "Collapsed stacks", "one line a stack, for scripts"],
  ["svg", "Picture", "an interactive SVG"],
];
const SEARCH_MS = 140;
const TABS = ["flame", "heat", "functions", "sandwich"];
const GROUPS = [["", "Default groups"], ["service", "By service"], ["process", "By process"], ["thread", "By thread"], ["none", "Not grouped"]];

export class Controls {
  constructor(page) {
    this.page = page;
    // Which range a drag on the time line sets.
    this.drags = "shown";
    this.begun = false;
  }

  /** Makes the controls work, once it is known what is shown. */
  begin(status) {
    if (this.begun) return;
    this.begun = true;
    this.live = status.live;
    const { change, state } = this.page;
    $("spans").hidden = !status.live;
    if (status.live) {
      for (const length of SPANS) {
        const button = element("button", { type: "button", text: length, parent: $("spans") });
        button.dataset.span = length;
        button.addEventListener("click", () => change({ span: length, from: undefined, until: undefined }));
      }
    }
    $("follow").addEventListener("click", () => change({ span: Array.isArray(state().span) ? "15m" : state().span, from: undefined, until: undefined }));
    $("reset").addEventListener("click", () => this.page.zoomOut());
    for (const [id, up] of [["icicle", false], ["flame", true]]) {
      $(id).addEventListener("click", () => {
        change({ up }, { keepZoom: true, replace: true, only: "nothing" });
        this.page.turned(up);
      });
    }
    for (const tab of TABS) $(`tab-${tab}`).addEventListener("click", () => change({ tab }, { keepZoom: true, only: "tab" }));
    document.querySelector("[role=tablist]").addEventListener("keydown", (event) => {
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      const tabs = TABS.filter((name) => !$(`tab-${name}`).hidden);
      const step = event.key === "ArrowLeft" ? tabs.length - 1 : 1;
      const tab = tabs[(tabs.indexOf(state().tab) + step) % tabs.length];
      change({ tab }, { keepZoom: true, only: "tab" });
      $(`tab-${tab}`).focus();
    });
    $("group").addEventListener("change", (event) => change({ group: event.target.value || undefined }));
    this.groups([]);
    const filter = $("filter");
    filter.value = state().filter ?? "";
    filter.addEventListener("input", () => {
      change({ filter: filter.value || undefined }, { keepZoom: true, replace: true, only: "nothing" });
      this.page.listServices();
    });
    this.#search();
    this.#find();
    this.#compare();
    this.#menus();
    this.#help();
    $("palette").addEventListener("click", () => change({ palette: state().palette ? undefined : "safe" }, { keepZoom: true, replace: true, only: "nothing" }));
  }

  #help() {
    const help = $("help");
    const open = () => !help.open && help.showModal();
    $("help-open").addEventListener("click", open);
    // A click beside the dialog is one on what lies behind it.
    help.addEventListener("click", (event) => event.target === help && help.close());
    addEventListener("keydown", (event) => {
      if (event.key !== "?" || isTyping(event) || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      open();
    });
    // The address has the state: a fragment of its own would replace it.
    $("skip").addEventListener("click", (event) => {
      event.preventDefault();
      $("view").focus();
    });
  }

  /** Offers what can be looked at, where that is more than one type. */
  types(types) {
    const box = $("types");
    box.hidden = types.length < 2;
    if (this.known === types.join()) return;
    this.known = types.join();
    this.first = types[0];
    box.replaceChildren();
    for (const type of types) {
      const button = element("button", { type: "button", text: words(type).name, parent: box });
      button.dataset.type = type;
      button.addEventListener("click", () => this.page.change({ type: type === types[0] ? undefined : type }));
    }
    this.#pressed();
  }

  /** Offers what stacks can be grouped by: what every sample has, and these labels. */
  groups(keys) {
    const now = this.page.state().group ?? "";
    const wanted = [...GROUPS, ...keys.map((key) => [`label:${key}`, `By label ${key}`])];
    if (!wanted.some(([value]) => value === now)) wanted.push([now, `By ${now.replace(":", " ")}`]);
    options($("group"), wanted, now);
  }

  #pressed() {
    const type = this.page.state().type ?? this.first;
    for (const button of $("types").children) button.setAttribute("aria-pressed", String(button.dataset.type === type));
  }

  #search() {
    const { change, state, searched } = this.page;
    const field = $("search");
    field.value = state().search;
    let timer = 0;
    field.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        if (state().tab === "functions" || state().tab === "heat") {
          change({ search: field.value }, { keepZoom: true, replace: true, only: "tab" });
          return;
        }
        state().search = field.value;
        delete state().offset;
        searched();
        history.replaceState(null, "", this.page.written());
      }, SEARCH_MS);
    });
    field.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      field.value = "";
      field.dispatchEvent(new Event("input"));
    });
    addEventListener("keydown", (event) => {
      if (event.key !== "/" || isTyping(event) || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      field.focus();
      field.select();
    });
  }

  #find() {
    const field = $("find-id");
    const problem = $("find-problem");
    field.addEventListener("input", () => {
      problem.hidden = true;
    });
    $("find").addEventListener("submit", (event) => {
      event.preventDefault();
      if (field.value.trim() === "") return;
      const ids = parseIds(field.value);
      problem.hidden = ids !== null;
      if (ids === null) {
        problem.textContent = "A trace id has 32 hexadecimal digits, a span id 16.";
        return;
      }
      field.value = "";
      field.blur();
      this.page.find(ids);
    });
    $("leave-trace").addEventListener("click", () => this.page.find({ trace_id: undefined, span_id: undefined }));
  }

  #compare() {
    const { change, state, shown, base } = this.page;
    $("compare").addEventListener("click", () => {
      this.drags = state().base ? "shown" : "base";
      change({ base: state().base ? null : this.#firstBase() });
    });
    for (const side of ["shown", "base"]) {
      $(`${side}-range`).addEventListener("click", () => {
        this.drags = side;
        change({}, { keepZoom: true, only: "nothing" });
      });
      $(`${side}-service`).addEventListener("change", (event) => this.#set(side, { service: event.target.value || undefined, pid: undefined }));
      $(`${side}-window`).addEventListener("change", (event) => this.#set(side, { window: event.target.value === "" ? undefined : Number(event.target.value) }));
    }
    $("swap").addEventListener("click", () => {
      const [first, second] = [shown(), base()];
      change({ from: undefined, until: undefined, service: undefined, pid: undefined, comm: undefined, thread: undefined, window: undefined, label: undefined, taken: undefined, ...second, base: first });
    });
  }

  // What one most likely wants to compare with: the time before, or the file before.
  #firstBase() {
    const { state, shown, spanOf, windows } = this.page;
    const { service, pid, comm, thread, window, label, taken } = state();
    const part = {};
    if (comm !== undefined) part.comm = comm;
    if (thread !== undefined) part.thread = thread;
    if (label !== undefined) part.label = label;
    if (service !== undefined) part.service = service;
    if (pid !== undefined) part.pid = pid;
    if (!this.live) {
      const other = windows().find((candidate) => candidate.id !== (window ?? windows().at(-1)?.id));
      if (other) part.window = other.id;
      if (window === undefined && windows().length > 1) state().window = windows().at(-1).id;
      return part;
    }
    // A part of a range is compared with all of it.
    if (taken && state().from !== undefined) return { ...part, from: state().from, until: state().until };
    const { from, until } = shown();
    const [first, last] = spanOf();
    if (from - first >= (until - from) / 2) return { ...part, from: Math.max(first, from - (until - from)), until: from };
    // No room before it: the two halves of the range.
    const middle = (from + until) / 2;
    Object.assign(state(), { from: middle, until: Math.min(until, last) });
    return { ...part, from, until: middle };
  }

  #set(side, changes) {
    const { change, state } = this.page;
    if (side === "shown") {
      change(changes);
      return;
    }
    const changed = { ...state().base, ...changes };
    for (const [name, value] of Object.entries(changed)) if (value === undefined) delete changed[name];
    change({ base: changed });
  }

  #menus() {
    const { shown } = this.page;
    const panel = $("download-panel");
    // The answer's header has the file's name: service and time.
    $("download").addEventListener("toggle", () => {
      panel.replaceChildren();
      for (const [format, name, use] of FORMATS) {
        const link = element("a", { href: address("flamegraph", { ...selection(shown()), format }), download: "", parent: panel });
        element("span", { text: name, parent: link });
        element("small", { text: use, parent: link });
      }
    });
    const menus = document.querySelectorAll("details");
    addEventListener("click", (event) => {
      for (const menu of menus) if (menu.open && (!menu.contains(event.target) || event.target.closest("a"))) menu.open = false;
    });
    addEventListener("keydown", (event) => {
      if (event.key === "Escape") for (const menu of menus) menu.open = false;
    });
  }

  /** Shows the state. */
  show() {
    const { state, shown, base, services, windows } = this.page;
    const now = state();
    $("actions").hidden = false;
    $("toolbar").hidden = false;
    this.#pressed();
    for (const button of $("spans").children) button.setAttribute("aria-pressed", String(button.dataset.span === now.span));
    $("follow").hidden = !this.live || (!Array.isArray(now.span) && now.from === undefined);
    $("follow").textContent = Array.isArray(now.span) ? "Back to now" : "Clear selection";
    $("icicle").setAttribute("aria-pressed", String(!now.up));
    $("flame").setAttribute("aria-pressed", String(now.up));
    $("group").value = now.group ?? "";
    $("tab-sandwich").hidden = now.function === undefined;
    for (const tab of TABS) {
      $(`tab-${tab}`).setAttribute("aria-selected", String(now.tab === tab));
      $(`tab-${tab}`).tabIndex = now.tab === tab ? 0 : -1;
      $(`${tab}-panel`).hidden = now.tab !== tab;
    }
    $("flame-tools").hidden = now.tab !== "flame";
    $("match").hidden = now.tab === "sandwich";
    $("compare").hidden = now.trace_id !== undefined || now.span_id !== undefined;
    $("leave-trace").hidden = !$("compare").hidden;
    $("compare").setAttribute("aria-pressed", String(now.base !== null));
    $("compare-bar").hidden = now.base === null;
    $("palette").setAttribute("aria-pressed", String(now.palette === "safe"));
    if (usePalette(now.palette)) this.page.recoloured();
    const problem = now.base === null ? null : overlap(shown(), base());
    $("overlap").hidden = problem === null;
    $("overlap").textContent = problem ?? "";
    if (now.base === null) {
      this.drags = "shown";
      return;
    }
    for (const [side, found] of [["shown", shown()], ["base", base()]]) {
      const names = (services()?.services ?? []).map((service) => service.name);
      if (found.service !== undefined && !names.includes(found.service)) names.unshift(found.service);
      options($(`${side}-service`), [["", "Everything"], ...names.map((name) => [name, name])], found.service ?? "");
      const files = $(`${side}-window`);
      files.hidden = this.live;
      options(files, [["", "All files"], ...windows().map((window) => [String(window.id), window.label])], found.window === undefined ? "" : String(found.window));
      const when = $(`${side}-range`);
      when.hidden = !this.live;
      when.textContent = range(found.from, found.until);
      when.title = `${span(found.until - found.from)}, ${zone(found.until)}; pressed: a drag on the time line sets it`;
      when.setAttribute("aria-pressed", String(this.drags === side));
    }
  }
}

const isTyping = ({ target }) => target instanceof HTMLInputElement || target instanceof HTMLSelectElement;

/** What is wrong with a comparison of two selections; null where nothing is. */
function overlap(first, second) {
  const names = ["service", "pid", "comm", "thread", "window"];
  if (names.some((name) => first[name] !== undefined && second[name] !== undefined && first[name] !== second[name])) return null;
  const length = Math.min(first.until, second.until) - Math.max(first.from, second.from);
  if (length <= 0) return null;
  const same = first.from === second.from && first.until === second.until && JSON.stringify(first.label) === JSON.stringify(second.label) && names.every((name) => first[name] === second[name]);
  if (same) return "Both sides are the same: choose another range or service for one of them.";
  return `The ranges overlap by ${span(length)}: samples of that time count on both sides, and differences look smaller than they are.`;
}

function options(select, wanted, chosen) {
  select.replaceChildren();
  for (const [value, text] of wanted) element("option", { value, text, selected: value === chosen, parent: select });
}
