// The table of functions.

import { kindColour, kindLabel } from "./colour.js";
import { element } from "./tip.js";
import { count, seconds, share } from "./units.js";

/** Rows of one page of the table. */
const ROWS = 200;

export class FunctionTable {
  /** `changed(changes)` is called for another order or page, `picked(row)` for a function, `sandwiched(row)` for its
   *  sandwich view, `menu(row, x, y)` for its menu. */
  constructor({ panel, changed, picked, sandwiched, menu }) {
    Object.assign(this, { panel, changed, picked, sandwiched, menu });
  }

  /** The parameters that the table asks with. */
  parameters({ order = "self", sort, offset }, compared) {
    return { order: order === "change" && !compared ? "self" : order, sort, offset, limit: ROWS };
  }

  /** Whether another table is about to take the place of this one: until then nothing in it can be chosen. */
  outdated(busy) {
    this.panel.inert = busy;
    this.panel.setAttribute("aria-busy", String(busy));
  }

  /** Shows an answer of /api/functions, sorted as the state says. */
  show(answer, state) {
    const compared = answer.base_samples !== undefined;
    const table = element("table");
    const columns = element("colgroup", { parent: table });
    element("col", { parent: columns });
    const heads = [["name", "Function"], ["self", "Self"], ["total", "Total"]];
    if (compared) heads.push(["change", "Change of self"]);
    for (let column = 1; column < heads.length; column += 1) element("col", { kind: "number", parent: columns });
    const head = element("tr", { parent: element("thead", { parent: table }) });
    const now = this.parameters(state, compared).order;
    for (const [order, label] of heads) this.#head(head, order, label, now, state.sort);
    const body = element("tbody", { parent: table });
    for (const row of answer.functions) this.#row(body, row, answer, compared);
    this.panel.replaceChildren(table, this.#pages(answer));
  }

  // A click sorts by it; another click turns the order.
  #head(head, order, label, now, sort) {
    const cell = element("th", { scope: "col", parent: head });
    const usual = order === "name" ? "ascending" : "descending";
    const direction = order === now ? sort ?? usual : null;
    if (direction) cell.setAttribute("aria-sort", direction);
    const arrow = { ascending: " ↑", descending: " ↓" }[direction] ?? "";
    const button = element("button", { type: "button", text: `${label}${arrow}`, parent: cell });
    button.dataset.order = order;
    button.addEventListener("click", () => {
      const other = direction === "ascending" ? "descending" : "ascending";
      const next = direction === null ? usual : other;
      this.changed({ order: order === "self" ? undefined : order, sort: next === usual ? undefined : next, offset: undefined });
    });
  }

  /** Says where functions are in their source; `lineOf(row)` knows the file and line of some. */
  lines(lineOf) {
    for (const button of this.panel.querySelectorAll("td .function")) {
      const found = lineOf(button.row);
      const text = found?.file ? `${found.file.split("/").at(-1)}:${found.line}` : "";
      const line = button.querySelector(".line") ?? element("span", { kind: "line", parent: button });
      line.textContent = text;
      line.title = found?.file ? `${found.file}:${found.line}` : "";
    }
  }

  #pages({ found, offset, functions }) {
    const box = element("nav", { kind: "pages" });
    box.setAttribute("aria-label", "Pages of the table");
    const last = offset + functions.length;
    const text = found === 0 ? "No function has this name" : found === functions.length ? `${count(found)} function${found === 1 ? "" : "s"}` : `${count(offset + 1)} – ${count(last)} of ${count(found)} functions`;
    element("span", { text, kind: "muted", parent: box });
    if (found <= functions.length) return box;
    const page = (name, to) => {
      const button = element("button", { type: "button", text: name, disabled: to === null, parent: box });
      button.addEventListener("click", () => this.changed({ offset: to || undefined }));
    };
    page("Previous", offset > 0 ? Math.max(0, offset - ROWS) : null);
    page("Next", last < found ? last : null);
    return box;
  }

  #row(body, row, answer, compared) {
    const line = element("tr", { parent: body });
    const where = [row.name, row.module, row.file].filter((text) => text !== "");
    const first = element("td", { parent: line });
    const button = element("button", { type: "button", kind: "function", title: where.join("\n"), parent: first });
    const swatch = element("i", { title: kindLabel(row.kind), parent: button });
    swatch.style.background = kindColour(row.kind);
    element("span", { text: row.name, kind: "text", parent: button });
    if (row.module) element("span", { text: row.module, kind: "module", parent: button });
    button.row = row;
    button.addEventListener("click", () => this.picked(row));
    const sandwich = element("button", { type: "button", kind: "quiet sandwiched", text: "⇅", title: "Callers and callees", parent: first });
    sandwich.setAttribute("aria-label", `Callers and callees of ${row.name}`);
    sandwich.addEventListener("click", () => this.sandwiched(row));
    line.addEventListener("contextmenu", (event) => {
      event.preventDefault();
      const box = button.getBoundingClientRect();
      // The key that opens menus has no place.
      this.menu(row, event.clientX || box.left, event.clientY || box.bottom);
    });
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
    element("td", { text: `${Math.abs(points).toFixed(2)} points${kind && ` ${kind}`}`, kind, parent: line });
  }
}
