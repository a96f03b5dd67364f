// Labels that programs give themselves: a choice to narrow to.

import { element } from "./tip.js";
import { count, exactly, share } from "./units.js";

// Values that are listed of a key.
const LISTED = 8;
// Keys that are open before a person opened or closed one.
const OPEN = 2;
const opened = new Map();

/** How many values to ask for. */
export const LIMIT = 40;

/** Is a label one of this key? */
const isOf = (label, key) => label.startsWith(`${key}:`);

/** The labels with another value of a key, or with none where it was that one. */
export function toggled(labels, key, value) {
  const label = `${key}:${value}`;
  const others = labels.filter((other) => !isOf(other, key));
  return labels.includes(label) ? others : [...others, label];
}

// What every sample has, as people call it.
const ATTRIBUTES = { thread: "Thread", comm: "Process name", pid: "Process id" };

/** Fills the list; `picked(labels)` is called with the labels that are to be chosen. */
export function showLabels(box, answer, chosen, picked) {
  const toggle = (key, value) => picked(toggled(chosen, key, value));
  fill(box, answer.keys, answer.samples, (key, value) => chosen.includes(`${key}:${value}`), toggle, OPEN);
}

/** Fills the list of threads and processes; `picked(changes)` is called with what a person chooses. */
export function showAttributes(box, answer, state, picked) {
  const is = (key, value) => String(state[key] ?? "") === value && state[key] !== undefined;
  const toggle = (key, value) => picked({ [key]: is(key, value) ? undefined : key === "pid" ? Number(value) : value });
  const keys = answer.attributes.map((key) => ({ ...key, name: ATTRIBUTES[key.key] ?? key.key }));
  keys.sort((a, b) => Object.keys(ATTRIBUTES).indexOf(a.key) - Object.keys(ATTRIBUTES).indexOf(b.key));
  fill(box, keys, answer.samples, is, toggle, 0);
}

function fill(box, keys, samples, is, toggle, open) {
  const focused = [...box.querySelectorAll("button, summary")].indexOf(document.activeElement);
  box.replaceChildren();
  keys.forEach((key, index) => {
    const details = element("details", { kind: "label", parent: box });
    details.open = opened.get(key.key) ?? (index < open || key.values.some(({ value }) => is(key.key, value)));
    const summary = element("summary", { parent: details });
    summary.addEventListener("click", () => opened.set(key.key, !details.open));
    element("span", { text: key.name ?? key.key, kind: "name", title: key.key, parent: summary });
    element("span", { text: count(key.value_count), kind: "amount", title: "distinct values", parent: summary });
    const list = element("ul", { kind: "list", parent: details });
    const add = ({ value, samples: own }) => {
      const button = element("button", { type: "button", kind: "plain", parent: element("li", { parent: list }) });
      if (is(key.key, value)) button.setAttribute("aria-current", "true");
      element("span", { text: value === "" ? "(empty)" : value, kind: "name", title: value, parent: button });
      element("span", { text: share(own / (samples || 1)), kind: "amount", parent: button });
      const bar = element("span", { kind: "bar", parent: button });
      element("i", { parent: bar }).style.width = `${Math.max((own / (samples || 1)) * 100, 0.5)}%`;
      button.addEventListener("click", () => toggle(key.key, value));
    };
    key.values.slice(0, LISTED).forEach(add);
    const rest = key.values.slice(LISTED);
    if (rest.length === 0) return;
    const item = element("li", { parent: list });
    const more = element("button", { type: "button", kind: "plain more", text: `${count(key.value_count - LISTED)} more`, parent: item });
    more.addEventListener("click", () => {
      item.remove();
      rest.forEach(add);
      const unlisted = key.value_count - key.values.length;
      if (unlisted > 0) element("li", { text: `and ${count(unlisted)} more`, kind: "note", parent: list });
    });
  });
  if (focused >= 0) box.querySelectorAll("button, summary")[focused]?.focus();
}

const CHANGES = { hide: "hidden", collapse: "recursion collapsed", module: "only module", with: "only with" };

/** Shows what is chosen (labels, a thread, changes of the stacks), each with a button that takes it back; `picked(changes)`. */
export function showChosen(box, state, picked) {
  const split = (text) => [text.slice(0, text.indexOf(":")), text.slice(text.indexOf(":") + 1)];
  const without = (all, one) => all.filter((other) => other !== one);
  const chips = (state.label ?? []).map((label) => [...split(label), () => ({ label: state.label.length > 1 ? without(state.label, label) : undefined })]);
  for (const key of ["thread", "comm"]) {
    if (state[key] !== undefined) chips.push([ATTRIBUTES[key].toLowerCase(), state[key], () => ({ [key]: undefined })]);
  }
  if (state.pid !== undefined) chips.push(["process", String(state.pid), () => ({ pid: undefined })]);
  if (state.taken) chips.push(["taken", state.taken.map(exactly).join(" – "), () => ({ taken: undefined })]);
  for (const change of state.view) {
    const [kind, name] = split(change);
    chips.push([CHANGES[kind], name, () => ({ view: without(state.view, change) })]);
  }
  box.replaceChildren();
  box.hidden = chips.length === 0;
  for (const [key, value, back] of chips) {
    const button = element("button", { type: "button", kind: "chip", title: `${key}: ${value}\nTake it back`, parent: box });
    element("span", { text: key, kind: "key", parent: button });
    element("span", { text: value || "(empty)", kind: "value", parent: button });
    element("span", { text: "×", parent: button }).setAttribute("aria-hidden", "true");
    button.addEventListener("click", () => picked(back()));
  }
}
