// The flame graph on its canvas: drawing, pointing, zooming, keys. Names reach the document as text only.

import { changeColour, inks, kindColour, onSchemeChange } from "./colour.js";
import { tooltip } from "./tip.js";

const ROW = 21;
const FONT = "12px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
const NARROWEST = 0.35;
const NAMED_FROM = 26;
const ZOOM_MS = 170;

export class FlameGraph {
  /** `zoomed(node)` is called when a person wants to see a node, `menu(node, x, y)` when they want its menu there, `entered()`
   *  when they come to look; `lineOf(frame)` knows the file and line of some functions. */
  constructor({ scroll, height, canvas, tip, spoken, zoomed, menu, entered = () => {}, lineOf = () => undefined }) {
    Object.assign(this, { scroll, height, canvas, tip, spoken, zoomed, menu, lineOf });
    this.context = canvas.getContext("2d", { alpha: false });
    this.graph = null;
    this.root = 0;
    this.hovered = -1;
    this.chosen = -1;
    this.up = false;
    this.busy = false;
    this.pressed = null;
    this.found = null;
    this.view = { left: 0, width: 1 };
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    new ResizeObserver(() => this.#resize()).observe(scroll);
    onSchemeChange(() => this.draw());
    scroll.addEventListener("scroll", () => this.draw(), { passive: true });
    canvas.addEventListener("pointerenter", entered);
    canvas.addEventListener("focus", entered);
    canvas.addEventListener("pointermove", (event) => this.#point(event));
    canvas.addEventListener("pointerleave", () => this.#leave());
    // A click is meant for the graph that was there when the button went down.
    canvas.addEventListener("pointerdown", () => {
      this.pressed = this.busy ? null : this.graph;
    });
    canvas.addEventListener("click", (event) => {
      const node = this.pressed === this.graph ? this.#at(event) : -1;
      if (node >= 0) this.zoomed(node);
    });
    canvas.addEventListener("contextmenu", (event) => {
      event.preventDefault();
      const node = this.#at(event);
      if (node < 0 || this.graph.of(node).kind === "group") return;
      this.#leave();
      this.menu(node, event.clientX, event.clientY);
    });
    canvas.addEventListener("keydown", (event) => this.#key(event));
    canvas.addEventListener("blur", () => {
      this.chosen = -1;
      this.#leave();
    });
  }

  /** Shows another graph, zoomed to a node. */
  show(graph, root, found) {
    this.graph = graph;
    this.found = found;
    this.hovered = -1;
    this.chosen = -1;
    this.tip.hidden = true;
    this.#zoom(root, false);
  }

  /** Whether another graph is about to take the place of this one: until then nothing in it can be chosen. */
  outdated(busy) {
    this.busy = busy;
    this.canvas.setAttribute("aria-busy", String(busy));
    if (busy) this.#leave();
  }

  /** Zooms to a node of the graph that is shown. */
  zoom(root) {
    this.#zoom(root, !this.still.matches);
  }

  /** What a search found; null for no search. */
  highlight(found) {
    this.found = found;
    this.draw();
  }

  /** The root at the bottom or at the top. */
  turn(up) {
    this.up = up;
    this.#resize(true);
  }

  #zoom(root, animated) {
    this.root = root;
    const { graph } = this;
    const target = { left: graph.left[root], width: graph.width[root] || 1 };
    this.rows = graph.depth[root] + 1;
    for (let node = root; node < graph.end[root]; node += 1) {
      if (graph.depth[node] >= this.rows) this.rows = graph.depth[node] + 1;
    }
    this.#resize(true);
    cancelAnimationFrame(this.animation);
    if (!animated) {
      this.view = target;
      this.draw();
      return;
    }
    const from = this.view;
    const began = performance.now();
    const step = (now) => {
      const part = Math.min(1, Math.max(0, now - began) / ZOOM_MS);
      const eased = 1 - (1 - part) ** 3;
      this.view = { left: from.left + (target.left - from.left) * eased, width: from.width + (target.width - from.width) * eased };
      if (part < 1) this.animation = requestAnimationFrame(step);
      else this.view = target;
      this.draw();
    };
    this.animation = requestAnimationFrame(step);
  }

  #resize(toRoot = false) {
    const { clientWidth, clientHeight } = this.scroll;
    if (clientWidth === 0) return;
    const ratio = devicePixelRatio || 1;
    this.size = { width: clientWidth, height: clientHeight };
    this.canvas.width = Math.round(clientWidth * ratio);
    this.canvas.height = Math.round(clientHeight * ratio);
    this.canvas.style.height = `${clientHeight}px`;
    const whole = Math.max((this.rows ?? 0) * ROW, clientHeight);
    this.height.style.height = `${whole}px`;
    if (toRoot) this.scroll.scrollTop = this.up ? whole : 0;
    this.draw();
  }

  // Where a depth is drawn, from the top of the canvas.
  #top(depth) {
    if (!this.up) return depth * ROW - this.scroll.scrollTop;
    const whole = Math.max(this.rows * ROW, this.size.height);
    return whole - (depth + 1) * ROW - this.scroll.scrollTop;
  }

  #depthAt(y) {
    if (!this.up) return Math.floor((y + this.scroll.scrollTop) / ROW);
    const whole = Math.max(this.rows * ROW, this.size.height);
    return Math.floor((whole - y - this.scroll.scrollTop) / ROW);
  }

