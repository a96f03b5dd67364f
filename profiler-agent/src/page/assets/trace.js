// One trace: the services that it touched, its spans, and a mark for each sample.

import { inks, onSchemeChange } from "./colour.js";
import { element } from "./tip.js";
import { count, exactly, lapse, seconds } from "./units.js";

const MAX_SERVICES = 12;
const MAX_SPANS = 8;
const NEAR_PIXELS = 7;
const ZEROS = /^0*$/;

/** What a person looks for: a trace id, a span id, or a traceparent; null where it is none of them. */
export function parseIds(text) {
  const plain = text.trim().toLowerCase();
  const parent = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/.exec(plain);
  if (parent) return { trace_id: parent[1], span_id: parent[2] };
  const digits = plain.replace(/^0x/, "").replaceAll("-", "");
  if (!/^[0-9a-f]+$/.test(digits) || ZEROS.test(digits)) return null;
  if (digits.length === 32) return { trace_id: digits, span_id: undefined };
  if (digits.length === 16) return { trace_id: undefined, span_id: digits };
  return null;
}

/** The address of a trace where the template leads; null where it leads nowhere. */
export function traceAddress(template, trace, span) {
  if (!template) return null;
  const ids = { trace_id: trace, span_id: span };
  let known = false;
  const filled = template.replace(/\{(trace_id|span_id)\}/g, (_, name) => {
    const id = ids[name] && !ZEROS.test(ids[name]) ? ids[name] : "";
    known ||= id !== "";
    return encodeURIComponent(id);
  });
  if (!known || (template.includes("{trace_id}") && (!trace || ZEROS.test(trace)))) return null;
  try {
    const url = new URL(filled);
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : null;
  } catch {
    return null;
  }
}

/** Shows where a trace can be looked at, and the way from a span to all of its trace; `find(ids)` looks for it. */
export function showTraceLinks({ open, all }, answer, { ids: { trace_id, span_id }, template, find, change }) {
  const whole = trace_id ?? (answer.traces.length === 1 ? answer.traces[0] : undefined);
  const address = traceAddress(template, whole, span_id ?? answer.spans[0]?.span_id);
  open.hidden = address === null;
  if (address !== null) open.href = address;
  all.hidden = span_id === undefined || whole === undefined;
  all.onclick = () => (trace_id === undefined ? find({ trace_id: whole, span_id: undefined }) : change({ span_id: undefined }));
}

/** Time on CPUs and off them. */
const shares = ({ cpu_ns, off_cpu_ns }) => `${seconds(cpu_ns / 1e9)} of CPU time${off_cpu_ns > 0 ? `, ${seconds(off_cpu_ns / 1e9)} off CPU` : ""}`;

/** When a sample's time ends, in ms since 1970. */
const endOf = ({ time, off_cpu_ns }) => time + off_cpu_ns / 1e6;

/** An id as it fits in a line. */
export const short = (id) => (id.length > 16 ? `${id.slice(0, 8)}…${id.slice(-4)}` : id);

export class TraceView {
  /** `picked({ service })` or `picked({ span_id })` is called with what a person chooses. */
  constructor({ box, tip, picked }) {
    Object.assign(this, { box, tip, picked });
    this.lanes = [];
    new ResizeObserver(() => this.draw()).observe(box);
    onSchemeChange(() => this.draw());
  }

