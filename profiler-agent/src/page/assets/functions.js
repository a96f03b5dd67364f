// The table of functions.

import { kindColour, kindLabel } from "./colour.js";
import { element } from "./tip.js";
import { count, seconds, share } from "./units.js";

const LIMIT = 400;

export class FunctionTable {
  /** `sorted(order)` is called when a person wants another order, `picked(name)` for a function. */
  constructor({ panel, sorted, picked }) {
    Object.assign(this, { panel, sorted, picked });
    this.order = "self";
  }

  /** The parameters that the table asks with. */
  parameters(compared) {
    if (!compared && this.order === "change") this.order = "self";
    return { order: this.order, limit: LIMIT };
  }

  /** Whether another table is about to take the place of this one: until then nothing in it can be chosen. */
  outdated(busy) {
    this.panel.inert = busy;
    this.panel.setAttribute("aria-busy", String(busy));
  }

  /** Shows an answer of /api/functions. */
  show(answer) {
    const compared = answer.base_samples !== undefined;
    const table = element("table");
    const columns = element("colgroup", { parent: table });
    element("col", { parent: columns });
    const heads = [["self", "Self"], ["total", "Total"]];
    if (compared) heads.push(["change", "Change of self"]);
    for (const _ of heads) element("col", { kind: "number", parent: columns });
    const head = element("tr", { parent: element("thead", { parent: table }) });
    element("span", { text: this.#found(answer), kind: "plain", parent: element("th", { parent: head }) });
    for (const [order, label] of heads) {
      const cell = element("th", { scope: "col", parent: head });
      if (this.order === order) cell.setAttribute("aria-sort", "descending");
      const button = element("button", { type: "button", text: this.order === order ? `${label} ↓` : label, parent: cell });
      button.addEventListener("click", () => {
        this.order = order;
        this.sorted(order);
      });
    }
    const body = element("tbody", { parent: table });
    for (const row of answer.functions) this.#row(body, row, answer, compared);
    this.panel.replaceChildren(table);
  }

  #found({ found, functions }) {
    if (found === 0) return "No function has this name";
    if (found > functions.length) return `The first ${count(functions.length)} of ${count(found)} functions`;
    return found === 1 ? "1 function" : `${count(found)} functions`;
  }

  #row(body, row, answer, compared) {
    const line = element("tr", { parent: body });
    const button = element("button", { type: "button", kind: "function", title: "Find it in the flame graph", parent: element("td", { parent: line }) });
    const swatch = element("i", { title: kindLabel(row.kind), parent: button });
    swatch.style.background = kindColour(row.kind);
    element("span", { text: row.name, kind: "text", parent: button });
    if (row.module) element("span", { text: row.module, kind: "module", parent: button });
    button.addEventListener("click", () => this.picked(row.name));
    const period = answer.period_ns / 1e9;
    for (const samples of [row.self, row.total]) {
      const cell = element("td", { text: seconds(samples * period), parent: line });
      element("small", { text: share(samples / (answer.samples || 1)), parent: cell });
      const part = element("span", { kind: "part", parent: cell });
      element("i", { parent: part }).style.width = `${(samples / (answer.samples || 1)) * 100}%`;
    }
    if (!compared) return;
    const shown = row.self / (answer.samples || 1);
    const base = row.base_self / (answer.base_samples || 1);
    const points = (shown - base) * 100;
    const kind = points > 0.005 ? "more" : points < -0.005 ? "less" : "";
    element("td", { text: `${points < 0 ? "−" : "+"}${Math.abs(points).toFixed(2)} points`, kind, parent: line });
  }
}
