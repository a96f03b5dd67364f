// What stands in place of the profile where there is none, and what is missing in one.

import { element } from "./tip.js";
import { clock, count, range } from "./units.js";

const AGAIN = "Try again";
const EVERYTHING = "Show everything";

/** What profiles there are, where `extent` says. */
const kept = (extent) => (extent ? `There are profiles from ${clock(extent[0])} to ${clock(extent[1])}.` : "");

export class Message {
  /** It hides the `panels` while it is shown; `again()` and `everything()` are called for its buttons. */
  constructor({ box, panels, again, everything }) {
    Object.assign(this, { box, panels, again, everything });
  }

  show(title, text, action) {
    const { box } = this;
    box.replaceChildren();
    box.hidden = false;
    for (const panel of this.panels) panel.style.visibility = "hidden";
    element("h3", { text: title, parent: box });
    element("p", { text, parent: box });
    if (action) element("button", { type: "button", text: action, parent: box }).addEventListener("click", action === AGAIN ? this.again : this.everything);
  }

  hide() {
    this.box.replaceChildren();
    this.box.hidden = true;
    for (const panel of this.panels) panel.style.visibility = "";
  }

  fail(error) {
    this.show("That did not work", error.message, AGAIN);
  }

  /** There is nothing in the range `from` .. `until`. */
  empty({ from, until }, type, extent) {
    const what = type === undefined || type === "cpu" ? "ran on a CPU" : "was measured";
    const text = extent && (until < extent[0] || from > extent[1]) ? kept(extent) : `Nothing of this ${what} between ${range(from, until)}.`;
    this.show("No samples here", text, EVERYTHING);
  }

  /** There are samples, of whose times nothing is known; `answer` is that of /api/heat. */
  untimed({ from, until }) {
    this.show("No times are kept of this range", `The windows between ${range(from, until)} were stored by a former version, or are of files without the times of samples (pprof): a heat map cannot be drawn of them. Choose another range, or the flame graph.`);
  }

  /** There is nothing of a trace or span. */
  noTrace(what, extent) {
    const text = `A request that uses little CPU time may pass between two samples, and its service has to tell its trace. ${kept(extent)}`;
    this.show(`No sample of this ${what}`, text.trimEnd(), EVERYTHING);
  }

  /** There is nothing yet; `agent` has its numbers. */
  waiting(agent) {
    const left = agent?.next_window_seconds;
    const length = agent?.window_seconds || 10;
    this.show("Waiting for the first window", left === undefined || left === null
      ? "The agent is sampling; its first profile will be here in a moment."
      : `Every CPU is being sampled. The first window closes in ${Math.ceil(left)}\u00a0s.`);
    const pulse = element("div", { kind: "pulse" });
    element("i", { parent: pulse }).style.width = `${Math.min(100, (1 - (left ?? 0) / length) * 100)}%`;
    this.box.prepend(pulse);
  }
}

/** What is said beside a profile of what could not be loaded with it: the profile stays. */
export class Beside {
  #failed = new Map();

  constructor(line) {
    this.line = line;
  }

  /** Waits for a part of the page; says where it fails. */
  async of(what, loading) {
    try {
      await loading;
      this.#failed.delete(what);
    } catch (error) {
      this.#failed.set(what, error.message);
    }
    this.line.hidden = this.#failed.size === 0;
    this.line.textContent = [...this.#failed].map(([part, why]) => `${part} could not be loaded: ${why}`).join("\n");
  }
}

/** Says how many windows are not in an answer. */
export function showMissing(line, { damaged_windows }) {
  line.hidden = damaged_windows === 0;
  line.textContent = damaged_windows === 1
    ? "One window of this range is damaged on disk: its samples are missing here."
    : `${count(damaged_windows)} windows of this range are damaged on disk: their samples are missing here.`;
}
