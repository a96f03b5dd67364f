// A flame graph's answer as arrays that can be drawn: no document here.

import { shadeOf } from "./colour.js";

/** An answer of /api/flamegraph or /api/diff. Node 0 is the root; nodes are in preorder. */
export class Graph {
  constructor(answer) {
    this.compared = answer.base_samples !== undefined;
    this.samples = answer.samples;
    this.baseSamples = answer.base_samples ?? 0;
    this.period = answer.period_ns / 1e9;
    this.type = answer.type;
    this.pruned = answer.pruned;
    this.focused = answer.ancestors;
    const { strings, frames, kinds } = answer;
    this.frames = [];
    for (let at = 0; at < frames.length; at += 4) {
      const name = strings[frames[at]];
      const module = strings[frames[at + 1]];
      this.frames.push({ name, module, file: strings[frames[at + 2]], kind: kinds[frames[at + 3]], shade: shadeOf(name + module) });
    }
    this.#unfold(answer.nodes, this.compared ? 7 : 5);
  }

  #unfold(nodes, stride) {
    const length = nodes.length / stride;
    this.length = length;
    this.frame = new Uint32Array(length);
    this.depth = new Uint16Array(length);
    this.parent = new Int32Array(length);
    // Behind the last node of the subtree.
    this.end = new Uint32Array(length);
    this.self = new Float64Array(length);
    this.total = new Float64Array(length);
    this.baseSelf = new Float64Array(length);
    this.baseTotal = new Float64Array(length);
    this.inlined = new Uint8Array(length);
    // Left edge and width as parts of the whole.
    this.left = new Float64Array(length);
    this.width = new Float64Array(length);
    this.deepest = 0;
    const path = [];
    const next = [];
    for (let node = 0, at = 0; node < length; node += 1, at += stride) {
      const depth = nodes[at + 1];
      while (path.length > depth) this.end[path.pop()] = node;
      const parent = depth === 0 ? -1 : path[depth - 1];
      this.frame[node] = nodes[at];
      this.depth[node] = depth;
      this.parent[node] = parent;
      this.self[node] = nodes[at + 2];
      this.total[node] = nodes[at + 3];
      this.inlined[node] = nodes[at + 4];
      if (this.compared) {
        this.baseSelf[node] = nodes[at + 5];
        this.baseTotal[node] = nodes[at + 6];
      }
      this.width[node] = this.#part(node);
      this.left[node] = parent < 0 ? 0 : next[depth - 1];
      if (parent >= 0) next[depth - 1] += this.width[node];
      next[depth] = this.left[node];
      path.push(node);
      if (depth > this.deepest) this.deepest = depth;
    }
    while (path.length > 0) this.end[path.pop()] = length;
  }

  // In a comparison the mean of both shares: what is new and what is gone has a width.
  #part(node) {
    const shown = this.total[node] / (this.samples || 1);
    if (!this.compared) return shown;
    return (shown + this.baseTotal[node] / (this.baseSamples || 1)) / ((this.samples ? 1 : 0) + (this.baseSamples ? 1 : 0) || 1);
  }

  /** What a node's frame is. */
  of(node) {
    return this.frames[this.frame[node]];
  }

  /** Change of a node's share, from -1 (gone) to 1 (new). */
  change(node) {
    const shown = this.total[node] / (this.samples || 1);
    const base = this.baseTotal[node] / (this.baseSamples || 1);
    return shown + base === 0 ? 0 : (shown - base) / (shown + base);
  }

  /** Names from below the root to the node. */
  path(node) {
    const names = [];
    for (let at = node; this.depth[at] > 0; at = this.parent[at]) names.push(this.of(at).name);
    return names.reverse();
  }

  /** The node with this path, or -1. */
  find(path) {
    let node = 0;
    for (const name of path) {
      let child = node + 1;
      while (child < this.end[node] && this.of(child).name !== name) child = this.end[child];
      if (child >= this.end[node]) return -1;
      node = child;
    }
    return node;
  }

  /** Which frames a search finds, and the part of the samples that have one of them; `finds` tells of a frame. */
  search(finds) {
    if (finds === null) return null;
    const frames = Uint8Array.from(this.frames, (frame) => Number(frame.kind !== "group" && finds(frame)));
    let shown = 0;
    let base = 0;
    for (let node = 0; node < this.length; ) {
      if (frames[this.frame[node]]) {
        shown += this.total[node];
        base += this.baseTotal[node];
        node = this.end[node];
      } else {
        node += 1;
      }
    }
    return { frames, share: shown / (this.samples || 1), baseShare: base / (this.baseSamples || 1) };
  }
}
