// CPU over time, with the ranges that are shown and compared.

import { inks, onSchemeChange } from "./colour.js";
import { element } from "./tip.js";
import { clock, cores, count, range, rate, words, zone } from "./units.js";

const AXIS = 20;
const HEAD = 18;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];
// Least distance in pixels between two lines of the y axis.
const RULE = 22;
// Shorter drags are clicks.
const LEAST_PIXELS = 4;

export class Timeline {
  /** `picked(side, range)` is called with "shown" or "base" and [from, until], or null for everything. */
  constructor({ section, canvas, cursor, shown, base, tip, said, picked }) {
    Object.assign(this, { section, canvas, cursor, tip, said, picked });
    this.context = canvas.getContext("2d");
    this.ranges = { shown: this.#range(shown, "shown"), base: this.#range(base, "base") };
    this.drags = "shown";
    this.data = null;
    new ResizeObserver(() => this.draw()).observe(section);
    onSchemeChange(() => this.draw());
    section.addEventListener("pointerdown", (event) => this.#press(event));
    section.addEventListener("pointermove", (event) => this.#hover(event));
    section.addEventListener("pointerleave", () => this.#leave());
    section.addEventListener("dblclick", () => this.picked(this.drags, null));
  }

  #range(box, side) {
    element("span", { kind: "name", parent: box });
    const grips = ["from", "until"].map((edge) => {
      const grip = element("div", { kind: `grip ${edge}`, tabIndex: 0, role: "slider", parent: box });
      grip.setAttribute("aria-label", `${edge === "from" ? "Start" : "End"} of the range ${side === "shown" ? "shown" : "of the base"}`);
      grip.addEventListener("pointerdown", (event) => {
        event.stopPropagation();
        const range = this.ranges[side].value;
        if (range) this.#drag(event, side, edge === "from" ? range[1] : range[0]);
      });
      grip.addEventListener("keydown", (event) => {
        const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
        const range = this.ranges[side].value;
        if (!direction || !range || !this.data) return;
        event.preventDefault();
        const step = (direction * (this.data.until - this.data.from)) / 60;
        const moved = edge === "from" ? [range[0] + step, range[1]] : [range[0], range[1] + step];
        if (moved[1] > moved[0]) this.picked(side, this.#inside(moved));
      });
      return grip;
    });
    return { box, grips, value: null };
  }

  /** `data`: type, from, until (ms), period in seconds, all and chosen: samples per point, null for none. */
  show(data) {
    this.data = data;
    this.said.textContent = this.#words();
    this.draw();
  }

  // What the picture shows, for who does not see it.
  #words() {
    const { type, from, until, all } = this.data;
    const parts = [`${words(type).unit} from ${range(from, until)} ${zone(until)}`, `peak ${rate(type, this.#highest())}`];
    // What lies before the first profile and behind the last is no gap between profiles.
    const inner = all.slice(all.findIndex((samples) => samples !== null), all.findLastIndex((samples) => samples !== null));
    const gaps = inner.filter((samples, point) => samples === null && inner[point - 1] !== null).length;
    if (gaps > 0) parts.push(`${count(gaps)} gap${gaps === 1 ? "" : "s"} without profiles`);
    return parts.join(", ");
  }

  // The most per second of any point: CPUs, or threads.
  #highest() {
    const { from, until, all, period } = this.data;
    const seconds = (until - from) / 1000 / all.length;
    return (Math.max(...all.map((samples) => samples ?? 0)) * period) / seconds;
  }

  /** The ranges as [from, until] or null for all of the span; `drags` says which one a drag sets. */
  select(shown, base, drags, named) {
    this.ranges.shown.value = shown;
    this.ranges.base.value = base;
    this.drags = drags;
    this.ranges.shown.box.querySelector(".name").textContent = named ? "shown" : "";
    this.ranges.base.box.querySelector(".name").textContent = "base";
    this.#place();
  }

  #x(time) {
    const { from, until } = this.data;
    return ((time - from) / (until - from)) * this.section.clientWidth;
  }

  #time(event) {
    const { from, until } = this.data;
    const box = this.section.getBoundingClientRect();
    return from + ((event.clientX - box.left) / box.width) * (until - from);
  }

