// The list of services, and of the files where saved ones are shown.

import { element } from "./tip.js";
import { rate, seconds, share, words } from "./units.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 56;
const HEIGHT = 18;

function svg(name, attributes, parent) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent?.append(made);
  return made;
}

function sparkline(points) {
  const picture = svg("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, "aria-hidden": "true" });
  const highest = Math.max(...points, 1e-9);
  const step = WIDTH / Math.max(points.length - 1, 1);
  const line = points.map((value, index) => `${(index * step).toFixed(1)} ${(HEIGHT - 1 - (value / highest) * (HEIGHT - 3)).toFixed(1)}`);
  svg("path", { class: "area", d: `M0 ${HEIGHT}L${line.join("L")}L${WIDTH} ${HEIGHT}Z` }, picture);
  svg("path", { class: "edge", d: `M${line.join("L")}` }, picture);
  return picture;
}

function entry(list, { name, amount, title, part, points, kind = points ? "" : "plain", current, picked }) {
  const item = element("li", { parent: list });
  const button = element("button", { type: "button", kind, parent: item });
  if (current) button.setAttribute("aria-current", "true");
  element("span", { text: name, kind: "name", title: title ?? name, parent: button });
  if (points) button.append(sparkline(points));
  element("span", { text: amount, kind: "amount", parent: button });
  if (part !== undefined) {
    const bar = element("span", { kind: "bar", parent: button });
    element("i", { parent: bar }).style.width = `${Math.max(part * 100, 0.5)}%`;
  }
  button.addEventListener("click", picked);
  return button;
}

// Keeps the focus where it was when a list is made anew.
function keepingFocus(list, make) {
  const at = [...list.querySelectorAll("button")].indexOf(document.activeElement);
  list.replaceChildren();
  make();
  if (at >= 0) list.querySelectorAll("button")[at]?.focus();
}

/** Fills the list; `picked({ service, pid })` is called with what a person chooses. */
export function showServices(list, answer, chosen, picked) {
  const length = answer.window_seconds || 1;
  // A single window has no course of time.
  const lines = answer.windows > 1;
  const time = (samples) => (samples * answer.period_ns) / 1e9;
  const amount = (samples) => share(samples / (answer.samples || 1));
  const title = (name, samples) => `${name}\n${seconds(time(samples))} of ${words(answer.type).time}, ${rate(answer.type, time(samples) / length)} on average`;
  keepingFocus(list, () => {
    entry(list, {
      name: "Everything",
      amount: seconds(time(answer.samples)),
      points: lines ? answer.timeline.map((value) => value ?? 0) : null,
      current: chosen.service === undefined && chosen.pid === undefined,
      picked: () => picked({}),
    });
    const part = (chosen.filter ?? "").toLowerCase();
    const has = (service) => service.name.toLowerCase().includes(part) || service.processes.some(({ pid, comm }) => String(pid) === part || comm.toLowerCase().includes(part));
    for (const service of answer.services.filter(has)) {
      entry(list, {
        name: service.name,
        amount: amount(service.samples),
        title: title(service.name, service.samples),
        part: service.samples / (answer.samples || 1),
        points: lines ? service.timeline : null,
        current: chosen.service === service.name && chosen.pid === undefined,
        picked: () => picked({ service: service.name }),
      });
      if (chosen.service !== service.name || service.process_count < 2) continue;
      for (const process of service.processes) {
        entry(list, {
          name: `${process.pid}  ${process.comm}`,
          amount: amount(process.samples),
          title: title(`${process.comm} (${process.pid})`, process.samples),
          kind: "process",
          current: chosen.pid === process.pid,
          picked: () => picked({ service: service.name, pid: process.pid }),
        });
      }
      const more = service.process_count - service.processes.length;
      if (more > 0) element("li", { text: `and ${more} more`, kind: "note", parent: list });
    }
    if (answer.rest_samples > 0) {
      element("li", { text: `${amount(answer.rest_samples)} in processes too small to be listed`, kind: "note", parent: list });
    }
  });
}

/** Fills the list of files; `picked(id)` is called with one, or undefined for all. */
export function showFiles(list, windows, chosen, picked) {
  const time = (window) => seconds((window.samples * window.period_ns) / 1e9);
  keepingFocus(list, () => {
    entry(list, { name: "All files", amount: "", kind: "file", current: chosen === undefined, picked: () => picked(undefined) });
    for (const window of windows) {
      entry(list, {
        name: window.label ?? `window ${window.id}`,
        amount: time(window),
        kind: "file",
        current: chosen === window.id,
        picked: () => picked(window.id),
      });
    }
  });
}
