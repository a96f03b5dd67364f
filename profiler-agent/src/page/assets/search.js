// Which functions a search means. A part of a name is found here; an expression is matched by the agent, which bounds what
// it may take.

/** Is it /a regular expression/? */
export const isExpression = (text) => text.length > 2 && text.startsWith("/") && text.endsWith("/");

/** Says what a search found, or what is wrong with it. */
export function showFound(line, text, wrong = false) {
  line.textContent = text;
  line.classList.toggle("wrong", wrong);
}

/** Asks an `asker` what is searched for in `parameters`; null where there is no answer. `said(text, wrong)` says what is wrong
 *  with an expression. */
export async function askSearching(asker, query, parameters, said) {
  try {
    const answer = await asker.ask(query, parameters);
    if (answer) said("");
    return answer;
  } catch (error) {
    if (error.status !== 400 || !isExpression(parameters.search)) throw error;
    said(error.message, true);
    return null;
  }
}

const keyOf = (name, module) => JSON.stringify([name, module]);

export class Search {
  #last = null;

  /** `ask(text)` has the answer of /api/search, `found()` is called when an expression is answered. */
  constructor({ ask, found }) {
    Object.assign(this, { ask, found });
  }

  /** Tells which frames are searched for, as far as that is known; null where nothing is. */
  finder(text) {
    if (text === "") return null;
    if (isExpression(text)) {
      if (this.#last?.text !== text || this.#last.old) this.#load(text);
      return this.#last.finds;
    }
    const part = text.toLowerCase();
    return (frame) => frame.name.toLowerCase().includes(part) || frame.module.toLowerCase().includes(part);
  }

  /** What is wrong with an expression; null where nothing is. */
  problem(text) {
    return isExpression(text) && this.#last?.text === text ? this.#last.problem : null;
  }

  /** There are other functions now: expressions are matched again. */
  renew() {
    if (this.#last) this.#last.old = true;
  }

  // What was found before holds until there is an answer.
  async #load(text) {
    const now = { text, old: false, problem: null, finds: this.#last?.text === text ? this.#last.finds : null };
    this.#last = now;
    try {
      const answer = await this.ask(text);
      if (!answer) return;
      const functions = new Set(answer.functions.map(([name, module]) => keyOf(name, module)));
      now.finds = (frame) => functions.has(keyOf(frame.name, frame.module));
    } catch (error) {
      now.problem = error.message;
    }
    if (now === this.#last) this.found();
  }
}