  #inside([from, until]) {
    return [Math.max(from, this.data.from), Math.min(until, this.data.until)];
  }

  #place() {
    for (const { box, grips, value } of Object.values(this.ranges)) {
      box.hidden = !value || !this.data || value[1] <= this.data.from || value[0] >= this.data.until;
      if (box.hidden) continue;
      const [from, until] = this.#inside(value);
      const left = this.#x(from);
      box.style.left = `${left}px`;
      box.style.width = `${Math.max(this.#x(until) - left, 2)}px`;
      grips.forEach((grip, index) => {
        grip.setAttribute("aria-valuemin", Math.round(this.data.from));
        grip.setAttribute("aria-valuemax", Math.round(this.data.until));
        grip.setAttribute("aria-valuenow", Math.round(value[index]));
        grip.setAttribute("aria-valuetext", clock(value[index]));
      });
    }
  }

  #press(event) {
    if (event.button !== 0 || !this.data) return;
    this.#drag(event, this.drags, this.#time(event));
  }

  #drag(event, side, anchor) {
    event.preventDefault();
    const range = this.ranges[side];
    const before = range.value;
    const began = event.clientX;
    let moved = event.target !== this.canvas;
    const move = (next) => {
      moved ||= Math.abs(next.clientX - began) >= LEAST_PIXELS;
      if (!moved) return;
      const time = this.#time(next);
      range.value = this.#inside([Math.min(anchor, time), Math.max(anchor, time)]);
      this.#place();
    };
    const end = (next) => {
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", end);
      removeEventListener("pointercancel", end);
      if (next.type === "pointerup" && moved && range.value && range.value[1] > range.value[0]) {
        this.picked(side, range.value);
        return;
      }
      range.value = before;
      this.#place();
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", end);
    addEventListener("pointercancel", end);
  }

  #hover(event) {
    if (!this.data) return;
    const { type, from, until, all, chosen, period } = this.data;
    const box = this.section.getBoundingClientRect();
    this.cursor.hidden = false;
    this.cursor.style.left = `${event.clientX - box.left}px`;
    const time = this.#time(event);
    const point = Math.min(all.length - 1, Math.max(0, Math.floor(((time - from) / (until - from)) * all.length)));
    const cpus = (samples) => (samples * period) / ((until - from) / 1000 / all.length);
    this.tip.replaceChildren();
    element("div", { text: clock(time), kind: "where", parent: this.tip });
    const value = all[point] === null ? "no profile" : rate(type, cpus(all[point]));
    element("div", { text: chosen && all[point] !== null ? `${cores(cpus(chosen[point] ?? 0))} of ${value}` : value, parent: this.tip });
    this.tip.hidden = false;
    this.tip.style.left = `${Math.max(8, Math.min(event.clientX + 14, innerWidth - this.tip.offsetWidth - 8))}px`;
    this.tip.style.top = `${box.bottom + 6}px`;
  }

  #leave() {
    this.cursor.hidden = true;
    this.tip.hidden = true;
  }

  draw() {
    const { section, canvas, context, data } = this;
    const width = section.clientWidth;
    const height = section.clientHeight;
    if (width === 0) return;
    const ratio = devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    if (!data) return;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const ink = inks();
    const floor = height - AXIS;
    const highest = Math.max(...data.all.map((samples) => samples ?? 0), 1e-9);
    const scale = (floor - HEAD) / highest;
    this.#gaps(width, floor, ink);
    this.#rules(width, floor, ink);
    this.#ticks(width, floor, ink);
    this.#area(data.all, width, floor, scale, data.chosen ? ink.rest : ink.accent, data.chosen ? 0.45 : 0.22);
    if (data.chosen) this.#area(data.chosen, width, floor, scale, ink.accent, 0.35);
    context.fillStyle = ink.soft;
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "right";
    context.textBaseline = "middle";
    const peak = `peak ${rate(data.type, this.#highest())}`;
    context.fillText(width > 480 ? `${peak}  ·  ${zone(data.until)}` : peak, width - 8, floor + 11);
    this.#place();
  }

  // Where no profile is: hatched, so that it is not taken for idleness.
  #gaps(width, floor, ink) {
    const { context, data } = this;
    const step = width / data.all.length;
    context.save();
    context.beginPath();
    data.all.forEach((samples, point) => {
      if (samples === null) context.rect(point * step, 0, step + 0.3, floor);
    });
    context.clip();
    context.strokeStyle = ink.line;
    context.lineWidth = 1;
    context.beginPath();
    for (let x = -floor; x < width; x += 7) {
      context.moveTo(x, floor);
      context.lineTo(x + floor, 0);
    }
    context.stroke();
    context.restore();
  }

  // The y axis: at most so many round values that their lines keep a distance.
  #rules(width, floor, ink) {
    const { context, data } = this;
    const highest = this.#highest();
    if (highest <= 0) return;
    const most = Math.max(1, Math.floor((floor - HEAD) / RULE));
    const power = 10 ** Math.floor(Math.log10(highest / most));
    const step = [1, 2, 5, 10].map((digit) => digit * power).find((candidate) => highest / candidate <= most) ?? highest;
    context.font = "10px system-ui, sans-serif";
    context.textAlign = "left";
    context.textBaseline = "bottom";
    context.fillStyle = ink.soft;
    context.strokeStyle = ink.line;
    context.lineWidth = 1;
    context.beginPath();
    for (let number = 1; number * step <= highest * 1.0001; number += 1) {
      const y = Math.round(floor - (number * step * (floor - HEAD)) / highest) + 0.5;
      context.moveTo(0, y);
      context.lineTo(width, y);
      const value = String(Number((number * step).toPrecision(3)));
      context.fillText((number + 1) * step > highest * 1.0001 ? `${value} ${words(data.type).unit}` : value, 6, y - 1);
    }
    context.stroke();
  }

  #area(points, width, floor, scale, colour, opacity) {
    const { context } = this;
    const step = width / points.length;
    const fill = new Path2D();
    const edge = new Path2D();
    let open = false;
    points.forEach((samples, index) => {
      const x = index * step;
      if (samples === null || samples === undefined) {
        open = false;
        return;
      }
      const y = floor - samples * scale;
      fill.rect(x, y, step + 0.3, floor - y);
      if (open) edge.lineTo(x, y);
      else edge.moveTo(x, y);
      edge.lineTo(x + step, y);
      open = true;
    });
    context.globalAlpha = opacity;
    context.fillStyle = colour;
    context.fill(fill);
    context.globalAlpha = 1;
    context.strokeStyle = colour;
    context.lineWidth = 1.25;
    context.stroke(edge);
  }

  #ticks(width, floor, ink) {
    const { context, data } = this;
    const most = Math.max(2, Math.floor(width / 110));
    const length = (data.until - data.from) / 1000;
    const step = STEPS.find((candidate) => length / candidate <= most) ?? length;
    // Ticks at round times of this place's clock.
    const shift = new Date(data.from).getTimezoneOffset() * 60;
    const first = Math.ceil((data.from / 1000 - shift) / step) * step + shift;
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "middle";
    context.textAlign = "center";
    context.fillStyle = ink.soft;
    context.strokeStyle = ink.line;
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(0, floor + 0.5);
    context.lineTo(width, floor + 0.5);
    for (let time = first; time * 1000 < data.until; time += step) {
      const x = Math.round(this.#x(time * 1000)) + 0.5;
      context.moveTo(x, floor);
      context.lineTo(x, floor + 4);
      if (x > 34 && x < width - (width > 480 ? 200 : 140)) context.fillText(step >= 86400 ? clock(time * 1000, false).slice(0, 10) : clock(time * 1000, step < 60).slice(-(step < 60 ? 8 : 5)), x, floor + 11);
    }
    context.stroke();
  }
}
