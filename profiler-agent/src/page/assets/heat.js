// The heat map: a column for each second, in it a cell for each part of the second, as dark as it has samples. A span of cells
// is chosen by two clicks, by dragging, or by keys.

import { heatColour, inks, onSchemeChange } from "./colour.js";
import { element } from "./tip.js";
import { clock, count, exactly, range, seconds, share, words, zone } from "./units.js";

/** The longest range that is asked for, in ms. */
const LONGEST = 15 * 60_000;
const CELL = 6;
const AXIS = 20;
const NARROWEST = 4;
const WIDEST = 40;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300];

/** The part of a range that a heat map shows: whole seconds, the newest 15 minutes at most. */
export function newest({ from, until }) {
  const end = Math.ceil(until / 1000) * 1000;
  return { from: Math.max(Math.floor(from / 1000) * 1000, end - LONGEST), until: end };
}

export class HeatMap {
  /** `picked(taken, range)` is called with the times that a person chooses, [from, until] in ms or null for all, and with those
   *  of the map. */
  constructor({ panel, tip, spoken, picked }) {
    Object.assign(this, { panel, tip, spoken, picked });
    this.said = element("p", { kind: "muted heat-said", parent: panel });
    const body = element("div", { kind: "heat-body", parent: panel });
    const axis = element("div", { kind: "heat-axis", parent: body });
    axis.setAttribute("aria-hidden", "true");
    for (const text of ["1 s", "0.5 s", "0 s"]) element("span", { text, parent: axis });
    this.scroll = element("div", { kind: "heat-scroll", parent: body });
    this.canvas = element("canvas", { id: "heat-canvas", tabIndex: 0, parent: this.scroll });
    this.canvas.setAttribute("aria-label", "Heat map: arrow keys move, Enter chooses the start and then the end, Escape takes back");
    // What is chosen lies over the cells, so that these are drawn once.
    this.marks = element("canvas", { kind: "marks", parent: this.scroll });
    this.answer = null;
    this.busy = false;
    this.taken = null;
    this.anchor = null;
    this.pressed = null;
    this.cursor = null;
    new ResizeObserver(() => this.draw()).observe(this.scroll);
    onSchemeChange(() => this.draw());
    this.canvas.addEventListener("pointerdown", (event) => this.#press(event));
    this.canvas.addEventListener("pointermove", (event) => this.#hover(event));
    this.canvas.addEventListener("pointerup", (event) => this.#release(event));
    this.canvas.addEventListener("pointercancel", () => this.#drop());
    this.canvas.addEventListener("pointerleave", () => this.#leave());
    this.canvas.addEventListener("keydown", (event) => this.#key(event));
    this.canvas.addEventListener("blur", () => this.#leave());
  }

  /** Is a person about to choose? */
  get engaged() {
    return this.anchor !== null || this.cursor !== null || !this.tip.hidden;
  }

  /** Whether another answer is about to take the place of this one: nothing in it can be chosen then. */
  outdated(busy) {
    this.busy = busy;
    this.canvas.setAttribute("aria-busy", String(busy));
    if (busy) this.#drop();
  }

  /** Shows an answer of /api/heat, with the times that are chosen; `cut`: the range shown is longer. */
  show(answer, taken, cut) {
    this.answer = answer;
    this.taken = taken ?? null;
    this.cursor = null;
    this.#drop();
    this.highest = Math.max(...answer.buckets, 1);
    this.said.textContent = this.#words(cut);
    this.draw();
    // The newest is what one looks for first.
    this.scroll.scrollLeft = this.scroll.scrollWidth;
  }

  #words(cut) {
    const { from, until, bucket_ms, untimed, covered, type, period_ns } = this.answer;
    const length = (ranges) => ranges.reduce((sum, [start, end]) => sum + (end - start) / 1000, 0);
    const parts = [`${range(from, until)} ${zone(until)}: a column for each second, a cell for ${bucket_ms} ms`, `most in a cell: ${this.#amount(this.highest, type, period_ns)}`];
    if (cut) parts.push("the newest 15 minutes: choose a shorter range on the time line");
    if (untimed.length > 0) parts.push(`${seconds(length(untimed))} of it without times (hatched), in windows of former versions or files that have none`);
    const gaps = (until - from) / 1000 - length(covered);
    if (gaps >= 1) parts.push(`${seconds(gaps)} without profiles (hatched)`);
    return parts.join("  ·  ");
  }

  #amount(samples, type = this.answer.type, period = this.answer.period_ns) {
    const time = `${seconds((samples * period) / 1e9)} of ${words(type).time}`;
    return type === "cpu" ? `${count(samples)} sample${samples === 1 ? "" : "s"}, ${time}` : time;
  }

  // When a cell begins.
  #time(cell) {
    return this.answer.from + cell * this.answer.bucket_ms;
  }

  // The cells of times: the first, and the one behind the last.
  #cells([from, until]) {
    const { from: first, bucket_ms } = this.answer;
    return [Math.floor((from - first) / bucket_ms), Math.ceil((until - first) / bucket_ms)];
  }

  // The cell at a place of the canvas, or -1.
  #at(event) {
    if (!this.answer || this.busy || !this.width) return -1;
    const box = this.canvas.getBoundingClientRect();
    const { rows, buckets } = this.answer;
    const column = Math.floor((event.clientX - box.left) / this.width);
    const row = rows - 1 - Math.floor((event.clientY - box.top) / CELL);
    const cell = column * rows + row;
    return column < 0 || row < 0 || row >= rows || cell >= buckets.length ? -1 : cell;
  }

  #press(event) {
    const cell = event.button === 0 ? this.#at(event) : -1;
    if (cell < 0) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.pressed = { answer: this.answer, cell };
  }

  #release(event) {
    const { pressed } = this;
    this.pressed = null;
    // Another map may have come in between: what was meant is not in it.
    if (!pressed || pressed.answer !== this.answer) return;
    const cell = this.#at(event);
    if (cell < 0) this.#mark();
    else if (cell !== pressed.cell) this.#choose(pressed.cell, cell);
    else this.#click(cell);
  }