  /** Shows an answer of /api/trace; `chosen` has the service and the span that are looked at. */
  show(answer, chosen) {
    this.answer = answer;
    this.lanes = [];
    this.box.replaceChildren();
    const rows = element("div", { kind: "lanes", parent: this.box });
    answer.services.slice(0, MAX_SERVICES).forEach((service, index) => {
      const times = answer.times.filter((time) => time.service === index);
      this.#row(rows, {
        kind: "service",
        name: service.name,
        amount: seconds((service.cpu_ns + service.off_cpu_ns) / 1e9),
        title: `${service.name}\n${shares(service)}\n${count(service.samples)} samples, process ${service.processes.slice(0, 5).join(", ")}`,
        current: chosen.service === service.name,
        picked: () => this.picked({ service: chosen.service === service.name ? undefined : service.name }),
        times,
      });
      const spans = answer.spans.map((span, number) => ({ span, number })).filter(({ span }) => span.services.includes(index));
      for (const { span, number } of spans.slice(0, MAX_SPANS)) {
        this.#row(rows, {
          kind: "span",
          name: span.name || short(span.span_id),
          amount: seconds((span.cpu_ns + span.off_cpu_ns) / 1e9),
          title: `${span.name ? `${span.name}\n` : ""}span ${span.span_id}\n${shares(span)}\n${count(span.samples)} samples`,
          current: chosen.span_id === span.span_id,
          picked: () => this.picked({ span_id: chosen.span_id === span.span_id ? undefined : span.span_id }),
          times: times.filter((time) => time.span === number),
        });
      }
      if (spans.length > MAX_SPANS) element("div", { text: `and ${count(spans.length - MAX_SPANS)} more spans`, kind: "note", parent: rows });
    });
    if (answer.services.length > MAX_SERVICES) element("div", { text: `and ${count(answer.services.length - MAX_SERVICES)} more services`, kind: "note", parent: rows });
    const foot = element("div", { kind: "lane-foot", parent: this.box });
    element("span", { text: answer.times.length > 0 ? exactly(answer.times[0].time) : "", kind: "muted", parent: foot });
    this.axis = element("canvas", { kind: "lane-axis", parent: foot });
    if (answer.rest_samples > 0) {
      const text = answer.times.length > 0 ? `${count(answer.rest_samples)} more samples are not shown one by one` : "When the samples were taken is not known: the profile has no times";
      element("div", { text, kind: "note", parent: this.box });
    }
    this.draw();
  }

  #row(rows, { kind, name, amount, title, current, picked, times }) {
    const row = element("div", { kind: `lane-row ${kind}`, parent: rows });
    const button = element("button", { type: "button", title, parent: row });
    button.setAttribute("aria-pressed", String(current));
    element("span", { text: name, kind: "name", parent: button });
    element("span", { text: amount, kind: "amount", parent: button });
    button.addEventListener("click", picked);
    const canvas = element("canvas", { kind: "lane", parent: row });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", times.length > 0 ? `${count(times.length)} samples from ${exactly(times[0].time)} to ${exactly(Math.max(...times.map(endOf)))}` : "no times");
    const lane = { canvas, kind, times };
    canvas.addEventListener("pointermove", (event) => this.#point(event, lane));
    canvas.addEventListener("pointerleave", () => {
      this.tip.hidden = true;
    });
    this.lanes.push(lane);
  }

  // First and last time on the lanes, with room at both ends.
  #extent() {
    const { times } = this.answer;
    if (times.length === 0) return [0, 1];
    const from = times[0].time;
    const until = times.reduce((latest, time) => Math.max(latest, endOf(time)), from);
    const room = Math.max((until - from) * 0.02, 0.5);
    return [from - room, until + room];
  }

  #sized(canvas) {
    const { clientWidth: width, clientHeight: height } = canvas;
    const ratio = devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    return { context, width, height };
  }

  draw() {
    if (!this.answer || this.box.clientWidth === 0) return;
    const ink = inks();
    const [from, until] = this.#extent();
    for (const { canvas, kind, times } of this.lanes) {
      const { context, width, height } = this.#sized(canvas);
      const x = (time) => ((time - from) / (until - from)) * width;
      context.fillStyle = ink.line;
      context.fillRect(0, height / 2 - 0.5, width, 1);
      if (times.length === 0) continue;
      context.fillStyle = ink.accent;
      if (kind === "span") {
        context.globalAlpha = 0.22;
        const left = x(times[0].time) - 1.5;
        const end = times.reduce((latest, time) => Math.max(latest, endOf(time)), times[0].time);
        context.fillRect(left, height / 2 - 4, x(end) + 1.5 - left, 8);
      }
      context.globalAlpha = kind === "span" ? 0.75 : 0.9;
      const half = kind === "span" ? 4 : 7;
      // On a CPU a mark a sample, off it a line as long as that took.
      for (const sample of times) {
        if (sample.off_cpu_ns === 0) context.fillRect(x(sample.time) - 1, height / 2 - half, 2, half * 2);
      }
      context.fillStyle = ink.rest;
      for (const sample of times) {
        if (sample.off_cpu_ns > 0) context.fillRect(x(sample.time), height / 2 - 2, Math.max(1, x(endOf(sample)) - x(sample.time)), 4);
      }
      context.globalAlpha = 1;
    }
    this.#ticks(ink, from, until);
  }

  #ticks(ink, from, until) {
    const { context, width, height } = this.#sized(this.axis);
    if (this.answer.times.length === 0) return;
    const first = this.answer.times[0].time;
    const most = Math.max(2, Math.floor(width / 90));
    let step = 10 ** Math.floor(Math.log10((until - from) / most));
    for (const factor of [1, 2, 5, 10]) {
      if ((until - from) / (step * factor) <= most) {
        step *= factor;
        break;
      }
    }
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillStyle = ink.soft;
    for (let tick = 0; first + tick * step < until; tick += 1) {
      const x = ((first + tick * step - from) / (until - from)) * width;
      context.fillRect(Math.round(x), 0, 1, 4);
      if (tick === 0 || x < width - 24) context.fillText(tick === 0 ? "0" : `+${lapse(tick * step)}`, Math.max(x, 6), height / 2 + 3);
    }
  }

  #point(event, { canvas, times }) {
    const box = canvas.getBoundingClientRect();
    const [from, until] = this.#extent();
    const x = (time) => box.left + ((time - from) / (until - from)) * box.width;
    let nearest = null;
    for (const time of times) {
      const [left, right] = [x(time.time), x(endOf(time))];
      const distance = Math.max(left - event.clientX, event.clientX - right, 0);
      if (distance <= NEAR_PIXELS && (nearest === null || distance < nearest.distance)) nearest = { ...time, distance };
    }
    this.tip.hidden = nearest === null;
    if (nearest === null) return;
    const { answer } = this;
    const span = answer.spans[nearest.span];
    this.tip.replaceChildren();
    element("div", { text: span.name || `span ${span.span_id}`, kind: "name", parent: this.tip });
    element("div", { text: answer.services[nearest.service].name, kind: "where", parent: this.tip });
    const lasts = nearest.off_cpu_ns > 0 ? `, off CPU for ${lapse(nearest.off_cpu_ns / 1e6)}` : "";
    element("div", { text: `${exactly(nearest.time)}, ${lapse(nearest.time - answer.times[0].time)} after the first sample${lasts}`, parent: this.tip });
    this.tip.style.left = `${Math.max(8, Math.min(event.clientX + 14, innerWidth - this.tip.offsetWidth - 8))}px`;
    this.tip.style.top = `${box.bottom + 6}px`;
  }
}
