// The hottest source line of each function, asked for where somebody looks at functions: once for each selection.

const keyOf = ({ name, module }) => JSON.stringify([name, module]);

export class Lines {
  #asked = null;
  #of = new Map();

  /** `asked()` tells selections apart, `ask()` has the answer of /api/lines for the one that is shown, `known()` is called
   *  when lines are. */
  constructor({ asked, ask, known }) {
    Object.assign(this, { asked, ask, known });
  }

  /** Asks, where that was not done for this selection. */
  async load() {
    const now = this.asked();
    if (this.#asked === now) return;
    this.#asked = now;
    this.#of = new Map();
    try {
      const answer = await this.ask();
      if (!answer || this.#asked !== now) return;
      for (const row of answer.lines) if (!this.#of.has(keyOf(row))) this.#of.set(keyOf(row), row);
      this.known();
    } catch {
      // A graph without lines is whole.
    }
  }

  /** The hottest line of a function: its `file` and `line`; undefined where that is not known. */
  of(row) {
    return this.#asked === this.asked() ? this.#of.get(keyOf(row)) : undefined;
  }
}
