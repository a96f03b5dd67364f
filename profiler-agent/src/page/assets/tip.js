// What is said of a frame that is pointed at.

import { changeColour, kindLabel } from "./colour.js";
import { count, seconds, share } from "./units.js";

/** An element with text and a class. */
export function element(name, { text, kind, parent, ...properties } = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  Object.assign(made, properties);
  parent?.append(made);
  return made;
}

function row(table, cells, name = "td") {
  const line = element("tr", { parent: table });
  for (const text of cells) element(name, { text, parent: line });
}

/** A change of share in words. */
export function change(shown, base) {
  if (base === 0) return shown === 0 ? "" : "new: not in the base";
  if (shown === 0) return "gone: only in the base";
  const part = shown / base - 1;
  const points = (shown - base) * 100;
  if (Math.abs(part) < 0.0005) return "no change";
  const times = part >= 1 ? `more: ${(shown / base).toFixed(1)} times the share` : `${part < 0 ? "less" : "more"}: ${Math.abs(part * 100).toFixed(1)} % of its share`;
  return `${times} (${part < 0 ? "−" : "+"}${Math.abs(points).toFixed(2)} points)`;
}

/** Fills and places the tooltip; what it says as one text. */
export function tooltip(tip, graph, node, x, y, lineOf) {
  const frame = graph.of(node);
  const known = lineOf(frame);
  const source = known?.file ? known : undefined;
  tip.replaceChildren();
  element("div", { text: frame.name, kind: "name", parent: tip });
  const where = [frame.module, kindLabel(frame.kind), graph.inlined[node] ? "inlined" : "", source ? "" : frame.file].filter((text) => text !== "");
  element("div", { text: where.join(" · "), kind: "where", parent: tip });
  if (source) element("div", { text: `${source.file}:${source.line}`, kind: "where", parent: tip });
  const table = element("table", { parent: tip });
  const line = (label, samples, whole) => {
    const cells = [label, seconds(samples * graph.period), share(samples / (whole || 1))];
    return graph.type === "cpu" ? [...cells, `${count(samples)} samples`] : cells;
  };
  const said = [frame.name];
  const lines = [
    line("Self", graph.self[node], graph.samples),
    line("Total", graph.total[node], graph.samples),
  ];
  const parent = graph.parent[node];
  if (parent >= 0) lines.push(["Of parent", seconds(graph.total[parent] * graph.period), share(graph.total[node] / (graph.total[parent] || 1))]);
  if (graph.compared) {
    lines.push(line("Base self", graph.baseSelf[node], graph.baseSamples), line("Base total", graph.baseTotal[node], graph.baseSamples));
  }
  for (const cells of lines) {
    row(table, cells);
    said.push(cells.slice(0, 3).join(" "));
  }
  if (graph.compared) {
    const shown = graph.total[node] / (graph.samples || 1);
    const base = graph.baseTotal[node] / (graph.baseSamples || 1);
    const line = element("div", { text: change(shown, base), kind: "change", parent: tip });
    said.push(line.textContent);
    line.style.borderLeft = `4px solid ${changeColour(graph.change(node))}`;
    line.style.paddingLeft = "8px";
  }
  tip.hidden = false;
  const { offsetWidth, offsetHeight } = tip;
  const right = x + 16 + offsetWidth > innerWidth - 8;
  const below = y + 18 + offsetHeight > innerHeight - 8;
  tip.style.left = `${Math.max(8, right ? Math.min(x - offsetWidth - 12, innerWidth - offsetWidth - 8) : x + 16)}px`;
  tip.style.top = `${Math.max(8, below ? y - offsetHeight - 12 : y + 18)}px`;
  return said.join(", ");
}