  // The first click says where it starts, the second one where it ends.
  #click(cell) {
    if (this.anchor !== null) {
      this.#choose(this.anchor, cell);
      return;
    }
    this.anchor = cell;
    this.spoken.textContent = `From ${exactly(this.#time(cell))}: choose the end`;
    this.#mark(cell);
  }

  #choose(first, last) {
    const { from, until } = this.answer;
    this.anchor = null;
    this.#leave();
    this.picked([this.#time(Math.min(first, last)), this.#time(Math.max(first, last) + 1)], [from, until]);
  }

  #drop() {
    this.anchor = null;
    this.pressed = null;
    this.#leave();
  }

  #leave() {
    this.tip.hidden = true;
    if (document.activeElement !== this.canvas) this.cursor = null;
    this.#mark();
  }

  #hover(event) {
    const cell = this.#at(event);
    if (cell < 0) {
      this.#leave();
      return;
    }
    this.#tell(cell, event.clientX, event.clientY);
    this.#mark(cell);
  }

  #tell(cell, x, y) {
    const { answer, tip } = this;
    const samples = answer.buckets[cell];
    const from = this.#time(cell);
    tip.replaceChildren();
    const lines = [`${exactly(from)} – ${exactly(from + answer.bucket_ms).slice(-12)}`, this.gaps[cell] ? "no times are kept here" : this.#amount(samples)];
    if (samples > 0) lines.push(`${share(samples / answer.samples)} of what is shown`);
    lines.forEach((text, index) => element("div", { text, kind: index === 0 ? "where" : "", parent: tip }));
    tip.hidden = false;
    tip.style.left = `${Math.max(8, Math.min(x + 14, innerWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${Math.max(8, Math.min(y + 18, innerHeight - tip.offsetHeight - 8))}px`;
    return lines.join(", ");
  }

  #key(event) {
    const { answer } = this;
    if (!answer || this.busy) return;
    const { rows, buckets } = answer;
    const step = { ArrowLeft: -rows, ArrowRight: rows, ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (step !== undefined) {
      const start = this.taken ? this.#cells(this.taken)[0] : buckets.indexOf(this.highest);
      const next = this.cursor === null ? start : this.cursor + step;
      this.cursor = next >= 0 && next < buckets.length ? next : this.cursor ?? 0;
      this.#point();
    } else if ((event.key === "Enter" || event.key === " ") && this.cursor !== null) {
      this.#click(this.cursor);
    } else if (event.key === "Escape" && this.anchor !== null) {
      this.#drop();
    } else if (event.key === "Escape" && this.taken !== null) {
      this.picked(null, [answer.from, answer.until]);
    } else {
      return;
    }
    event.preventDefault();
  }

  // Shows the cell that the keys are at, wherever it is scrolled to.
  #point() {
    const { scroll, width, answer, cursor } = this;
    const left = Math.floor(cursor / answer.rows) * width;
    if (left < scroll.scrollLeft) scroll.scrollLeft = left;
    else if (left + width > scroll.scrollLeft + scroll.clientWidth) scroll.scrollLeft = left + width - scroll.clientWidth;
    const box = this.canvas.getBoundingClientRect();
    this.spoken.textContent = this.#tell(cursor, box.left + left + width, box.top + (answer.rows - (cursor % answer.rows)) * CELL);
    this.#mark(cursor);
  }

  /** Draws the cells, and what is chosen of them. */
  draw() {
    const { answer, canvas, scroll } = this;
    if (!answer || scroll.clientWidth === 0) return;
    const { rows, buckets } = answer;
    const columns = buckets.length / rows;
    this.width = Math.min(WIDEST, Math.max(NARROWEST, scroll.clientWidth / columns));
    canvas.dataset.columns = columns;
    const context = this.#sized(canvas);
    const ink = inks();
    this.#gaps();
    const hatch = hatched(context, ink);
    for (let cell = 0; cell < buckets.length; cell += 1) {
      if (buckets[cell] === 0 && !this.gaps[cell]) continue;
      context.fillStyle = buckets[cell] > 0 ? heatColour(Math.sqrt(buckets[cell] / this.highest)) : hatch;
      context.fillRect(...this.#box(cell, cell));
    }
    this.#ticks(context, columns, ink);
    this.#mark();
  }

  #sized(canvas) {
    const { rows, buckets } = this.answer;
    const size = [(buckets.length / rows) * this.width, rows * CELL + AXIS];
    const ratio = devicePixelRatio || 1;
    [canvas.width, canvas.height] = size.map((length) => Math.round(length * ratio));
    [canvas.style.width, canvas.style.height] = size.map((length) => `${length}px`);
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    return context;
  }

  // Which cells say nothing: no window lies there, or one without times.
  #gaps() {
    const { covered, untimed, buckets } = this.answer;
    this.gaps = new Uint8Array(buckets.length).fill(1);
    covered.forEach((times) => this.gaps.fill(0, ...this.#cells(times)));
    untimed.forEach((times) => this.gaps.fill(1, ...this.#cells(times)));
  }

  #ticks(context, columns, ink) {
    const { from, rows } = this.answer;
    const step = STEPS.find((candidate) => candidate * this.width >= 70) ?? 600;
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "middle";
    context.textAlign = "left";
    context.fillStyle = ink.soft;
    for (let column = (step - ((from / 1000) % step)) % step; column < columns; column += step) {
      const x = column * this.width;
      context.fillRect(x, rows * CELL, 1, 4);
      if (x + 50 < columns * this.width) context.fillText(clock(from + column * 1000).slice(-8), x + 3, rows * CELL + 11);
    }
  }

  // Where cells of one column are drawn: on whole pixels, so that no seam is between columns.
  #box(first, last) {
    const { rows } = this.answer;
    const column = Math.floor(first / rows);
    const left = Math.round(column * this.width);
    return [left, (rows - 1 - (last % rows)) * CELL, Math.round((column + 1) * this.width) - left, (last - first + 1) * CELL];
  }

  // Marks what is chosen, or what would be if `cell` were its end.
  #mark(cell = this.cursor) {
    if (!this.answer || !this.width) return;
    const { rows } = this.answer;
    const context = this.#sized(this.marks);
    const ink = inks();
    const start = this.pressed?.cell ?? this.anchor;
    let cells = this.taken && this.#cells(this.taken);
    if (start !== null && start !== undefined) cells = [Math.min(start, cell ?? start), Math.max(start, cell ?? start) + 1];
    if (cells) {
      context.fillStyle = ink.accent;
      context.globalAlpha = 0.4;
      const end = Math.min(cells[1], this.answer.buckets.length);
      for (let first = Math.max(cells[0], 0); first < end; ) {
        const last = Math.min(end, (Math.floor(first / rows) + 1) * rows) - 1;
        context.fillRect(...this.#box(first, last));
        first = last + 1;
      }
      context.globalAlpha = 1;
    }
    if (cell === null || cell === undefined) return;
    context.strokeStyle = ink.edge;
    const [x, y, width, height] = this.#box(cell, cell);
    context.strokeRect(x + 0.5, y + 0.5, width - 1, height - 1);
  }
}

function hatched(context, ink) {
  const tile = element("canvas", { width: 8, height: 8 });
  const drawn = tile.getContext("2d");
  drawn.strokeStyle = ink.line;
  drawn.beginPath();
  for (const x of [-8, 0]) {
    drawn.moveTo(x, 8);
    drawn.lineTo(x + 16, -8);
  }
  drawn.stroke();
  return context.createPattern(tile, "repeat");
}