  #isAncestor(node) {
    return node <= this.root && this.graph.end[node] >= this.graph.end[this.root];
  }

  // Left edge and width in pixels, as far as visible.
  #place(node) {
    const { width } = this.size;
    if (this.#isAncestor(node)) return [0, width];
    const left = ((this.graph.left[node] - this.view.left) / this.view.width) * width;
    return [left, (this.graph.width[node] / this.view.width) * width];
  }

  draw() {
    if (!this.graph || !this.size || this.drawing) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = 0;
      this.#paint();
    });
  }

  #paint() {
    const { graph, context, size } = this;
    const ratio = devicePixelRatio || 1;
    const ink = inks();
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = ink.ground;
    context.fillRect(0, 0, size.width, size.height);
    context.font = FONT;
    context.textBaseline = "middle";
    for (let node = 0; node < graph.length; ) {
      const [left, width] = this.#place(node);
      if (left > size.width || left + width < 0 || width < NARROWEST) {
        node = graph.end[node];
        continue;
      }
      const top = this.#top(graph.depth[node]);
      if (top > -ROW && top < size.height) this.#box(node, left, width, top, ink);
      node += 1;
    }
    for (const node of [this.hovered, this.chosen]) {
      if (node < 0) continue;
      const [left, width] = this.#place(node);
      context.strokeStyle = ink.edge;
      context.lineWidth = 1.5;
      context.strokeRect(Math.max(left, 0) + 0.75, this.#top(graph.depth[node]) + 0.75, Math.max(Math.min(width, size.width - Math.max(left, 0)) - 2, 1), ROW - 2.5);
    }
  }

  #box(node, left, width, top, ink) {
    const { graph, context, size } = this;
    const frame = graph.of(node);
    const faded = this.found !== null && !this.found.frames[graph.frame[node]];
    const passed = node !== this.root && this.#isAncestor(node);
    if (faded) context.fillStyle = ink.faded;
    else context.fillStyle = graph.compared ? changeColour(graph.change(node)) : kindColour(frame.kind, frame.shade);
    context.globalAlpha = passed ? 0.55 : 1;
    const gap = width > 3 ? 1 : 0;
    context.fillRect(left, top, Math.max(width - gap, NARROWEST), ROW - 1);
    context.globalAlpha = 1;
    if (width < NAMED_FROM) return;
    const from = Math.max(left, 0) + 6;
    const room = Math.min(left + width, size.width) - from - 5;
    const text = this.#fitted(frame.name, room);
    if (!text) return;
    context.fillStyle = faded ? ink.fadedText : ink.text;
    context.fillText(text, from, top + ROW / 2 - 0.5);
  }

  // The name, or as much of it as there is room for.
  #fitted(name, room) {
    if (room < 14) return "";
    const { context } = this;
    // A character is rarely wider than 12 pixels nor, on average, narrower than 4.
    const part = name.length * 4 > room ? name.slice(0, Math.ceil(room / 3)) : name;
    if (part === name && (name.length * 12 < room || context.measureText(name).width <= room)) return name;
    let low = 0;
    let high = part.length;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (context.measureText(`${part.slice(0, middle)}…`).width <= room) low = middle;
      else high = middle - 1;
    }
    return low < 2 ? "" : `${part.slice(0, low)}…`;
  }

  #at(event) {
    const { graph } = this;
    if (!graph || !this.size || this.busy) return -1;
    const box = this.canvas.getBoundingClientRect();
    const x = event.clientX - box.left;
    const depth = this.#depthAt(event.clientY - box.top);
    for (let node = 0; node < graph.length; ) {
      const [left, width] = this.#place(node);
      if (x < left || x >= left + width) {
        node = graph.end[node];
      } else if (graph.depth[node] === depth) {
        return node;
      } else {
        node += 1;
      }
    }
    return -1;
  }

  #point(event) {
    const node = this.#at(event);
    if (node !== this.hovered) {
      this.hovered = node;
      this.canvas.style.cursor = node < 0 ? "default" : "pointer";
      this.draw();
    }
    if (node < 0) this.tip.hidden = true;
    else tooltip(this.tip, this.graph, node, event.clientX, event.clientY, this.lineOf);
  }

  #leave() {
    this.hovered = -1;
    this.tip.hidden = true;
    this.draw();
  }

  // Up goes towards the root, down into the largest child, left and right to neighbours.
  #key(event) {
    const { graph } = this;
    if (!graph || this.busy) return;
    const now = this.chosen < 0 ? this.root : this.chosen;
    const parent = graph.parent[now];
    const siblings = [];
    if (parent >= 0) for (let at = parent + 1; at < graph.end[parent]; at = graph.end[at]) siblings.push(at);
    const place = siblings.indexOf(now);
    const towards = this.up ? { ArrowUp: "in", ArrowDown: "out" } : { ArrowUp: "out", ArrowDown: "in" };
    let next = -1;
    switch (towards[event.key] ?? event.key) {
      case "in":
        next = this.chosen < 0 ? this.root : now + 1 < graph.end[now] ? now + 1 : now;
        break;
      case "out":
        next = Math.max(parent, 0);
        break;
      case "ArrowRight":
        next = siblings[place + 1] ?? now;
        break;
      case "ArrowLeft":
        next = siblings[place - 1] ?? now;
        break;
      case "Enter":
        this.zoomed(now);
        event.preventDefault();
        return;
      case "Backspace":
        this.zoomed(Math.max(graph.parent[this.root], 0));
        event.preventDefault();
        return;
      case "Escape":
        this.zoomed(0);
        return;
      case "m":
      case "ContextMenu":
        event.preventDefault();
        if (graph.of(now).kind !== "group") this.menu(now, ...this.#corner(now));
        return;
      default:
        return;
    }
    event.preventDefault();
    this.#choose(next);
  }

  #choose(node) {
    const { graph } = this;
    this.chosen = node;
    const top = this.#top(graph.depth[node]);
    if (top < 0) this.scroll.scrollTop += top;
    if (top + ROW > this.size.height) this.scroll.scrollTop += top + ROW - this.size.height;
    this.draw();
    this.spoken.textContent = tooltip(this.tip, graph, node, ...this.#corner(node), this.lineOf);
  }

  // Where something about a node is put: at its lower left corner.
  #corner(node) {
    const box = this.canvas.getBoundingClientRect();
    const [left] = this.#place(node);
    return [box.left + Math.max(left, 0) + 12, box.top + this.#top(this.graph.depth[node]) + ROW - 6];
  }
}
