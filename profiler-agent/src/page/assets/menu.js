// The menu of a function: by the right button, or by the keys that open menus.

import { element } from "./tip.js";

/** Puts a text where it can be pasted from; false where the browser does not allow it. */
export async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Pages that come by plain HTTP have no clipboard but this.
    const field = element("textarea", { value: text, kind: "hidden", parent: document.body });
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}

export class Menu {
  #back = null;

  constructor(box) {
    this.box = box;
    box.addEventListener("keydown", (event) => this.#key(event));
    box.addEventListener("focusout", (event) => {
      if (!box.contains(event.relatedTarget)) this.close(false);
    });
    addEventListener("pointerdown", (event) => {
      if (!box.contains(event.target)) this.close(false);
    });
    addEventListener("scroll", () => this.close(false), true);
  }

  /** Opens it there; `items`: each a text and what it does, null for a line between. */
  open(title, items, x, y) {
    const { box } = this;
    this.#back = document.activeElement;
    box.replaceChildren();
    box.setAttribute("aria-label", title);
    element("div", { text: title, kind: "title", title, parent: box });
    for (const item of items) {
      if (item === null) {
        element("hr", { parent: box });
        continue;
      }
      const [text, act] = item;
      const button = element("button", { type: "button", text, role: "menuitem", tabIndex: -1, parent: box });
      button.addEventListener("click", () => {
        this.close(true);
        act();
      });
    }
    box.hidden = false;
    box.style.left = `${Math.max(4, Math.min(x, innerWidth - box.offsetWidth - 4))}px`;
    box.style.top = `${Math.max(4, Math.min(y, innerHeight - box.offsetHeight - 4))}px`;
    box.querySelector("button").focus();
  }

  close(giveBack) {
    if (this.box.hidden) return;
    this.box.hidden = true;
    if (giveBack) this.#back?.focus();
  }

  #key(event) {
    const buttons = [...this.box.querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement);
    const last = buttons.length - 1;
    const next = { ArrowDown: at === last ? 0 : at + 1, ArrowUp: at <= 0 ? last : at - 1, Home: 0, End: last }[event.key];
    if (next !== undefined) buttons[next].focus();
    else if (event.key === "Escape" || event.key === "Tab") this.close(true);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
