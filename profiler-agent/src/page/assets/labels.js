// Labels that programs give themselves: a choice to narrow to.

import { element } from "./tip.js";
import { count, share } from "./units.js";

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

/** Fills the list; `picked(labels)` is called with the labels that are to be chosen. */
export function showLabels(box, answer, chosen, picked) {
  const focused = [...box.querySelectorAll("button, summary")].indexOf(document.activeElement);
  box.replaceChildren();
  answer.keys.forEach((key, index) => {
    const details = element("details", { kind: "label", parent: box });
    details.open = opened.get(key.key) ?? (index < OPEN || chosen.some((label) => isOf(label, key.key)));
    const summary = element("summary", { parent: details });
    summary.addEventListener("click", () => opened.set(key.key, !details.open));
    element("span", { text: key.key, kind: "name", title: key.key, parent: summary });
    element("span", { text: count(key.value_count), kind: "amount", title: "distinct values", parent: summary });
    const list = element("ul", { kind: "list", parent: details });
    const add = ({ value, samples }) => {
      const button = element("button", { type: "button", kind: "plain", parent: element("li", { parent: list }) });
      if (chosen.includes(`${key.key}:${value}`)) button.setAttribute("aria-current", "true");
      element("span", { text: value === "" ? "(empty)" : value, kind: "name", title: value, parent: button });
      element("span", { text: share(samples / (answer.samples || 1)), kind: "amount", parent: button });
      const bar = element("span", { kind: "bar", parent: button });
      element("i", { parent: bar }).style.width = `${Math.max((samples / (answer.samples || 1)) * 100, 0.5)}%`;
      button.addEventListener("click", () => picked(toggled(chosen, key.key, value)));
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

/** Shows what is chosen, each with a button that takes it back. */
export function showChosen(box, chosen, picked) {
  box.replaceChildren();
  box.hidden = chosen.length === 0;
  for (const label of chosen) {
    const button = element("button", { type: "button", kind: "chip", title: "Take this label back", parent: box });
    const colon = label.indexOf(":");
    element("span", { text: label.slice(0, colon), kind: "key", parent: button });
    element("span", { text: label.slice(colon + 1) || "(empty)", kind: "value", parent: button });
    element("span", { text: "×", parent: button }).setAttribute("aria-hidden", "true");
    button.addEventListener("click", () => picked(chosen.filter((other) => other !== label)));
  }
}
