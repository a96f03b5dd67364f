// What part of the flame graph is looked at: the graph of the whole selection, and the graph of a part of it in full.

import { Graph } from "./graph.js";

export class Zoom {
  // What was answered last.
  whole = null;
  part = null;

  /** `state()` has the path that is looked at as `focus`; `ask(path)` has the answer of /api/flamegraph or /api/diff for one,
   *  `finder()` tells which frames are searched for. `remember(replace)` keeps the state in the address, `searched()` is called
   *  when another graph is shown, `fail(error)` where none comes. */
  constructor({ flame, reset, state, ask, finder, remember, searched, fail }) {
    Object.assign(this, { flame, reset, state, ask, finder, remember, searched, fail });
  }

  /** The graph that is on the screen. */
  get current() {
    return this.part ?? this.whole;
  }

  /** There is another graph of the whole selection. */
  renew(whole) {
    this.whole = whole;
    this.part = null;
  }

  /** Zooms to a node of the graph that is on the screen. */
  to(node) {
    const graph = this.current;
    if (graph) this.toPath(graph.path(node));
  }

  /** Zooms to a path, unless another graph is about to come. */
  toPath(path) {
    if (this.flame.busy) return;
    this.state().focus = path;
    this.remember();
    this.show(true);
  }

  /** Shows the focus: at once from what is there, and in full as soon as it is answered. */
  show(moving) {
    const { flame, whole, part } = this;
    const path = this.state().focus;
    this.reset.hidden = path.length === 0;
    const inWhole = whole?.find(path) ?? -1;
    const inPart = part ? part.find(path) : -1;
    if (inWhole >= 0 && (part === null || inPart < 0 || path.length === 0)) {
      const same = flame.graph === whole;
      this.part = null;
      if (same && moving) flame.zoom(inWhole);
      else flame.show(whole, inWhole, whole.search(this.finder()));
    } else if (inPart >= 0) {
      if (flame.graph === part && moving) flame.zoom(inPart);
      else flame.show(part, inPart, part.search(this.finder()));
    } else if (path.length > 0 && !whole) {
      return;
    }
    this.searched();
    if (path.length > 0 && whole && (whole.pruned > 0 || inWhole < 0)) this.#load(path);
  }

  async #load(path) {
    try {
      const answer = await this.ask(path);
      if (!answer || path !== this.state().focus) return;
      const part = new Graph(answer);
      this.part = part;
      this.flame.show(part, Math.max(part.find(path), 0), part.search(this.finder()));
      this.searched();
    } catch (error) {
      // The focus is gone from a range that moved on: all of it is shown.
      if (error.status === 404) {
        this.state().focus = [];
        this.remember(true);
        this.show(false);
      } else {
        this.fail(error);
      }
    }
  }
}
