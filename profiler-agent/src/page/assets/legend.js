// What the colours mean.

import { changeColour, kindColour, kindLabel, onSchemeChange } from "./colour.js";
import { element } from "./tip.js";

let last = null;

/** Shows it again, in the colours that hold now. */
export const redrawLegend = () => last && showLegend(...last);

onSchemeChange(redrawLegend);

/** Shows the kinds that occur in the graph, or the scale of change. */
export function showLegend(box, graph) {
  last = [box, graph];
  box.replaceChildren();
  if (graph.compared) {
    const part = element("span", { parent: box });
    part.append("less (gone)");
    const scale = element("canvas", { width: 150, height: 11, parent: part });
    const context = scale.getContext("2d");
    for (let x = 0; x < 150; x += 1) {
      context.fillStyle = changeColour((x / 149) * 2 - 1);
      context.fillRect(x, 0, 1, 11);
    }
    part.append("more (new)");
    element("span", { text: "Width: the mean of both shares", parent: box });
    return;
  }
  const kinds = new Set(graph.frames.map((frame) => frame.kind));
  for (const kind of ["kernel", "native", "library", "rust", "go", "cpython", "jvm", "v8js", "unnamed", "broken"]) {
    if (!kinds.has(kind)) continue;
    const part = element("span", { parent: box });
    element("i", { parent: part }).style.background = kindColour(kind);
    part.append(kindLabel(kind));
  }
}
