// The sandwich view: a function between what calls it and what it calls.

import { FlameGraph } from "./flame.js";
import { Graph } from "./graph.js";
import { element } from "./tip.js";
import { seconds, share } from "./units.js";

const place = ({ file, line }) => (file === "" ? `line ${line}` : `${file}:${line}`);

export class Sandwich {
  /** `menu(graph, node, x, y)` is called for the menu of a node. */
  constructor({ panel, tip, spoken, lineOf, menu }) {
    this.panel = panel;
    this.head = element("div", { kind: "sandwich-head", parent: panel });
    const half = (name, text, up) => {
      const part = element("section", { kind: `half ${name}`, parent: panel });
      part.setAttribute("aria-label", text);
      const title = element("h3", { text, parent: part });
      const scroll = element("div", { kind: "scroll", parent: part });
      const height = element("div", { kind: "height", parent: scroll });
      const canvas = element("canvas", { tabIndex: 0, parent: scroll });
      canvas.setAttribute("aria-label", `${text}: arrow keys move, Enter zooms, Escape resets, M opens the menu`);
      const graph = new FlameGraph({ scroll, height, canvas, tip, spoken, lineOf, zoomed: (node) => graph.zoom(node), menu: (node, x, y) => menu(graph.graph, node, x, y) });
      graph.turn(up);
      return { title, graph };
    };
    this.callers = half("callers", "Callers", true);
    this.callees = half("callees", "Callees", false);
  }

  /** Whether another answer is about to take the place of this one. */
  outdated(busy) {
    for (const { graph } of [this.callers, this.callees]) graph.outdated(busy);
  }

  /** Shows an answer of /api/lines: where in the function the samples are. */
  lines({ lines, samples }) {
    if (lines.length === 0) return;
    const details = element("details", { kind: "lines", parent: this.head });
    element("summary", { text: `Lines: most in ${place(lines[0])}`, parent: details });
    const table = element("table", { parent: details });
    const row = (name, cells) => {
      const line = element("tr", { parent: table });
      for (const text of cells) element(name, { text, parent: line });
    };
    row("th", ["Line", "Self", "Total"]);
    for (const found of lines) row("td", [place(found), share(found.self / (samples || 1)), share(found.total / (samples || 1))]);
  }

  /** Shows the lines that `ask()` has, where they are still wanted then. */
  async loadLines(ask, wanted) {
    try {
      const found = await ask();
      if (found && wanted()) this.lines(found);
    } catch {
      // A view without lines is whole.
    }
  }

  /** Draws both again. */
  draw() {
    for (const { graph } of [this.callers, this.callees]) graph.draw();
  }

  /** Shows an answer of /api/sandwich. */
  show(answer) {
    const { head } = this;
    const part = (samples) => `${seconds((samples * answer.period_ns) / 1e9)} (${share(samples / (answer.samples || 1))})`;
    head.replaceChildren();
    element("h2", { text: answer.name, kind: "function", title: answer.name, parent: head });
    const where = [answer.module, answer.file].filter((text) => text !== "");
    const said = [...where, `self ${part(answer.self)}`, `total ${part(answer.total)}`];
    element("p", { text: said.join("  ·  "), kind: "muted", parent: head });
    const direct = (graph) => {
      let number = 0;
      for (let node = 1; node < graph.length; node = graph.end[node]) if (graph.of(node).kind !== "group") number += 1;
      return number;
    };
    for (const [half, name] of [[this.callers, "caller"], [this.callees, "callee"]]) {
      const graph = new Graph(answer[`${name}s`]);
      const number = direct(graph);
      half.title.textContent = number === 0 ? `No ${name}s` : `${number} ${name}${number === 1 ? "" : "s"}`;
      half.graph.show(graph, 0, null);
    }
  }
}
