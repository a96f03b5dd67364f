// What can be done with a function: the items of its menu.

import { copied } from "./menu.js";

/** Shows what calls a function and what it calls; `change(changes, how)` changes the state. */
export const showSandwich = ({ name, module }, change) => change({ tab: "sandwich", function: name, module: module || undefined }, { keepZoom: true, only: "tab" });

/** The items for a function (its `name` and `module`), for a node of a graph with its `path` and, where it can be zoomed to,
 *  `focus`. `view` has the changes of stacks so far, `between` what the sandwich view that is shown is of; `say(text)` says what
 *  was done. */
export function actions({ name, module }, { path, focus, view, between, change, say }) {
  const copy = async (what, text) => say((await copied(text)) ? `${what} copied` : "The browser does not let this page copy.");
  const look = (kind, wanted, more = {}) => {
    const added = `${kind}:${wanted}`;
    change({ view: [...view.filter((other) => other !== added), added], ...more });
  };
  // A function that is hidden has no view of its own.
  const left = name === between ? { tab: "flame", function: undefined, module: undefined } : {};
  const items = [["Copy name", () => copy("Name", name)]];
  if (path) items.push(["Copy stack", () => copy("Stack", path.join("\n"))]);
  items.push(null);
  if (focus) items.push(["Focus here", focus]);
  items.push(
    ["Callers and callees", () => showSandwich({ name, module }, change)],
    ["Only stacks with this function", () => look("with", name)],
    ["Hide this function", () => look("hide", name, left)],
    ["Collapse its recursion", () => look("collapse", name)],
  );
  if (module) items.push([`Only module ${module}`, () => look("module", module)]);
  return items;
}
